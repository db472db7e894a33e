"""Dagster's SQLite storages with files that stay open. They override private methods of Dagster's.

Dagster creates an engine, opens the file and closes it again for every event, which takes longer than replacing a small
list; whenever it opens a file, it loads all its migrations to find out that the file has its tables; and each new run
gets a file, whose tables it creates by all of them. Only one process at a time creates tables: two at once can leave
files behind that no process can open.
"""

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import dagster as dg
from alembic.runtime.migration import MigrationContext
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event, func, inspect, select
from sqlalchemy.exc import DatabaseError

from campaign_sync.orchestration.dagster_internals import ConfigurableClassData, SqlEventLogStorageTable
from campaign_sync.sqlite import PATIENCE_SECONDS, remove_database
from campaign_sync.storage.private_files import folder_lock

KEPT_OPEN = 8
"""How many files of single runs stay open at once: a webserver reads many, a run writes to its own alone."""

_PATIENCE = {"timeout": PATIENCE_SECONDS}

_EMPTY_FILE = "empty-run-"
"""The name of the file of a run without events, before the version of Dagster."""


class OpenEventLogStorage(SqliteEventLogStorage):
    """The event log, each of its files opened once."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[tuple[int, str], Engine] = OrderedDict()
        self._found: set[tuple[str, str]] = set()
        """The kinds and names of what the index has."""
        super().__init__(base_dir, inst_data)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        file = Path(str(engine.url.database))
        with folder_lock(Path(self._base_dir)):
            is_new_run = file.stem != INDEX_SHARD_NAME and not file.exists()
            if is_new_run and self._empty_file.exists():
                _copy(self._empty_file, file)
            with suppress(DatabaseError):  # Dagster repeats it where another process creates the tables
                if _has_tables(engine):
                    return
            super()._initdb(engine, for_index_shard)
            if is_new_run:
                self._keep_empty_file(engine, file)

    @property
    def _empty_file(self) -> Path:
        """The file of a run without events, as this version of Dagster makes it."""
        return Path(self._base_dir).with_name(f"{_EMPTY_FILE}{dg.__version__}.db")

    def _keep_empty_file(self, engine: Engine, file: Path) -> None:
        """Keep the file of a new run for those of later ones, in place of that of another version of Dagster."""
        with engine.connect() as connection:
            events = connection.scalar(select(func.count()).select_from(SqlEventLogStorageTable))
            is_busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
        if not events and not is_busy:
            for former in self._empty_file.parent.glob(f"{_EMPTY_FILE}*.db"):
                former.unlink()
            _copy(file, self._empty_file)

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

    def prove(self) -> None:
        """Read the index the way Dagster does.

        Raises:
            AttributeError, TypeError: this version of Dagster doesn't read by way of what is overridden here.
        """
        with self.index_connection() as connection:
            connection.exec_driver_sql("SELECT 1")
        if not self._engines:
            raise AttributeError(f"{SqliteEventLogStorage.__name__} doesn't use _connect")

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has that table."""
        return self._has("table", table_name, super().has_table)

    def has_asset_key_col(self, column_name: str) -> bool:
        """Return whether the index has that column of assets."""
        return self._has("column", column_name, super().has_asset_key_col)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        inspect_table = super()._has_asset_key_col_on_connection
        return self._has("column", column_name, lambda name: inspect_table(conn, name))

    def has_secondary_index(self, name: str) -> bool:
        """Return whether Dagster has migrated its data to that."""
        return self._has("migration", name, super().has_secondary_index)

    def _has(self, kind: str, name: str, search: Callable[[str], bool]) -> bool:
        """Return whether the index has a part of its schema. It loses none, so each is searched until it is found."""
        if (kind, name) not in self._found and search(name):
            self._found.add((kind, name))
        return (kind, name) in self._found

    def delete_events(self, run_id: str) -> None:
        """Delete the events of a run with their file: Dagster's own storage would leave an empty one."""
        with self.index_connection() as connection:
            self.delete_events_for_run(connection, run_id)
        self.free_concurrency_slots_for_run(run_id)
        with self._db_lock:
            if engine := self._engines.pop((os.getpid(), run_id), None):
                engine.dispose()
            self._initialized_dbs.discard(run_id)
            remove_database(Path(self.path_for_shard(run_id)))

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
    """The runs, in a file that is opened once. Dagster's own storage waits only five seconds for another process."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[int, Engine] = {}
        self._engines_lock = threading.Lock()
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """Return the storage in a folder."""
        url = _url_of_existing(base_dir, "runs", "instance_info")
        return cls(url, inst_data) if url else super().from_local(base_dir, inst_data)

    def add_run(self, dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        """Add a run, created by the clock of this process, which dates its events as well, not by the database's."""
        return self.add_historical_run(dagster_run, datetime.now(UTC))

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Return a transaction. Several at once have connections of their own."""
        with self._engines_lock:
            process_id = os.getpid()  # a connection doesn't survive a fork
            if process_id not in self._engines:
                self._engines[process_id] = create_engine(
                    self._conn_string, poolclass=QueuePool, connect_args=_PATIENCE
                )
            engine = self._engines[process_id]
        with engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file."""
        with self._engines_lock:
            if engine := self._engines.pop(os.getpid(), None):
                engine.dispose()
        super().dispose()


class PatientScheduleStorage(SqliteScheduleStorage):
    """The ticks of schedules and sensors, likewise, but opened each time: Dagster doesn't dispose of this storage."""

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> SqliteScheduleStorage:
        """Return the storage in a folder."""
        url = _url_of_existing(base_dir, "schedules")
        return cls(url, inst_data) if url else super().from_local(base_dir, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Return a transaction."""
        with create_engine(self._conn_string, poolclass=NullPool, connect_args=_PATIENCE).begin() as connection:
            yield connection


def _url_of_existing(folder: str, name: str, *tables: str) -> str | None:
    """Return the URL of a file that has its tables and these; None where Dagster has to create any."""
    if not (Path(folder) / f"{name}.db").exists():
        return None
    url = create_db_conn_string(folder, name)
    engine = create_engine(url, connect_args=_PATIENCE)
    try:
        return url if _has_tables(engine, *tables) else None
    finally:
        engine.dispose()


def _has_tables(engine: Engine, *tables: str) -> bool:
    """Return whether a file has a revision of Dagster's migrations, as its tables were made, and these tables."""
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        return revision is not None and {*tables}.issubset(inspect(connection).get_table_names() if tables else ())


def _copy(file: Path, new: Path) -> None:
    """Copy a file that isn't written to meanwhile; the new name never refers to half of it."""
    unfinished = new.with_suffix(".part")
    shutil.copyfile(file, unfinished)
    unfinished.replace(new)


def _changes(connection: Connection) -> int:
    """Return how many rows this connection has written since it was opened."""
    changes: int = connection.connection.total_changes
    return changes


def _relax_durability(connection: Any, _: object) -> None:
    """Let no event wait for the disk: what must survive a power failure is in the product's own state database."""
    connection.execute("PRAGMA synchronous=NORMAL")
