"""The file source on an SFTP server. Needs the extra `sftp`."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from stat import S_IFMT, S_ISLNK, S_ISREG

import paramiko

from campaign_sync.delivered_files.errors import FileAccessError
from campaign_sync.delivered_files.file_source import (
    FileSource,
    RemoteFile,
    check_size,
    is_wanted,
    require_unchanged,
    sort_for_import,
    translated_errors,
)
from campaign_sync.delivered_files.sftp_login import Address, log_in

_PARALLEL_READS = 64


class Sftp(FileSource):
    """A folder on an SFTP server, over an open connection."""

    def __init__(self, address: Address, client: paramiko.SSHClient, sftp: paramiko.SFTPClient):
        self._address = address
        self._client = client
        self._sftp = sftp

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        with _translated_sftp_errors(str(self._address)):
            entries = self._sftp.listdir_attr(self._address.folder)
            return sort_for_import(
                self._as_file(entry.filename, entry) for entry in entries if is_wanted(entry.filename, pattern)
            )

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        place = f"{self._address}/{file.name}"
        check_size(place, file)
        content = b""
        with _translated_sftp_errors(place):
            # A file that has shrunk ends too early; the check below reports it.
            with suppress(FileNotFoundError, EOFError), self._sftp.open(self._path(file.name), "rb") as stream:
                if file.size:
                    stream.prefetch(file.size, _PARALLEL_READS)
                    content = stream.read(file.size)
            return require_unchanged(place, file, self._look_up(file.name), content)

    def close(self) -> None:
        """See `FileSource`."""
        self._client.close()

    def _path(self, name: str) -> str:
        return f"{self._address.folder.rstrip('/')}/{name}"

    def _look_up(self, name: str) -> RemoteFile | None:
        try:
            attributes = self._sftp.stat(self._path(name))
        except FileNotFoundError:
            return None
        return self._as_file(name, attributes)

    def _as_file(self, name: str, attributes: paramiko.SFTPAttributes) -> RemoteFile | None:
        mode = attributes.st_mode or 0
        if S_ISLNK(mode):
            return self._look_up(name)
        if S_IFMT(mode) and not S_ISREG(mode):  # some servers leave out the type of a file
            return None
        if attributes.st_size is None or attributes.st_mtime is None:
            raise FileAccessError(
                f"{self._address}: the server reports no size or time of files; ask its operator to enable that."
            )
        return RemoteFile(name, attributes.st_size, datetime.fromtimestamp(attributes.st_mtime, UTC))


def connect_sftp(
    url: str, *, username: str | None, password: str | None, key_file: str | None, known_hosts: str | None
) -> Sftp:
    """Log in to an SFTP server. For arguments and errors see `open_file_source`."""
    address = Address.of(url)
    client, sftp = log_in(address, username=username, password=password, key_file=key_file, known_hosts=known_hosts)
    return Sftp(address, client, sftp)


@contextmanager
def _translated_sftp_errors(place: str) -> Iterator[None]:
    """Like `translated_errors`, also for lost connections and answers that aren't SFTP."""
    with translated_errors(place):
        try:
            yield
        except (EOFError, UnicodeDecodeError, paramiko.SSHException) as error:
            lost = ConnectionError(type(error).__name__)
        else:
            return
        raise lost
