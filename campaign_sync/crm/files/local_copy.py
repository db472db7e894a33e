"""Local copies of delivered files, for our user alone, for as long as they are read."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from campaign_sync.crm.files.delivery import Delivery
from campaign_sync.crm.files.place import Place
from campaign_sync.crm.port import CrmError
from campaign_sync.delivered_files.file_source import FileSource
from campaign_sync.domain.progress import Progress, report
from campaign_sync.storage.private_files import create_private_folder, private_opener

_PREFIX = "download-"
_LOCK = ".lock"


@dataclass(frozen=True)
class LocalFile:
    """A delivered file on this machine."""

    name: str
    """As messages show it."""
    path: Path
    rows: int | None
    """Its rows by the manifest, without the header line; None without a manifest."""


class LocalCopy:
    """The files of a delivery, each downloaded when it is needed first.

    Args:
        place: the place of the delivery.
        delivery: the delivery.
        folder: an empty folder for our user alone.
    """

    def __init__(self, place: Place, delivery: Delivery, folder: Path) -> None:
        self._place = place
        self._delivery = delivery
        self._folder = folder
        self._files: dict[str, LocalFile] = {}

    def file(self, name: str) -> LocalFile:
        """Return a file of the delivery.

        Raises:
            CrmError: the delivery has no such file, it can't be downloaded, or its digest isn't that of the manifest.
        """
        if name not in self._files:
            self._files[name] = self._download(name)
        return self._files[name]

    def _download(self, name: str) -> LocalFile:
        if name not in self._delivery.names or name not in self._delivery.listed:
            raise CrmError(f"the delivery has no {name}; have the CRM deliver it, or correct what names it")
        expected = self._delivery.expected(name)
        path = self._folder / name
        digest = self._stream(name, path)
        if expected and digest != expected.sha256:
            raise CrmError(
                f"{self._delivery.place_of(name)} isn't the file that the manifest describes: its sha256 differs, so "
                "it was cut off, damaged or replaced; have the CRM deliver again, with the manifest written last"
            )
        return LocalFile(self._delivery.place_of(name), path, expected.rows if expected else None)

    def _stream(self, name: str, path: Path) -> str:
        """Download a file, and return its digest. After a lost connection it goes on where it was."""
        file, digest, done = self._delivery.listed[name], hashlib.sha256(), 0
        with local_errors(), open(path, "xb", opener=private_opener) as stream:

            def go_on(source: FileSource) -> None:
                nonlocal done
                for piece in self._delivery.folder(source).pieces(file, done):
                    stream.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    report(Progress("", "CRM", f"download {name}, bytes", done, file.size))

            self._place.attempt(go_on)
        return digest.hexdigest()


@contextmanager
def download_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder for our user alone, and remove it at the end with all that is in it.

    Those of processes that died are removed as well: the system has released their locks.
    """
    with local_errors():
        create_private_folder(parent)
        _remove_abandoned(parent)
        folder = parent / f"{_PREFIX}{uuid4().hex}"
        lock = _create_locked(folder)
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _create_locked(folder: Path) -> FileLock:
    """Create a folder that is locked from the moment on that it has its name."""
    unlocked = folder.with_name(f".{folder.name}")
    unlocked.mkdir(mode=0o700)
    lock = FileLock(unlocked / _LOCK, mode=0o600)
    lock.acquire()
    unlocked.rename(folder)
    return lock


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(Timeout, FileNotFoundError), FileLock(folder / _LOCK, mode=0o600, blocking=False):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_errors() -> Iterator[None]:
    """Turn errors of local files into CrmErrors."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CrmError(
            f"the delivery can't be stored on this machine ({reason}); check storage.crm_copies, its disk and its "
            "permissions"
        ) from None
