"""Folders and files that contain people, or could: only their owner can read them."""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from uuid import uuid4

from filelock import FileLock

_UNFINISHED = ".part"
"""Suffix of files that aren't complete yet."""


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
    """Open a file to be written, for `open(opener=…)`: it is for its owner alone from the start, whatever the umask.

    An existing file is closed to others before anything is written.
    """
    handle = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        with suppress(OSError):  # another user's file, or a file system without modes
            os.fchmod(handle, 0o600)
    return handle


def open_to_others(path: Path, public: Collection[str] = ()) -> list[str]:
    """Return what of a file, or of all in a folder, other users of the machine can read or enter, sorted.

    A folder that they can enter itself is none of it, if what is in it is for its owner alone.

    Args:
        path: the file or folder; it may be missing.
        public: names in the folder that may be readable.

    Raises:
        OSError: a folder in it can't be read.
    """

    def fail(error: OSError) -> None:
        raise error

    entries = [path] if path.is_file() else []
    for folder, folders, files in os.walk(path, onerror=fail if path.is_dir() else None):
        if Path(folder) == path:
            folders[:] = [name for name in folders if name not in public]
            files = [name for name in files if name not in public]
        entries += [Path(folder, name) for name in (*folders, *files)]
    return sorted(str(entry) for entry in entries if not entry.is_symlink() and _is_open(entry))


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o077)
    except FileNotFoundError:  # a run has just removed it
        return False


def is_unfinished(name: str) -> bool:
    """Return whether a name is one under which `write_atomically` writes a file until it is complete."""
    return PurePosixPath(name).name.startswith(".") and name.endswith(_UNFINISHED)


def write_atomically(file: Path, content: bytes, *, public: bool = False) -> None:
    """Write or replace a file: readable by its owner alone, or by everybody if it names no person (`public`).

    The name never refers to half a file, not even after a power cut.
    """
    unfinished = file.with_name(f".{file.name}.{uuid4().hex[:8]}{_UNFINISHED}")
    with open(unfinished, "xb", opener=private_opener) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        if public:
            os.fchmod(stream.fileno(), 0o644)
    unfinished.replace(file)
