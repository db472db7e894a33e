"""Folders and files that contain people, or could: only their owner can read them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock


def is_writable(folder: Path) -> bool:
    """Return whether `folder` takes new files, or could be created: its nearest existing parent decides."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def create_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents for their owner alone."""
    if not folder.exists():
        create_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def create_public_folder(folder: Path) -> None:
    """Create a folder of files that name no person, and its missing parents, readable by everybody."""
    if not folder.exists():
        create_public_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def create_private_file(file: Path) -> None:
    """Create a missing file, empty and for its owner alone. SQLite gives its side files the same permissions."""
    create_private_folder(file.parent)
    file.touch(mode=0o600, exist_ok=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder as long as the context lasts; other processes wait for it.

    The system releases the lock when the process that holds it dies. The same thread may take it again.
    """
    create_private_folder(folder)
    with FileLock(folder / ".lock", mode=0o600, is_singleton=True):
        yield


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open(opener=…)`: a new one is for its owner alone from the start, whatever the umask."""
    return os.open(path, flags, 0o600)


def write_atomically(file: Path, content: bytes, *, public: bool = False) -> None:
    """Write or replace a file: readable by its owner alone, or by everybody if it names no person (`public`).

    The name never refers to half a file, not even after a power cut.
    """
    unfinished = file.with_name(f".{file.name}.{uuid4().hex[:8]}.part")
    with open(unfinished, "xb", opener=private_opener) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        if public:
            os.fchmod(stream.fileno(), 0o644)
    unfinished.replace(file)
