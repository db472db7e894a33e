"""Files the product keeps, in a folder or in a store with a URL: feedback as received, snapshots as sent."""

import ctypes
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import pandas as pd
import pyarrow as pa
from upath import UPath

from campaign_sync.domain.parquet_rows import ParquetRows, written_tables
from campaign_sync.domain.url import OBJECT_STORE_EXTRAS, may_hold_password
from campaign_sync.domain.windows import Window
from campaign_sync.errors import CampaignSyncError
from campaign_sync.extras import how_to_install
from campaign_sync.storage.csv_rows import CsvRows, csv_rows
from campaign_sync.storage.object_versions import PERMISSIONS, OldVersions, find_old_versions
from campaign_sync.storage.private_files import (
    create_private_folder,
    create_public_folder,
    is_unfinished,
    is_writable,
    write_atomically,
)

_SALT = b"campaign_sync.salt"

_MANIFEST_SALT = "salt"
"""The key of a manifest whose random number is digested with the file."""

RAW = ".raw"
"""Suffix of files that are kept as they came, because they can't be read."""


_LARGEST_PUT = 5 * 2**30
"""Bytes that S3 takes in one request."""

_ROWS_AT_ONCE = 250_000
"""How many rows of a frame are encoded, or decoded, at the same time. Of 100,000, files are a fifth larger."""

_SMALL = "erasures"
"""A folder with few files, whose listing shows whether a store answers."""


class FileStorageError(CampaignSyncError):
    """A file can't be written or read. The message names it and the remedy."""


class LostFileError(FileStorageError):
    """A file is missing, or its content isn't what was written."""


def salted(table: pa.Table) -> pa.Table:
    """Return a table with a random number in its metadata, in place of any that it had.

    The digest of its file then says nothing of its rows to who tries to guess them, once the file itself is gone.
    """
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _SALT: secrets.token_hex(16)})


