"""File sources: the interface of folders, SFTP servers and object stores in which files are delivered."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, Self

from upath import UPath

from campaign_sync.delivered_files.errors import (
    FileAccessError,
    FileSourceError,
    UnreachableFilesError,
    UnsettledFileError,
)

MAX_BYTES = 2 * 1024**3
"""The largest file that is read, before and after decompression. Feedback has some megabytes."""

PIECE_BYTES = 1024**2
"""How much of a file is read at a time."""

_UNFINISHED = (".tmp", ".part", ".filepart", ".uploading")
"""The suffixes of files during their upload; a complete file is renamed."""


@dataclass(frozen=True)
class RemoteFile:
    """One delivered file; the same name with another size or time is another delivery.

    `size` is in bytes, `modified_at` in UTC, with the precision of the file system or server.
    """

    name: str
    size: int
    modified_at: datetime


class FileSource(Protocol):
    """A folder in which files are delivered, or left for others; a context manager that closes it at the end.

    Beside those named, every method raises `UnreachableFilesError` if the folder can't be reached at the moment.
    """

    def files(self, pattern: str) -> list[RemoteFile]:
        """List the complete files whose names match, oldest first, without subfolders and hidden files.

        Args:
            pattern: a shell pattern, as `outbounces_*.csv`; case matters.

        Raises:
            FileSourceError: the folder doesn't exist.
            FileAccessError: the permission to list it is missing.
        """
        ...

    def folders(self) -> list[str]:
        """Return the names of the subfolders, without hidden ones, in alphabetical order.

        Raises:
            FileSourceError: the folder doesn't exist.
            FileAccessError: the permission to list it is missing.
        """
        ...

    def folder(self, name: str) -> "FileSource":
        """Return a subfolder. It uses the connection of this source, and need not be closed."""
        ...

    def read(self, file: RemoteFile) -> bytes:
        """Return the content of a listed file.

        Raises:
            FileSourceError: it is larger than `MAX_BYTES`.
            FileAccessError: the permission to read it is missing.
            UnsettledFileError: it was removed or changed since it was listed.
        """
        ...

    def pieces(self, file: RemoteFile, start: int = 0) -> Iterator[bytes]:
        """Yield the content of a listed file of any size in pieces of about a megabyte, from byte `start` on.

        Raises:
            FileAccessError: the permission to read it is missing.
            UnsettledFileError: it was removed or changed since it was listed; raised after the last piece.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a new file. The name appears when the file is complete, and no existing file is replaced.

        Raises:
            FileSourceError: the folder doesn't exist, or it has a file of this name.
            FileAccessError: the permission to write is missing.
        """
        ...

    def probe_writing(self) -> None:
        """Raise the error of `write` that shows without writing."""
        ...

    def close(self) -> None:
        """Close the connection, if there is one."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_wanted(name: str, pattern: str) -> bool:
    """Return whether a name matches, and is neither hidden nor that of an unfinished upload."""
    hidden = name.startswith(".") or "/" in name
    return not hidden and not name.lower().endswith(_UNFINISHED) and fnmatchcase(name, pattern)


def sort_for_import(files: Iterable[RemoteFile | None]) -> list[RemoteFile]:
    """Sort files into the order of import, without those that were removed meanwhile (None)."""
    return sorted((file for file in files if file is not None), key=lambda file: (file.modified_at, file.name))


def unfinished_name(name: str) -> str:
    """Return the name of a file during its upload: hidden, and with a suffix that importers leave alone."""
    return f".{name}.part"


def check_size(place: str, file: RemoteFile) -> None:
    """Raise FileSourceError if a file is larger than `MAX_BYTES`."""
    if file.size > MAX_BYTES:
        raise FileSourceError(
            f"{place} is larger than {MAX_BYTES} bytes; have the vendor's job deliver shorter periods."
        )


def require_unchanged(place: str, listed: RemoteFile, now: RemoteFile | None, size: int) -> None:
    """Raise an error unless a file was read as it was listed.

    Args:
        place: the location of the file, for the message.
        listed: the file as it was listed.
        now: the file after reading; None if it was removed.
        size: how many bytes were read, with those before the start.

    Raises:
        UnsettledFileError: the file was removed or changed.
    """
    if now is None:
        raise UnsettledFileError(
            f"{place} is gone since it was listed; if it comes back, the next import reads it. Check whether another "
            "program removes files from this folder."
        )
    if now != listed or size != listed.size:
        raise UnsettledFileError(
            f"{place} is still being written; the next import reads it. Have the vendor's job upload under a name that "
            "ends in .tmp and rename the file at its end."
        )


def read_pieces(
    path: Path | UPath, file: RemoteFile, start: int, look_up: Callable[[str], RemoteFile | None]
) -> Iterator[bytes]:
    """Yield the content of a file that can be opened by its path, as `FileSource.pieces` does.

    Args:
        path: the file.
        file: the file as it was listed.
        start: the first byte.
        look_up: returns a file as it is now, by its name; None if it is gone.

    Raises:
        UnsettledFileError: the file was removed or changed.
    """
    position = start
    with suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(start)
        while piece := stream.read(min(PIECE_BYTES, file.size - position)):
            position += len(piece)
            yield piece
    require_unchanged(str(path), file, look_up(file.name), position)


def require_new(place: str, existing: RemoteFile | None) -> None:
    """Raise FileSourceError if there is a file already where one is to be written."""
    if existing is not None:
        raise FileSourceError(f"{place} exists already, and isn't replaced; write under another name.")


@contextmanager
def translated_errors(place: str, setting: str, *, writing: bool = False) -> Iterator[None]:
    """Translate the errors of a file system or server into ours.

    Args:
        place: the folder or file, for the message.
        setting: the setting with the URL, for the message.
        writing: whether the permission to write is needed, not to read.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileSourceError(f"{place}: there is no such folder; create it, or correct {setting}.") from None
    except PermissionError:
        what, rights = ("written to", "write to") if writing else ("read", "list and read")
        raise FileAccessError(f"{place} may not be {what}; give our user the right to {rights} this folder.") from None
    except OSError as error:
        # Not the error's own text, which a server may fill with anything.
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise UnreachableFilesError(
            f"{place} can't be reached ({reason}); try again later, and check the disk or the network."
        ) from None
