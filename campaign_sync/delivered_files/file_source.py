"""File sources: the folder or SFTP server to which a job at the vendor delivers files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import Protocol, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from campaign_sync.delivered_files.errors import (
    FileAccessError,
    FileSourceError,
    UnreachableFilesError,
    UnsettledFileError,
)
from campaign_sync.domain.url import may_hold_password

MAX_BYTES = 2 * 1024**3
"""The largest file that is read, before and after decompression. Feedback has some megabytes."""

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
    """A read-only source of delivered files; a context manager that closes it at the end."""

    def files(self, pattern: str) -> list[RemoteFile]:
        """List the complete files whose names match, oldest first, without subfolders and hidden files.

        Args:
            pattern: a shell pattern, as `outbounces_*.csv`; case matters.

        Raises:
            FileSourceError: the folder doesn't exist.
            FileAccessError: the permission to list it is missing.
            UnreachableFilesError: it can't be reached at the moment.
        """
        ...

    def read(self, file: RemoteFile) -> bytes:
        """Return the content of a listed file.

        Raises:
            FileSourceError: it is larger than `MAX_BYTES`.
            FileAccessError: the permission to read it is missing.
            UnsettledFileError: it was removed or changed since it was listed.
            UnreachableFilesError: it can't be reached at the moment.
        """
        ...

    def close(self) -> None:
        """Close the connection, if there is one."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Folder(FileSource):
    """A folder on this machine or on a mounted file system."""

    def __init__(self, path: Path):
        self._path = path

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        with translated_errors(str(self._path)):
            names = [entry.name for entry in self._path.iterdir() if is_wanted(entry.name, pattern)]
            return sort_for_import(self._look_up(name) for name in names)

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        path = self._path / file.name
        check_size(str(path), file)
        content = b""
        with translated_errors(str(path)):
            with suppress(FileNotFoundError), path.open("rb") as stream:
                content = stream.read(file.size)
            return require_unchanged(str(path), file, self._look_up(file.name), content)

    def _look_up(self, name: str) -> RemoteFile | None:
        try:
            status = (self._path / name).stat()
        except FileNotFoundError:
            return None
        moment = datetime.fromtimestamp(status.st_mtime, UTC)
        return RemoteFile(name, status.st_size, moment) if S_ISREG(status.st_mode) else None


def open_file_source(
    url: str, *, username: str | None, password: str | None, key_file: str | None, known_hosts: str | None
) -> FileSource:
    """Open the file source at a URL; log in if it is on a server.

    Args:
        url: a path, `file:///path` or `sftp://host[:port]/path`.
        username: the user on the server.
        password: the user's password; with a key file, the passphrase of the key.
        key_file: a private key. With neither password nor key file, the SSH agent and the keys in `~/.ssh` are tried.
        known_hosts: a file with the server's host key, as OpenSSH keeps it; by default `~/.ssh/known_hosts`.

    Raises:
        FileLoginError: the server rejects the user, or the key file can't be used.
        FileSourceError: the URL is of another kind, the driver is missing, or the host key isn't in known_hosts.
        FileAccessError: the server refuses SFTP, or offers only outdated encryption.
        UnreachableFilesError: the server can't be reached.
    """
    scheme, is_url, _ = url.partition("://")
    if not is_url:
        if may_hold_password(url):
            raise FileSourceError(
                "feedback.files.url looks like a URL without ://; write it with ://, and the password in its own key."
            )
        return Folder(Path(url))
    if scheme.lower() == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise FileSourceError(
                "feedback.files.url names a host; write a folder on this machine as file:///path, with ///."
            )
        return Folder(Path(url2pathname(parts.path)))
    if scheme.lower() != "sftp":
        raise FileSourceError(
            "feedback.files.url has an unknown scheme; choose a folder, file:///path or sftp://host/path."
        )
    try:
        from campaign_sync.delivered_files.sftp import connect_sftp  # its driver belongs to an extra
    except ImportError:
        raise FileSourceError(
            "feedback.files.url with sftp:// needs a driver: pip install campaign-sync[sftp]"
        ) from None
    return connect_sftp(url, username=username, password=password, key_file=key_file, known_hosts=known_hosts)


def is_wanted(name: str, pattern: str) -> bool:
    """Return whether a name matches, and is neither hidden nor that of an unfinished upload."""
    hidden = name.startswith(".") or "/" in name
    return not hidden and not name.lower().endswith(_UNFINISHED) and fnmatchcase(name, pattern)


def sort_for_import(files: Iterable[RemoteFile | None]) -> list[RemoteFile]:
    """Sort files into the order of import, without those that were removed meanwhile (None)."""
    return sorted((file for file in files if file is not None), key=lambda file: (file.modified_at, file.name))


def check_size(place: str, file: RemoteFile) -> None:
    """Raise FileSourceError if a file is larger than `MAX_BYTES`."""
    if file.size > MAX_BYTES:
        raise FileSourceError(
            f"{place} is larger than {MAX_BYTES} bytes; have the vendor's job deliver shorter periods."
        )


def require_unchanged(place: str, listed: RemoteFile, now: RemoteFile | None, content: bytes) -> bytes:
    """Return the content if it is that of the file as it was listed.

    Args:
        place: the location of the file, for the message.
        listed: the file as it was listed.
        now: the file after reading; None if it was removed.
        content: the bytes that were read.

    Raises:
        UnsettledFileError: the file was removed or changed.
    """
    if now is None:
        raise UnsettledFileError(
            f"{place} is gone since it was listed; if it comes back, the next import reads it. Check whether another "
            "program removes files from this folder."
        )
    if now != listed or len(content) != listed.size:
        raise UnsettledFileError(
            f"{place} is still being written; the next import reads it. Have the vendor's job upload under a name that "
            "ends in .tmp and rename the file at its end."
        )
    return content


@contextmanager
def translated_errors(place: str) -> Iterator[None]:
    """Translate the errors of a file system or server into ours."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileSourceError(f"{place}: there is no such folder; create it, or correct feedback.files.url.") from None
    except PermissionError:
        raise FileAccessError(
            f"{place} may not be read; give our user the right to list and read this folder."
        ) from None
    except OSError as error:
        # Not the error's own text, which a server may fill with anything.
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise UnreachableFilesError(
            f"{place} can't be reached ({reason}); try again later, and check the disk or the network."
        ) from None