class FileStorage:
    """The file storage (`storage.frames`). Every file but pages has a name of its own and is written once.

    Args:
        base: a folder, or the URL of one.
        setting: where the configuration names it.

    Raises:
        FileStorageError: no driver exists for the URL's scheme, or the URL has a password. Every method raises it
            where a file can't be written or read.
    """

    def __init__(self, base: str, setting: str = "storage.frames") -> None:
        self.setting = setting
        location = None if may_hold_password(base) else _location(base)
        if location is None:
            raise FileStorageError(
                f"{setting} has an unknown URL scheme, or a password in it; choose a folder, s3://, gs:// "
                "or abfs://, whose credentials are in the environment"
            )
        self.base = location

    @property
    def _is_folder(self) -> bool:
        return _is_local(self.base)

    def probe(self) -> str:
        """Return in words whether files can be kept here. Writes nothing.

        Raises:
            FileStorageError: they can't: the folder can't be written to, or the store's driver is missing or fails.
        """
        with self._usable(self.base, "used"):
            _ = self.base.fs
        if not self._is_folder:
            self.documents(_SMALL)
            return "the store answers, and can be listed; whether it can be written to shows at the first write"
        folder = Path(self.base.path)
        if not is_writable(folder):
            raise FileStorageError(
                f"{folder} ({self.setting}) can't be written to; choose another, or correct its permissions"
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
        """Write rows as UTF-8 CSV with a header, even if there are none. Return the file's name and its digest.

        Rows keep their own widths; a missing value is written as an empty one. The name contains window and digest.
        Beside it is a manifest (JSON) with `about`, window, number of rows and digest, and the salt of the digest; a
        file without one is unfinished.

        Args:
            folder: folder in the storage.
            window: what the rows cover.
            rows: the rows as received.
            about: further fields of the manifest.
            names: column names as far as they are known; the others are `column_0`, ….
        """
        csv_text = rows if isinstance(rows, CsvRows) else CsvRows(rows)
        width = max(csv_text.width, len(names), 1)
        columns = [*names, *[None] * (width - len(names))]
        header = CsvRows([[name or f"column_{position}" for position, name in enumerate(columns)]]).pieces
        counts = {"rows": len(csv_text), "columns": csv_text.width}
        content = b"".join([*header, *csv_text.pieces])
        return self._write_salted(f"{folder}/{_span(window)}", ".csv", content, {**about, **counts, **_covers(window)})

    def write_raw(self, folder: str, window: Window, content: bytes, about: Mapping[str, object]) -> tuple[str, str]:
        """Write a file that can't be read as it came, with a manifest beside it. Return its name and its digest."""
        return self._write_salted(f"{folder}/{_span(window)}", RAW, content, {**about, **_covers(window)})

    def rewrite_rows(self, name: str, content: bytes, about: Mapping[str, object]) -> tuple[str, str]:
        """Write what replaces a file of `write_rows` or `write_raw`, with another salt. Return its name and its digest.

        Args:
            name: the file, which stays.
            content: the other content.
            about: what the manifest says besides what that of the file says.
        """
        path = PurePosixPath(name)
        stem = f"{path.parent}/{path.stem.rpartition('-')[0]}"
        return self._write_salted(stem, path.suffix, content, {**self.manifest(name), **about})

    def _write_salted(self, stem: str, suffix: str, content: bytes, about: Mapping[str, object]) -> tuple[str, str]:
        salt = secrets.token_hex(16)
        digest = _digest(content, salt)
        name = f"{stem}-{digest[:12]}"
        self._write(f"{name}{suffix}", content)
        manifest = {**about, _MANIFEST_SALT: salt, "sha256": digest}
        self._write(f"{name}.json", json.dumps(manifest, indent=2).encode())
        return f"{name}{suffix}", digest

    def manifest(self, name: str) -> dict[str, Any]:
        """Return what the manifest of a file of rows says; nothing where there is none, as of an unfinished file."""
        path = self.base / str(PurePosixPath(name).with_suffix(".json"))
        with self._usable(path, "read"):
            try:
                manifest = json.loads(path.read_bytes())
            except (FileNotFoundError, ValueError):
                return {}
        return manifest if isinstance(manifest, dict) else {}

    def digest_of(self, name: str, content: bytes) -> str:
        """Return what is recorded as the digest of a file with this content: SHA-256, with the salt of its manifest."""
        salt = self.manifest(name).get(_MANIFEST_SALT) if name.endswith((".csv", RAW)) else None
        return _digest(content, str(salt or ""))

    def is_intact(self, name: str, digest: str) -> bool:
        """Return whether a file exists with the content that was written.

        Raises:
            FileStorageError: the storage can't be read now.
        """
        try:
            self._read(name, digest)
        except LostFileError:
            return False
        return True

    def remove_rows(self, name: str) -> None:
        """Remove a file of `write_rows` or `write_raw` and its manifest, where they exist."""
        for file in (name, str(PurePosixPath(name).with_suffix(".json"))):
            self.remove_frame(file)

    def read_rows(self, name: str, digest: str) -> Iterator[list[str]]:
        """Yield the rows of a file without its header. The file's bytes are in memory meanwhile; the rows aren't.

        Raises:
            FileStorageError: the file or its manifest is missing, or its bytes don't have the digest.
        """
        return islice(csv_rows(self._read(name, digest)), 1, None)

    def read_raw(self, name: str, digest: str) -> bytes:
        """Return the content of a file of `write_raw`.

        Raises:
            FileStorageError: the file is missing, or its bytes don't have the digest.
        """
        return self._read(name, digest)

    def write_frame(self, folder: str, moment: datetime, frame: pd.DataFrame) -> tuple[str, str]:
        """Write a frame as Parquet, with a salt. Return the file's name in the storage and its digest."""
        name = f"{folder}/{moment:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.parquet"
        table = salted(pa.Table.from_pandas(frame, preserve_index=False))
        content = written_tables([table], table.schema, _ROWS_AT_ONCE)
        del table
        digest = self._write(name, content)
        release_memory()
        return name, digest

    def open_frame(self, name: str, digest: str) -> ParquetRows:
        """Return a frame of `write_frame` as it is stored.

        Raises:
            FileStorageError: the file is missing, or its bytes don't have the digest.
        """
        return ParquetRows(self._read(name, digest))

    def read_frame(self, name: str, digest: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a frame of `write_frame`, or some of its columns.

        Raises:
            FileStorageError: the file is missing, or its bytes don't have the digest.
        """
        frame = self.open_frame(name, digest).frame(columns)
        release_memory()
        return frame

    def frames(self, folder: str) -> list[str]:
        """Return the names of the frames in the folders of a folder."""
        depth = folder.count("/") + 2
        return [name for name in self.names(folder) if name.endswith(".parquet") and name.count("/") == depth]

    def remove_frame(self, name: str) -> None:
        """Remove a frame, where it exists."""
        path = self.base / name
        with self._usable(path, "removed"):
            if self._is_folder:
                path.unlink(missing_ok=True)
            else:
                with suppress(FileNotFoundError):
                    path.fs.rm_file(path.path)

    def names(self, folder: str) -> list[str]:
        """Return the names of all files in a folder and in those below it, hidden ones too.

        Raises:
            FileStorageError: the storage can't be read now, or the bucket doesn't exist.
        """
        path = self.base / folder
        with self._usable(path, "read"):
            if self._is_folder:
                root = Path(self.base.path)
                return sorted(file.relative_to(root).as_posix() for file in _files_below(Path(path.path)))
            length = len(self.base.path.rstrip("/")) + 1
            entries = path.fs.find(path.path, detail=True).items()
            return sorted(name[length:] for name, entry in entries if entry["type"] == "file")

    def old_versions(self) -> OldVersions | None:
        """Return what the store keeps of files that were replaced or removed; None if it keeps nothing.

        Only stores with the protocol of S3 say so (`keeps_unknown_versions`).

        Raises:
            FileStorageError: the store doesn't say.
        """
        if not is_s3(self.base):
            return None
        with self._usable(self.base, "asked for old versions of files"):
            try:
                return find_old_versions(self.base)
            except PermissionError:
                raise FileStorageError(
                    f"{self.base} doesn't say whether it keeps old versions of files; allow {PERMISSIONS} to the user "
                    "of storage.frames"
                ) from None

    @property
    def keeps_unknown_versions(self) -> bool:
        """Whether this is a store whose old versions and removed files aren't known here."""
        return not self._is_folder and not is_s3(self.base)

    def unfinished(self) -> list[str]:
        """Return the names of files that a process began to write, and that no name refers to until they are complete.

        Those of living processes are among them. Stores have none, see `write_file`.
        """
        names = self.names("") if self._is_folder else []
        return [name for name in names if is_unfinished(name)]

    def write_cached(self, folder: str, moment: datetime, content: bytes) -> None:
        """Write a file that can be made again as the only one of a folder."""
        name = f"{moment:%Y%m%dT%H%M%SZ}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        self._write(f"{folder}/{name}", content)
        for other in self.file_names(folder, ".parquet"):
            if other != name:
                self.remove_frame(f"{folder}/{other}")

    def read_cached(self, folder: str) -> bytes | None:
        """Return the newest content of `write_cached` that is intact; None where there is none.

        Raises:
            FileStorageError: the storage can't be read now.
        """
        path = self.base / folder
        for name in sorted(self.file_names(folder, ".parquet"), reverse=True):
            with self._usable(path, "read"), suppress(FileNotFoundError):  # another process has written a newer one
                content = (path / name).read_bytes()
                if name.endswith(f"-{hashlib.sha256(content).hexdigest()[:16]}.parquet"):
                    return content
        return None

    def add_to_partition(self, folder: str, window: Window, frame: pd.DataFrame) -> str:
        """Write rows of a window as a further Parquet file of a partition. Return the file's name in the storage."""
        name = f"{folder}/{_span(window)}-{uuid4().hex[:12]}.parquet"
        self._write(name, frame.to_parquet(index=False))
        return name

    def read_partition(self, folder: str, columns: Sequence[str]) -> pd.DataFrame | None:
        """Return some columns of all Parquet files of a partition; None where there are no files.

        Raises:
            FileStorageError: a file can't be read, or lacks a column.
        """
        path = self.base / folder
        names = self.file_names(folder, ".parquet")
        with self._usable(path, "read"):
            frames = [pd.read_parquet(io.BytesIO((path / name).read_bytes()), columns=list(columns)) for name in names]
        return pd.concat(frames, ignore_index=True) if frames else None

    def write_document(self, name: str, content: bytes) -> None:
        """Write a file of a name of its own, replacing the one of that name."""
        self._write(name, content)

    def documents(self, folder: str) -> list[str]:
        """Return the names of the documents in a folder, which are JSON."""
        return [f"{folder}/{name}" for name in self.file_names(folder, ".json")]

    def read_document(self, name: str) -> bytes:
        """Return the content of a document."""
        with self._usable(self.base / name, "read"):
            return (self.base / name).read_bytes()

    def write_page(self, name: str, text: str) -> str:
        """Write an HTML page that names no recipient, replacing the one of that name. Return its path or URL."""
        self._write(name, text.encode(), public=True)
        path = self.base / name
        return str(Path(path.path).resolve()) if self._is_folder else str(path)

    def pages(self, folder: str) -> list[str]:
        """Return the names of the pages in a folder."""
        return self.file_names(folder, ".html")

    def file_names(self, folder: str, suffix: str) -> list[str]:
        """Return the names of the files in a folder that end so."""
        names = (PurePosixPath(name) for name in self.names(folder) if name.endswith(suffix))
        return [name.name for name in names if str(name.parent) == folder]

    def was_written_before(self, name: str, moment: datetime) -> bool:
        """Return whether a file was last written before a moment. No file was in a store that doesn't say when."""
        path = self.base / name
        with self._usable(path, "read"):
            try:
                written: datetime = path.fs.modified(path.path)
            except NotImplementedError:
                return False
        return written.astimezone(UTC) < moment

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder that have files."""
        below = (PurePosixPath(name).relative_to(folder).parts for name in self.names(folder))
        return sorted({parts[0] for parts in below if len(parts) > 1})

    def remove_folder(self, name: str) -> None:
        """Remove a folder with its files, where it exists."""
        path = self.base / name
        with self._usable(path, "removed"):
            if path.exists():
                path.rmdir(recursive=True)

    def remove_page(self, name: str) -> None:
        """Remove a page, where it exists."""
        self.remove_frame(name)

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
                remedy = "restore it from a backup, or materialize its asset again"
                raise LostFileError(f"{path} is missing; {remedy}") from None
        if self.digest_of(name, content) != digest:
            raise LostFileError(f"{path} isn't what was written there; restore it, or materialize its asset again")
        return content

    @contextmanager
    def _usable(self, path: UPath, purpose: str) -> Iterator[None]:
        """Turn a missing driver and a failing store into a `FileStorageError`."""
        try:
            yield
        except ImportError:
            protocol = self.base.protocol
            extra = OBJECT_STORE_EXTRAS.get(protocol)
            remedy = f"the extra {extra}; {how_to_install(extra)}" if extra else "a package for fsspec; install it"
            raise FileStorageError(f"{protocol}:// ({self.setting}) needs {remedy}") from None
        except CampaignSyncError:
            raise
        except Exception as error:
            if self._is_folder and not isinstance(error, OSError | ValueError):
                raise
            # Every store's driver has errors of its own, with anything in their text.
            raise FileStorageError(
                f"{path} can't be {purpose}: {_reason(error)}; check {self.setting} and its permissions"
            ) from None


def storage_location(base: str) -> UPath:
    """Return the folder, or the URL of a store, whose driver remembers no listing: other processes write there too.

    Raises:
        ValueError: the URL's scheme isn't known.
    """
    location = UPath(base)
    return location if _is_local(location) else UPath(base, use_listings_cache=False)


def _location(base: str) -> UPath | None:
    """Return the folder or URL; None where its scheme isn't known."""
    try:
        return storage_location(base)
    except ValueError:
        return None


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and those below it, also where it or one of them is a link.

    Raises:
        OSError: one of the folders can't be read.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for parent, _, names in os.walk(folder, onerror=fail, followlinks=True):
        for name in names:
            yield Path(parent, name)


def _reason(error: Exception) -> str:
    """Return why a folder or a store failed, without the driver's text."""
    if text := getattr(error, "strerror", None):
        return str(text)
    match error:
        case FileNotFoundError():
            return "it doesn't exist"
        case PermissionError():
            return "access is denied"
    return type(error).__name__


def release_memory() -> None:
    """Return what is free to the system: the size of a frame or two, by Arrow and by the C library (glibc's)."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError, TypeError):  # other libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)


def write_file(path: UPath, content: bytes, *, public: bool = False) -> None:
    """Write a file: readable by its owner alone, or by everybody if it names no person (`public`).

    Missing folders are created. Those of files with people are for their owner alone.
    """
    if not _is_local(path):
        # Never `mkdir`: it would create a missing bucket. In one request, so that a killed process leaves no parts.
        path.fs.pipe_file(path.path, content, **({"chunksize": _LARGEST_PUT} if is_s3(path) else {}))
        return
    file = Path(path.path)
    create_private_folder(file.parent)
    write_atomically(file, content, public=public)


def is_s3(path: UPath) -> bool:
    """Return whether a path is in a store with the protocol of S3."""
    return OBJECT_STORE_EXTRAS.get(path.protocol) == "s3"


def _is_local(path: UPath) -> bool:
    return path.protocol in ("", "file", "local")


def _span(window: Window) -> str:
    return f"{window.since:%Y%m%dT%H%M%SZ}-{window.until:%Y%m%dT%H%M%SZ}"


def _covers(window: Window) -> dict[str, str]:
    return {"since": window.since.isoformat(), "until": window.until.isoformat()}


def _digest(content: bytes, salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    digest.update(content)
    return digest.hexdigest()
