"""The file of a state database on SQLite: open for the time of a transaction, or from one to the next during a run."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

from campaign_sync.sqlite import PATIENCE_SECONDS, use_write_ahead_log


class SqliteFile:
    """Decides when the connections of an engine are closed, and keeps the file whole.

    After every transaction the file has all that was written, and the log beside it is empty: a copy of the file is a
    backup, and a backup can take its place, also while it is open or after its process was killed.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._path, self._runs = engine, Path(engine.url.database or ":memory:"), 0
        event.listen(engine, "connect", prepare_file)
        event.listen(engine, "checkout", self._require_unchanged)
        event.listen(engine, "checkin", self._leave)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the file open within the context: opening it takes most of the time of a short transaction."""
        self._runs += 1
        try:
            yield
        finally:
            self._runs -= 1
            if not self._runs:
                self._engine.dispose()

    def _require_unchanged(self, _: sqlite3.Connection, record: Any, __: object) -> None:
        """Have the file opened anew if others have changed it, or put another one in its place."""
        if "as_left" in record.info and record.info["as_left"] != self._stamp():
            raise DisconnectionError

    def _leave(self, connection: sqlite3.Connection | None, record: Any) -> None:
        if connection is None:  # it was lost
            return
        if connection.total_changes != record.info.get("changes", 0):
            _empty_log(connection)
        record.info.update(changes=connection.total_changes, as_left=self._stamp())
        if not self._runs:
            record.invalidate()

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def prepare_file(connection: sqlite3.Connection, _: object) -> None:
    """Let readers and the writer of a file not wait for each other."""
    use_write_ahead_log(connection)


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move what was written from the log into the file, unless others are reading: then a later transaction does so."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout=0").close()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    connection.execute(f"PRAGMA busy_timeout={PATIENCE_SECONDS * 1000}").close()
