"""Folders and files that hold people, or could: nobody but their owner looks into them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock


def is_writable(folder: Path) -> bool:
    """Whether `folder` takes new files, or could be made: its nearest parent that exists decides."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def create_private_folder(folder: Path) -> None:
    """Make a folder, and those on the way to it that don't exist, for their owner alone."""
    if not folder.exists():
        create_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def create_public_folder(folder: Path) -> None:
    """Make a folder of files that name no person, and those on the way to it that don't exist, for everybody."""
    if not folder.exists():
        create_public_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def create_private_file(file: Path) -> None:
    """Make a file that doesn't exist, empty and for its owner alone; SQLite's side files take after it."""
    create_private_folder(file.parent)
    file.touch(mode=0o600, exist_ok=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder as long as the context lasts; others wait for it, however slow the machine is.

    The system lets go of the lock when the process that holds it dies. The same thread may take it again.
    """
    create_private_folder(folder)
    with FileLock(folder / ".lock", mode=0o600, is_singleton=True):
        yield


def private_opener(path: str, flags: int) -> int:
    """For `open`: a file that comes into being is for its owner alone from its first byte, whatever the umask."""
    return os.open(path, flags, 0o600)


def write_atomically(file: Path, content: bytes, *, public: bool = False) -> None:
    """Write a file, in place of the one of that name, for its owner alone, or for everybody if it names no person.

    A name never stands for half a file, not even after a power cut.
    """
    unfinished = file.with_name(f".{file.name}.{uuid4().hex[:8]}.part")
    with open(unfinished, "xb", opener=private_opener) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        if public:
            os.fchmod(stream.fileno(), 0o644)
    unfinished.replace(file)
