"""Dagster's own SQLite storage with connections that stay open, so that each of a run's thousands of events is fast.

Dagster creates an engine, opens the file and closes it again for every event, which takes longer than replacing a small
list. Files and tables are the same: an instance can change to this storage and back. Only one process at a time creates
tables: two at once can leave files behind that no process can open.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event

from campaign_sync.sqlite import PATIENCE_SECONDS
from campaign_sync.storage.private_files import folder_lock

KEPT_OPEN = 8
"""How many files of single runs stay open at once: a webserver reads many, a run writes to its own alone."""

_PATIENCE = {"timeout": PATIENCE_SECONDS}


class OpenEventLogStorage(SqliteEventLogStorage):
    """The event log, each of its files opened once."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[tuple[int, str], Engine] = OrderedDict()
        self._found_tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        with folder_lock(Path(self._base_dir)):
            super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """Return a transaction on a file. Transactions of all threads run one after the other."""
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                before = _changes(connection)
                yield connection
                written = _changes(connection) > before
            if shard != INDEX_SHARD_NAME and written:
                # Dagster's UI watches this file and reads when it changes, but writes go to the log beside it.
                Path(self.path_for_shard(shard)).touch()

    def _engine(self, shard: str) -> Engine:
        key = (os.getpid(), shard)  # a connection doesn't survive a fork
        if key not in self._engines:
            engine = create_engine(
                self.conn_string_for_shard(shard), poolclass=QueuePool, pool_size=1, connect_args=_PATIENCE
            )
            event.listen(engine, "connect", _relax_durability)
            self._engines[key] = engine
            runs = [open_key for open_key in self._engines if open_key[1] != INDEX_SHARD_NAME]
            for open_key in runs[:-KEPT_OPEN]:
                self._engines.pop(open_key).dispose()
        self._engines.move_to_end(key)
        return self._engines[key]

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has that table. It loses none, so a table is searched once only."""
        if table_name not in self._found_tables and super().has_table(table_name):
            self._found_tables.add(table_name)
        return table_name in self._found_tables

    def wipe(self) -> None:
        """Remove the files of all runs, and empty the index."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the files."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


class PatientRunStorage(SqliteRunStorage):
    """The runs. Dagster's own storage waits only five seconds for another process that writes."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Return a transaction."""
        with create_engine(self._conn_string, poolclass=NullPool, connect_args=_PATIENCE).begin() as connection:
            yield connection


class PatientScheduleStorage(SqliteScheduleStorage):
    """The ticks of schedules and sensors, likewise."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Return a transaction."""
        with create_engine(self._conn_string, poolclass=NullPool, connect_args=_PATIENCE).begin() as connection:
            yield connection


class EmbeddedStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage of these three."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self.base_dir, self._inst_data = base_dir, inst_data
        history = Path(base_dir) / "history"
        with folder_lock(Path(base_dir)):
            self._run_storage = PatientRunStorage.from_local(str(history))
            self._event_log_storage = OpenEventLogStorage(str(history / "runs"))
            self._schedule_storage = PatientScheduleStorage.from_local(str(Path(base_dir) / "schedules"))
        # The `__init__` of the class between would create all three anew.
        DagsterStorage.__init__(self)  # type: ignore[no-untyped-call, arg-type]

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> Self:
        """Return the storage that a section of `dagster.yaml` names."""
        base_dir = Path(config_value["base_dir"]).expanduser().resolve()  # as Dagster understands DAGSTER_HOME
        return cls.from_local(str(base_dir), inst_data)


def _changes(connection: Connection) -> int:
    """Return how many rows this connection has written since it was opened."""
    changes: int = connection.connection.total_changes
    return changes


def _relax_durability(connection: Any, _: object) -> None:
    """Let no event wait for the disk: what must survive a power failure is in the product's own state database."""
    connection.execute("PRAGMA synchronous=NORMAL")
