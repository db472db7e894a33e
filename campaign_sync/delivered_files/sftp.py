"""A drop on an SFTP server. Needs the extra `sftp`."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from stat import S_IFMT, S_ISLNK, S_ISREG

import paramiko

from campaign_sync.delivered_files.file_source import (
    FileSource,
    RemoteFile,
    expect_readable,
    in_order,
    is_wanted,
    reachable,
    unchanged,
)
from campaign_sync.delivered_files.sftp_login import Address, log_in
from campaign_sync.optimizely.errors import RefusedError

_PARALLEL_READS = 64


class Sftp(FileSource):
    """A drop on a server, over an open connection."""

    def __init__(self, address: Address, client: paramiko.SSHClient, sftp: paramiko.SFTPClient):
        self._address = address
        self._client = client
        self._sftp = sftp

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        with _answering(str(self._address)):
            entries = self._sftp.listdir_attr(self._address.folder)
            return in_order(
                self._as_file(entry.filename, entry) for entry in entries if is_wanted(entry.filename, pattern)
            )

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        place = f"{self._address}/{file.name}"
        expect_readable(place, file)
        content = b""
        with _answering(place):
            # A file that has shrunk ends too early; what it is now decides.
            with suppress(FileNotFoundError, EOFError), self._sftp.open(self._path(file.name), "rb") as stream:
                if file.size:
                    stream.prefetch(file.size, _PARALLEL_READS)
                    content = stream.read(file.size)
            return unchanged(place, file, self._look_up(file.name), content)

    def close(self) -> None:
        """See `FileSource`."""
        self._client.close()

    def _path(self, name: str) -> str:
        return f"{self._address.folder.rstrip('/')}/{name}"

    def _look_up(self, name: str) -> RemoteFile | None:
        try:
            found = self._sftp.stat(self._path(name))
        except FileNotFoundError:
            return None
        return self._as_file(name, found)

    def _as_file(self, name: str, found: paramiko.SFTPAttributes) -> RemoteFile | None:
        mode = found.st_mode or 0
        if S_ISLNK(mode):
            return self._look_up(name)
        if S_IFMT(mode) and not S_ISREG(mode):  # a server that doesn't tell the type of a file is taken at its word
            return None
        if found.st_size is None or found.st_mtime is None:
            raise RefusedError(
                f"{self._address}: the server doesn't tell size and time of files; ask its operator to tell them."
            )
        return RemoteFile(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def connect_sftp(
    url: str, *, username: str | None, password: str | None, key_file: str | None, known_hosts: str | None
) -> Sftp:
    """Log in to the server of a drop. Arguments and errors are those of `open_file_source`."""
    address = Address.of(url)
    client, sftp = log_in(address, username=username, password=password, key_file=key_file, known_hosts=known_hosts)
    return Sftp(address, client, sftp)


@contextmanager
def _answering(place: str) -> Iterator[None]:
    """`reachable`, for a server that may also break off, or answer something that isn't SFTP."""
    with reachable(place):
        try:
            yield
        except (EOFError, UnicodeDecodeError, paramiko.SSHException) as error:
            broken = ConnectionError(type(error).__name__)
        else:
            return
        raise broken
