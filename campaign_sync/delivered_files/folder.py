"""The file source that is a folder on this machine or on a mounted file system."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from campaign_sync.delivered_files.errors import FileAccessError
from campaign_sync.delivered_files.file_source import (
    FileSource,
    RemoteFile,
    check_size,
    is_wanted,
    read_pieces,
    require_new,
    sort_for_import,
    translated_errors,
    unfinished_name,
)

_SHARED_MODE = 0o640
"""Of files that another program imports: readable by their owner and group, whatever the umask."""


def _shared_opener(path: str, flags: int) -> int:
    """Open a file for `open(opener=…)`: a new one is never readable by others."""
    return os.open(path, flags, _SHARED_MODE)


class Folder(FileSource):
    """A folder on this machine or on a mounted file system.

    Args:
        path: the folder.
        setting: the setting with its path, for messages.
    """

    def __init__(self, path: Path, setting: str):
        self._path = path
        self._setting = setting

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        with translated_errors(str(self._path), self._setting):
            names = [entry.name for entry in self._path.iterdir() if is_wanted(entry.name, pattern)]
            return sort_for_import(self._look_up(name) for name in names)

    def folders(self) -> list[str]:
        """See `FileSource`."""
        with translated_errors(str(self._path), self._setting):
            return sorted(entry.name for entry in self._path.iterdir() if is_wanted(entry.name, "*") and entry.is_dir())

    def folder(self, name: str) -> "Folder":
        """See `FileSource`."""
        return Folder(self._path / name, self._setting)

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        check_size(str(self._path / file.name), file)
        return b"".join(self.pieces(file))

    def pieces(self, file: RemoteFile, start: int = 0) -> Iterator[bytes]:
        """See `FileSource`."""
        path = self._path / file.name
        with translated_errors(str(path), self._setting):
            yield from read_pieces(path, file, start, self._look_up)

    def write(self, name: str, content: bytes) -> None:
        """See `FileSource`."""
        path = self._path / name
        with translated_errors(str(path), self._setting, writing=True):
            require_new(str(path), self._look_up(name))
            unfinished = self._path / unfinished_name(name)
            with open(unfinished, "xb", opener=_shared_opener) as stream:
                stream.write(content)
                stream.flush()
                with suppress(OSError):  # some network file systems keep no modes
                    os.fchmod(stream.fileno(), _SHARED_MODE)
                os.fsync(stream.fileno())
            unfinished.replace(path)

    def probe_writing(self) -> None:
        """See `FileSource`."""
        self.files("*")
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise FileAccessError(
                f"{self._path} may not be written to; give our user the right to write to this folder."
            )

    def _look_up(self, name: str) -> RemoteFile | None:
        try:
            status = (self._path / name).stat()
        except FileNotFoundError:
            return None
        moment = datetime.fromtimestamp(status.st_mtime, UTC)
        return RemoteFile(name, status.st_size, moment) if S_ISREG(status.st_mode) else None
