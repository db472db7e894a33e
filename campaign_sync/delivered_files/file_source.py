"""A drop: the folder or SFTP server into which a job of the vendor's delivers files."""

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

from campaign_sync.domain.url import may_hold_password
from campaign_sync.optimizely.errors import FileSourceError, RefusedError, TransientError, UnsettledFileError

MAX_BYTES = 2 * 1024**3
"""The largest file that is read, unpacked too. Feedback is some megabytes; what is larger is a mistake or an attack."""

_UNFINISHED = (".tmp", ".part", ".filepart", ".uploading")
"""How names end while a file is uploaded; it is renamed when it is complete."""


@dataclass(frozen=True)
class RemoteFile:
    """One delivery: the same name with another size or time is another delivery.

    `size` is in bytes, `modified_at` in UTC, as exact as the file system or the server knows it.
    """

    name: str
    size: int
    modified_at: datetime


class FileSource(Protocol):
    """A place to which files are delivered. Nothing in it is ever changed. A context manager that closes at its end."""

    def files(self, pattern: str) -> list[RemoteFile]:
        """The complete files whose names match, the oldest first. Subfolders and hidden files don't count.

        Args:
            pattern: as in a shell, as `outbounces_*.csv`; upper and lower case differ.

        Raises:
            DropError: the folder isn't there.
            RefusedError: it may not be looked into.
            TransientError: it can't be reached for the moment.
        """
        ...

    def read(self, file: RemoteFile) -> bytes:
        """The contents of a listed file.

        Raises:
            DropError: it is larger than `MAX_BYTES`.
            RefusedError: it may not be read.
            UnsettledFileError: it is gone or was changed since it was listed.
            TransientError: it can't be reached for the moment.
        """
        ...

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Folder(FileSource):
    """A drop on this machine, or on a file system that is mounted here."""

    def __init__(self, path: Path):
        self._path = path

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        with reachable(str(self._path)):
            names = [entry.name for entry in self._path.iterdir() if is_wanted(entry.name, pattern)]
            return in_order(self._look_up(name) for name in names)

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        path = self._path / file.name
        expect_readable(str(path), file)
        content = b""
        with reachable(str(path)):
            with suppress(FileNotFoundError), path.open("rb") as stream:
                content = stream.read(file.size)
            return unchanged(str(path), file, self._look_up(file.name), content)

    def _look_up(self, name: str) -> RemoteFile | None:
        try:
            found = (self._path / name).stat()
        except FileNotFoundError:
            return None
        moment = datetime.fromtimestamp(found.st_mtime, UTC)
        return RemoteFile(name, found.st_size, moment) if S_ISREG(found.st_mode) else None


def open_file_source(
    url: str, *, username: str | None, password: str | None, key_file: str | None, known_hosts: str | None
) -> FileSource:
    """The drop at a URL; if it is on a server, logged in.

    Args:
        url: a path, `file:///path` or `sftp://host[:port]/path`.
        username: who logs in to the server.
        password: the user's password; with a key file, the passphrase of the key.
        key_file: a private key. With neither password nor key file, the SSH agent and the keys in `~/.ssh` are tried.
        known_hosts: a file with the server's host key, as OpenSSH keeps it; by default `~/.ssh/known_hosts`.

    Raises:
        CredentialsError: the server doesn't let the user in, or the key file can't be used.
        DropError: the URL isn't one of those, the driver is missing, or it isn't the server that known_hosts knows.
        RefusedError: the server doesn't speak SFTP as we do.
        TransientError: the server can't be reached.
    """
    scheme, is_url, _ = url.partition("://")
    if not is_url:
        if may_hold_password(url):
            raise FileSourceError(
                "the folder of the drop looks like a URL; write it with ://, and the password as its own key."
            )
        return Folder(Path(url))
    if scheme.lower() == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise FileSourceError(
                "the URL of the drop names a host; a folder on this machine is file:///path, with ///."
            )
        return Folder(Path(url2pathname(parts.path)))
    if scheme.lower() != "sftp":
        raise FileSourceError(
            "nobody knows the kind of URL the drop has; choose a folder, file:///path or sftp://host/path."
        )
    try:
        from campaign_sync.delivered_files.sftp import connect_sftp  # its driver is an extra
    except ImportError:
        raise FileSourceError("sftp:// (the drop) needs a driver: pip install campaign-sync[sftp]") from None
    return connect_sftp(url, username=username, password=password, key_file=key_file, known_hosts=known_hosts)


def is_wanted(name: str, pattern: str) -> bool:
    """Whether a file of this name is a complete delivery that was asked for."""
    hidden = name.startswith(".") or "/" in name
    return not hidden and not name.lower().endswith(_UNFINISHED) and fnmatchcase(name, pattern)


def in_order(found: Iterable[RemoteFile | None]) -> list[RemoteFile]:
    """The deliveries in the order in which they are to be imported, without those that have vanished meanwhile."""
    return sorted((file for file in found if file is not None), key=lambda file: (file.modified_at, file.name))


def expect_readable(place: str, file: RemoteFile) -> None:
    """Make sure that a file isn't too large for the memory.

    Raises:
        DropError: it is.
    """
    if file.size > MAX_BYTES:
        raise FileSourceError(
            f"{place} is larger than {MAX_BYTES} bytes; let the vendor's job deliver shorter periods."
        )


def unchanged(place: str, listed: RemoteFile, now: RemoteFile | None, content: bytes) -> bytes:
    """The contents, if they are those of the file that was listed.

    Args:
        place: where the file is, for the message.
        listed: the file as it was listed.
        now: the file as it is after reading; None if it is gone.
        content: what was read.

    Raises:
        UnsettledFileError: the file is gone or another one.
    """
    if now is None:
        raise UnsettledFileError(
            f"{place} is gone since it was listed; if it comes back, the next import reads it. Look whether something "
            "else takes files out of the drop."
        )
    if now != listed or len(content) != listed.size:
        raise UnsettledFileError(
            f"{place} is still being written; the next import reads it. Let the vendor's job upload under a name that "
            "ends in .tmp and rename the file at its end."
        )
    return content


@contextmanager
def reachable(place: str) -> Iterator[None]:
    """Turn what a file system or a server reports into the error that says what to do."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileSourceError(f"{place}: there is no such folder; create it, or correct the URL of the drop.") from None
    except PermissionError:
        raise RefusedError(f"{place} may not be read; give our user the right to list and read the drop.") from None
    except OSError as error:
        # Not the error's own text: a server may write anything into it.
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise TransientError(
            f"{place} can't be reached ({reason}); try again later, and look after the disk or the network.",
            outcome_unknown=False,
        ) from None
