"""Files of a copy that all processes share. A complete one never changes: a newer one replaces it under its name."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

from campaign_sync.crm.mirror.loading import copy_errors
from campaign_sync.storage.private_files import create_private_file, folder_lock


@contextmanager
def copies_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of copies. See `folder_lock`.

    Raises:
        CrmError: the folder can't be used.
    """
    with ExitStack() as stack:
        with copy_errors("locking the folder"):
            stack.enter_context(folder_lock(folder))
        yield


def build_shared_file(file: Path, build: Callable[[sqlite3.Connection], None], doing: str) -> None:
    """Build a file and give it its name once it is complete.

    Only for the holder of the folder's lock, so every unfinished file is a dead builder's.

    Args:
        file: its name.
        build: fills the database, in a transaction that is open.
        doing: what fails, for messages.

    Raises:
        CrmError: the CRM can't be read completely, or the file can't be written.
    """
    for leftover in file.parent.glob(f".{file.name}.*.part"):
        leftover.unlink(missing_ok=True)
    unfinished = file.with_name(f".{file.name}.{uuid4().hex}.part")
    try:
        with copy_errors("creating a file"):
            create_private_file(unfinished)
        with copy_errors(doing, (sqlite3.Error,)), closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
            prepare_for_loading(copy)
            copy.execute("BEGIN")
            build(copy)
            copy.execute("COMMIT")
        with copy_errors("completing a file"):
            _sync(unfinished)
            unfinished.replace(file)
            _sync(file.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def complete_file(file: Path) -> str:
    """Return how SQLite names a complete file, which it needn't lock."""
    return f"{file.absolute().as_uri()}?mode=ro&immutable=1"


def prepare_for_loading(connection: sqlite3.Connection) -> None:
    """Load without a journal: what isn't complete is thrown away."""
    connection.execute("PRAGMA journal_mode=OFF").close()
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-65536")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
