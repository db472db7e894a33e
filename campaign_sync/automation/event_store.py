"""Dagster's own SQLite storage, with connections that stay open: some thousand events of a run, each in milliseconds.

Dagster makes an engine, opens the file and closes it again for every single event, which takes longer than a small list
takes to be replaced. Same files, same tables: an instance can go back to Dagster's storage, and come from it.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

KEPT_OPEN = 8
"""How many files of single runs stay open at once; a webserver looks at many, a run writes to its own alone."""


class KeptEventLogStorage(SqliteEventLogStorage):
    """The event log, each of its files opened once."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[tuple[int, str], Engine] = OrderedDict()
        self._found_tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction on one file. They come one after the other, whatever thread wants them."""
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
                # Whoever follows a run in the UI watches this file and reads when it changes; writes go into the one
                # beside it.
                Path(self.path_for_shard(shard)).touch()

    def _engine(self, shard: str) -> Engine:
        key = (os.getpid(), shard)  # a connection doesn't survive a fork
        if key not in self._engines:
            patience = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            engine = create_engine(
                self.conn_string_for_shard(shard), poolclass=QueuePool, pool_size=1, connect_args=patience
            )
            event.listen(engine, "connect", _spare_the_disk)
            self._engines[key] = engine
            runs = [one for one in self._engines if one[1] != INDEX_SHARD_NAME]
            for one in runs[:-KEPT_OPEN]:
                self._engines.pop(one).dispose()
        self._engines.move_to_end(key)
        return self._engines[key]

    def has_table(self, table_name: str) -> bool:
        """Whether the index has that table. It loses none, so nobody has to look for one with every event."""
        if table_name not in self._found_tables and super().has_table(table_name):
            self._found_tables.add(table_name)
        return table_name in self._found_tables

    def wipe(self) -> None:
        """Remove the files of all runs, and empty the index."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Let go of the files."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


class EmbeddedStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage, with that event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = KeptEventLogStorage(str(Path(base_dir) / "history" / "runs"))

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> Self:
        """The storage that a section of `dagster.yaml` asks for."""
        base_dir = Path(config_value["base_dir"]).expanduser().resolve()  # as Dagster understands DAGSTER_HOME
        return cls.from_local(str(base_dir), inst_data)


def _changes(connection: Connection) -> int:
    """How many rows this connection has written since it was opened."""
    changes: int = connection.connection.total_changes
    return changes


def _spare_the_disk(connection: Any, _: object) -> None:
    """No event waits for the disk: what must survive a power failure stands in the product's own state database."""
    connection.execute("PRAGMA synchronous=NORMAL")
