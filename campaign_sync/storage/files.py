"""Files the product keeps: feedback as received, snapshots as sent. In a folder, or any store that has a URL."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pyarrow
from upath import UPath

from campaign_sync.domain.url import may_hold_password
from campaign_sync.domain.windows import Window
from campaign_sync.storage.csv_rows import CsvRows, csv_rows
from campaign_sync.storage.private_files import (
    create_private_folder,
    create_public_folder,
    is_writable,
    write_atomically,
)

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
"""Which extra of this package brings the driver of a URL's scheme."""


RAW = ".raw"
"""How the names of files end that are kept as they came, because they can't be read."""


class FileStorageError(Exception):
    """A file can't be kept, is missing or isn't what was written. The message names it and the remedy."""


class LostFileError(FileStorageError):
    """A file is missing, or isn't what was written."""


class FileStorage:
    """The frame storage. Every file but pages has a name of its own and is never written to again.

    Args:
        base: a folder, or the URL of one.

    Raises:
        FrameError: nobody knows the URL's scheme. Every method raises it where a file can't be written or read.
    """

    def __init__(self, base: str) -> None:
        found = None if may_hold_password(base) else _location(base)
        if found is None:
            raise FileStorageError(
                "storage.frames is of a kind that isn't known, or has a password in it; choose a folder, s3://, gs:// "
                "or abfs://, whose credentials are in the environment"
            )
        self.base = found

    @property
    def _is_folder(self) -> bool:
        return _is_local(self.base)

    def probe(self) -> str:
        """Find out, without writing anything, whether files can be kept here. Returns what was found.

        Raises:
            FrameError: they can't: the folder can't be written to, or the store's driver is missing or unwilling.
        """
        with self._usable(self.base, "used"):
            _ = self.base.fs
        if not self._is_folder:
            return f"the driver of {self.base.protocol}:// is there; whether it may write shows when it writes"
        folder = Path(self.base.path)
        if not is_writable(folder):
            raise FileStorageError(
                f"{folder} (storage.frames) can't be written to; choose another, or mend its permissions"
            )
        return "files can be kept there" if folder.exists() else "the folder will be created by the first run"

    def write_rows(
        self,
        folder: str,
        window: Window,
        rows: CsvRows | Iterable[Sequence[str | None]],
        about: Mapping[str, str],
        names: Sequence[str | None] = (),
    ) -> tuple[str, str]:
        """Keep rows as UTF-8 CSV with a header, also where there are none. Returns the file's name and its digest.

        Rows keep their own widths; a missing value is written as an empty one. The name has window and digest in it, so
        it can't repeat for other rows. Beside it stands a manifest (JSON): `about`, window, number of rows, digest. A
        file without one was never finished.

        Args:
            folder: where in the storage.
            window: what the rows are of.
            rows: as they came.
            about: for the manifest.
            names: of the columns, as far as they are known; the others are `column_0`, ….
        """
        kept = rows if isinstance(rows, CsvRows) else CsvRows(rows)
        width = max(kept.width, len(names), 1)
        known = [*names, *[None] * (width - len(names))]
        header = CsvRows([[name or f"column_{position}" for position, name in enumerate(known)]]).pieces
        facts = {"rows": len(kept), "columns": kept.width}
        return self._write_raw(folder, window, [*header, *kept.pieces], ".csv", {**about, **facts})

    def write_raw(self, folder: str, window: Window, content: bytes, about: Mapping[str, object]) -> tuple[str, str]:
        """Keep a file that can't be read as it is, with a manifest beside it. Returns its name and its digest."""
        return self._write_raw(folder, window, [content], RAW, about)

    def _write_raw(
        self, folder: str, window: Window, pieces: Sequence[bytes], suffix: str, about: Mapping[str, object]
    ) -> tuple[str, str]:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        sha256 = digest.hexdigest()
        stem = f"{folder}/{_named_by(window, sha256)}"
        facts = {**about, "since": window.since.isoformat(), "until": window.until.isoformat(), "sha256": sha256}
        self._write(f"{stem}{suffix}", b"".join(pieces))
        self._write(f"{stem}.json", json.dumps(facts, indent=2).encode())
        return f"{stem}{suffix}", sha256

    def is_intact(self, name: str, digest: str) -> bool:
        """Whether a file is there as it was written.

        Raises:
            FrameError: the storage can't be read now, so nobody can tell.
        """
        try:
            self._read(name, digest)
        except LostFileError:
            return False
        return True

    def remove_rows(self, name: str) -> None:
        """Remove what `write_rows` or `write_raw` kept, and its manifest. What is gone already is no matter."""
        for path in (self.base / name, (self.base / name).with_suffix(".json")):
            with self._usable(path, "removed"):
                path.unlink(missing_ok=True)

    def read_rows(self, name: str, digest: str) -> Iterator[list[str]]:
        """The rows as kept, without the header, one after the other: the file is in memory meanwhile, and they aren't.

        Raises:
            FrameError: the file is missing, or its bytes aren't those whose digest was noted.
        """
        return islice(csv_rows(self._read(name, digest)), 1, None)

    def read_raw(self, name: str, digest: str) -> bytes:
        """What `write_raw` kept.

        Raises:
            FrameError: the file is missing, or its bytes aren't those whose digest was noted.
        """
        return self._read(name, digest)

    def write_frame(self, folder: str, moment: datetime, frame: pd.DataFrame) -> tuple[str, str]:
        """Keep a frame as Parquet. Returns the file's name in the storage and its digest."""
        name = f"{folder}/{moment:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.parquet"
        digest = self._write(name, frame.to_parquet(index=False))
        release_memory()
        return name, digest

    def read_frame(self, name: str, digest: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The frame as kept, or some of its columns.

        Raises:
            FrameError: the file is missing, or its bytes aren't those whose digest was noted.
        """
        content = io.BytesIO(self._read(name, digest))
        frame = pd.read_parquet(content, columns=None if columns is None else list(columns))
        release_memory()
        return frame

    def add_to_partition(self, folder: str, window: Window, frame: pd.DataFrame) -> str:
        """Keep rows of a window as one more Parquet file of a partition. Returns the file's name in the storage.

        The name has window and digest in it: the same rows written again are the same file.
        """
        content = frame.to_parquet(index=False)
        name = f"{folder}/{_named_by(window, hashlib.sha256(content).hexdigest())}.parquet"
        self._write(name, content)
        return name

    def read_partition(self, folder: str, columns: Sequence[str]) -> pd.DataFrame | None:
        """Some columns of all Parquet files of a partition; None where there are none.

        Raises:
            FrameError: a file can't be read, or lacks a column.
        """
        path = self.base / folder
        with self._usable(path, "read"):
            files = sorted(path.glob("*.parquet")) if path.exists() else []
            found = [pd.read_parquet(io.BytesIO(file.read_bytes()), columns=list(columns)) for file in files]
        return pd.concat(found, ignore_index=True) if found else None

    def write_page(self, name: str, text: str) -> str:
        """Keep a page for people, in place of the one of that name. Returns its address: a path, or a URL."""
        self._write(name, text.encode(), public=True)
        path = self.base / name
        return str(Path(path.path).resolve()) if self._is_folder else str(path)

    def pages(self, folder: str) -> list[str]:
        """The names of the pages in a folder."""
        path = self.base / folder
        with self._usable(path, "read"):
            return sorted(each.name for each in path.glob("*.html")) if path.exists() else []

    def remove_page(self, name: str) -> None:
        """Remove a page. What is gone already is no matter."""
        with self._usable(self.base / name, "removed"):
            (self.base / name).unlink(missing_ok=True)

    def _write(self, name: str, content: bytes, *, public: bool = False) -> str:
        path = self.base / name
        with self._usable(path, "written"):
            if public and self._is_folder:
                create_private_folder(Path(self.base.path))
                create_public_folder(Path(path.parent.path))
            write_file(path, content, public=public)
        return hashlib.sha256(content).hexdigest()

    def _read(self, name: str, digest: str) -> bytes:
        path = self.base / name
        with self._usable(path, "read"):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                remedy = "restore it from a backup, or materialize its asset anew"
                raise LostFileError(f"{path} is missing; {remedy}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise LostFileError(f"{path} isn't what was written there; restore it, or materialize its asset anew")
        return content

    @contextmanager
    def _usable(self, path: UPath, purpose: str) -> Iterator[None]:
        """Turn a missing driver and an unwilling store into a `FileStorageError`."""
        try:
            yield
        except ImportError:
            protocol = self.base.protocol
            package = (
                f"campaign-sync[{_EXTRAS[protocol]}]" if protocol in _EXTRAS else f"what fsspec needs for {protocol}"
            )
            raise FileStorageError(f"{protocol}:// (storage.frames) needs a driver: pip install {package}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise FileStorageError(
                f"{path} can't be {purpose}: {reason}; check storage.frames and who may use it"
            ) from None


def _location(base: str) -> UPath | None:
    """The folder or URL; None where its scheme isn't known."""
    try:
        return UPath(base)
    except ValueError:
        return None


def release_memory() -> None:
    """Give the system what Arrow keeps in reserve: as much as a frame or two, after Parquet was written or read."""
    pyarrow.default_memory_pool().release_unused()


def write_file(path: UPath, content: bytes, *, public: bool = False) -> None:
    """Write a file of the frame storage: for its owner alone, or for everybody if it names no person.

    Folders that are missing are made. Those of people's files are for their owner alone.
    """
    if not _is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)  # an object appears when all of it is there
        return
    file = Path(path.path)
    create_private_folder(file.parent)
    write_atomically(file, content, public=public)


def _is_local(path: UPath) -> bool:
    return path.protocol in ("", "file", "local")


def _named_by(window: Window, digest: str) -> str:
    return f"{window.since:%Y%m%dT%H%M%SZ}-{window.until:%Y%m%dT%H%M%SZ}-{digest[:12]}"
