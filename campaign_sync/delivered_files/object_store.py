"""The file source in an object store: S3, Google Cloud Storage or Azure. Credentials come from the environment."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from upath import UPath

from campaign_sync.delivered_files.errors import DeliveredFilesError, FileAccessError, UnreachableFilesError
from campaign_sync.delivered_files.file_source import (
    FileSource,
    RemoteFile,
    check_size,
    is_wanted,
    read_pieces,
    require_new,
    sort_for_import,
    translated_errors,
)

_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")
"""What drivers call the time of an object, in their listings."""


class ObjectStore(FileSource):
    """A folder in an object store.

    Args:
        base: the folder.
        setting: the setting with its URL, for messages.
    """

    def __init__(self, base: UPath, setting: str):
        self._base = base
        self._setting = setting

    def files(self, pattern: str) -> list[RemoteFile]:
        """See `FileSource`."""
        return sort_for_import(
            self._as_file(name, entry)
            for name, entry in self._entries().items()
            if entry["type"] == "file" and is_wanted(name, pattern)
        )

    def folders(self) -> list[str]:
        """See `FileSource`."""
        entries = self._entries()
        return sorted(name for name, entry in entries.items() if entry["type"] == "directory" and is_wanted(name, "*"))

    def folder(self, name: str) -> "ObjectStore":
        """See `FileSource`."""
        return ObjectStore(self._base / name, self._setting)

    def read(self, file: RemoteFile) -> bytes:
        """See `FileSource`."""
        check_size(str(self._base / file.name), file)
        return b"".join(self.pieces(file))

    def pieces(self, file: RemoteFile, start: int = 0) -> Iterator[bytes]:
        """See `FileSource`."""
        path = self._base / file.name
        with _translated_driver_errors(str(path), self._setting):
            yield from read_pieces(path, file, start, self._look_up)

    def write(self, name: str, content: bytes) -> None:
        """See `FileSource`. An object appears once it is complete."""
        path = self._base / name
        with _translated_driver_errors(str(path), self._setting, writing=True):
            require_new(str(path), self._look_up(name))
            path.write_bytes(content)

    def probe_writing(self) -> None:
        """See `FileSource`. Only the driver shows without writing, and whether the store answers."""
        with _translated_driver_errors(str(self._base), self._setting):
            self._base.exists()

    def _look_up(self, name: str) -> RemoteFile | None:
        try:
            entry = self._entries().get(name)
        except DeliveredFilesError as error:
            if error.retryable:
                raise
            return None  # a store has no folder without objects
        return self._as_file(name, entry) if entry else None

    def _entries(self) -> dict[str, Mapping[str, Any]]:
        with _translated_driver_errors(str(self._base), self._setting):
            store = self._base.fs
            store.invalidate_cache()
            entries = store.ls(self._base.path, detail=True)
        return {str(entry["name"]).rstrip("/").rpartition("/")[2]: entry for entry in entries}

    def _as_file(self, name: str, entry: Mapping[str, Any]) -> RemoteFile:
        moment = next((moment for key in _TIMES if (moment := _moment(entry.get(key))) is not None), None)
        if moment is None or entry.get("size") is None:
            raise FileAccessError(f"{self._base}: the store reports no size or time of files; ask its operator.")
        return RemoteFile(name, int(entry["size"]), moment)


def _moment(value: object) -> datetime | None:
    match value:
        case datetime():
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        case int() | float():
            return datetime.fromtimestamp(value, UTC)
        case str():
            with suppress(ValueError):
                return _moment(datetime.fromisoformat(value))
    return None


@contextmanager
def _translated_driver_errors(place: str, setting: str, *, writing: bool = False) -> Iterator[None]:
    """Like `translated_errors`, also for what the drivers of stores raise beside OSError."""
    with translated_errors(place, setting, writing=writing):
        try:
            yield
        except (OSError, DeliveredFilesError):
            raise
        except Exception as error:  # noqa: BLE001 - every driver has errors of its own, with anything in their text
            raise UnreachableFilesError(
                f"{place} can't be reached ({type(error).__name__}); try again later, and check {setting}, the "
                "store's credentials in the environment and the network."
            ) from None
