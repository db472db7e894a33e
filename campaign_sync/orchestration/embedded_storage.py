"""The storage of the embedded instance: Dagster's own on SQLite, with files that stay open.

Files and tables are Dagster's: an instance can change to this storage and back.
"""

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self

import dagster as dg

from campaign_sync.orchestration.dagster_internals import ConfigurableClassData, DagsterSqliteStorage, DagsterStorage
from campaign_sync.storage.private_files import folder_lock

_log = logging.getLogger(__name__)


class EmbeddedStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage, of the three in `open_storages`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        from campaign_sync.orchestration import open_storages

        self.base_dir, self._inst_data = base_dir, inst_data
        history = Path(base_dir) / "history"
        with folder_lock(Path(base_dir)):
            self._run_storage = open_storages.PatientRunStorage.from_local(str(history))
            event_log = open_storages.OpenEventLogStorage(str(history / "runs"))
            event_log.prove()
            self._event_log_storage = event_log
            self._schedule_storage = open_storages.PatientScheduleStorage.from_local(str(Path(base_dir) / "schedules"))
        # The `__init__` of the class between would create all three anew.
        DagsterStorage.__init__(self)  # type: ignore[no-untyped-call, arg-type]

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> Self | DagsterSqliteStorage:
        """Return the storage that a section of `dagster.yaml` names; Dagster's own if its version differs too much."""
        base_dir = str(Path(config_value["base_dir"]).expanduser().resolve())  # as Dagster understands DAGSTER_HOME
        try:
            return cls.from_local(base_dir, inst_data)
        except (AttributeError, ImportError, NotImplementedError, TypeError) as error:
            warn_once(f"{type(error).__name__}: {error}")
            return DagsterSqliteStorage.from_local(base_dir, inst_data)


@cache
def warn_once(difference: str) -> None:
    """Log a warning; the parts of an instance open its storage one by one, so the same one may come up again."""
    _log.warning(
        "Dagster %s differs from the versions that the embedded storage was made for (%s); Dagster's own storage is "
        "used instead, on the same files, which is slower",
        dg.__version__,
        difference,
    )
