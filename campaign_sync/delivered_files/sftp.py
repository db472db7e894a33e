"""The file source on an SFTP server. Needs the extra `sftp`."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from stat import S_IFMT, S_ISDIR, S_ISLNK, S_ISREG

import paramiko

from campaign_sync.delivered_files.errors import FileAccessError
from campaign_sync.delivered_files.file_source import (
    FileSource,
    RemoteFile,
    check_size,
    is_wanted,
    require_new,
    require_unchanged,
    sort_for_import,
    translated_errors,
    unfinished_name,
)
from campaign_sync.delivered_files.sftp_login import Address, Credentials, log_in

_PARALLEL_READS = 64
_PARALLEL_BYTES = 4 * 1024**2
"""How much is asked for in advance. The driver keeps all of it in memory."""


class Sftp(FileSource):
    """A folder on an SFTP server, over an open connection."""

    def __init__(self, address: Address, client: paramiko.SSHClient, sftp: paramiko.SFTPClient, setting: str):
        self._address = address
        self._client = client
        self._sftp = sftp
        self._setting = setting

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        with self._translated_errors(str(self._address)):
            entries = self._sftp.listdir_attr(self._address.folder)
            return sort_for_import(
                self._as_file(entry.filename, entry) for entry in entries if is_wanted(entry.filename, pattern)
            )

    def folders(self) -> list[str]:
        """See `FileSource`."""
        with self._translated_errors(str(self._address)):
            entries = self._sftp.listdir_attr(self._address.folder)
            wanted = [entry for entry in entries if is_wanted(entry.filename, "*")]
            return sorted(entry.filename for entry in wanted if self._is_folder(entry))

    def folder(self, name: str) -> "Sftp":
        """See `FileSource`."""
        address = replace(self._address, folder=self._path(name))
        return Sftp(address, self._client, self._sftp, self._setting)

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        check_size(f"{self._address}/{file.name}", file)
        return b"".join(self.pieces(file))

    def pieces(self, file: RemoteFile, start: int = 0) -> Iterator[bytes]:
        """See `FileSource`."""
        place = f"{self._address}/{file.name}"
        position = start
        with self._translated_errors(place):
            # A file that has shrunk ends too early; the check below reports it.
            with suppress(FileNotFoundError, EOFError), self._sftp.open(self._path(file.name), "rb") as stream:
                stream.seek(start)
                while position < file.size:
                    end = min(position + _PARALLEL_BYTES, file.size)
                    stream.prefetch(end, _PARALLEL_READS)
                    piece = stream.read(end - position)
                    position += len(piece)
                    yield piece
                    if position < end:
                        break
            require_unchanged(place, file, self._look_up(file.name), position)

    def write(self, name: str, content: bytes) -> None:
        """See `FileSource`."""
        place, unfinished = f"{self._address}/{name}", self._path(unfinished_name(name))
        with self._translated_errors(place, writing=True):
            require_new(place, self._look_up(name))
            with self._sftp.open(unfinished, "wbx") as stream:
                stream.set_pipelined(True)
                stream.write(content)
            if self._sftp.stat(unfinished).st_size != len(content):
                raise ConnectionError
            self._rename(unfinished, self._path(name))

    def probe_writing(self) -> None:
        """See `FileSource`. Only a missing folder shows without writing."""
        self.files("*")

    def _rename(self, unfinished: str, path: str) -> None:
        try:
            self._sftp.posix_rename(unfinished, path)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:  # the server lacks this extension of OpenSSH; its plain one never replaces a file
            self._sftp.rename(unfinished, path)

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

    @contextmanager
    def _translated_errors(self, place: str, *, writing: bool = False) -> Iterator[None]:
        """Like `translated_errors`, also for lost connections and answers that aren't SFTP."""
        with translated_errors(place, self._setting, writing=writing):
            try:
                yield
            except (EOFError, UnicodeDecodeError, paramiko.SSHException) as error:
                lost = ConnectionError(type(error).__name__)
            else:
                return
            raise lost

    def _is_folder(self, entry: paramiko.SFTPAttributes) -> bool:
        mode = entry.st_mode or 0
        if S_ISLNK(mode):
            with suppress(FileNotFoundError):
                mode = self._sftp.stat(self._path(entry.filename)).st_mode or 0
        return S_ISDIR(mode)

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
    url: str,
    *,
    username: str | None,
    password: str | None,
    key_file: str | None,
    known_hosts: str | None,
    setting: str,
) -> Sftp:
    """Log in to an SFTP server. For arguments and errors see `open_file_source`."""
    address = Address.of(url, setting)
    credentials = Credentials(username, password, key_file, known_hosts, setting.rpartition(".")[0])
    client, sftp = log_in(address, credentials)
    return Sftp(address, client, sftp, setting)
