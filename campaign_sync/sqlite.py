"""SQLite files that several processes open at once, perhaps for the first time, on a machine of any speed."""

import sqlite3
from pathlib import Path

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

PATIENCE_SECONDS = 120
"""How long a connection waits for others that write: the `timeout` of `sqlite3.connect`."""


def _is_busy(error: BaseException) -> bool:
    """Whether another process keeps the file; the low byte of SQLite's extended codes says so."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(PATIENCE_SECONDS),
    wait=wait_random(0.01, 0.1),
    reraise=True,
)
def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging, where readers and the writer don't wait for each other.

    SQLite refuses this switch at once, whatever the timeout, while another process makes it or reads the file.
    """
    connection.execute("PRAGMA journal_mode=WAL").close()


_REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full; free space on it, then try again",
    sqlite3.SQLITE_IOERR: "the disk is full or fails; free space on it or look into the system's log, then try again",
    sqlite3.SQLITE_READONLY: "the file or its folder can't be written to; correct their owner and permissions",
    sqlite3.SQLITE_CANTOPEN: "the file or its folder can't be opened; correct their owner and permissions",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file isn't a SQLite database; restore it from a backup",
}


def remedy(error: BaseException | None) -> str | None:
    """What is wrong with the file and what helps, where SQLite's error code says so; None for all other errors."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _REMEDIES.get(code & 0xFF)


def remove_database(file: Path) -> None:
    """Remove a SQLite file that nothing needs any more, with those beside it, where they exist."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def shrink_database(file: Path) -> None:
    """Give the space of rows that were deleted from a SQLite file back to the disk."""
    connection = sqlite3.connect(file, timeout=PATIENCE_SECONDS)
    try:
        connection.execute("VACUUM").close()
    finally:
        connection.close()
