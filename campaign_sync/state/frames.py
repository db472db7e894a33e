"""Files the product keeps: feedback as received, snapshots as sent. In a folder, or any store that has a URL."""

import csv
import hashlib
import io
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

import pandas as pd
from upath import UPath


class FrameError(Exception):
    """A kept file is missing or isn't what was written. The message names it and the remedy."""


class Frames:
    """The frame storage. Every file has a name of its own and is never written to again."""

    def __init__(self, base: str) -> None:
        self.base = UPath(base)

    def write_rows(self, folder: str, moment: datetime, rows: Sequence[Sequence[str | None]]) -> tuple[str, str]:
        """Keep rows as UTF-8 CSV with a header (`column_0`, …). Returns the file's name in the storage and its digest.

        Rows keep their own widths; a missing value is written as an empty one.
        """
        width = max((len(row) for row in rows), default=0)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow([f"column_{position}" for position in range(width)])
        writer.writerows(rows)
        name = f"{folder}/{moment:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.csv"
        return name, self._write(name, text.getvalue().encode())

    def read_rows(self, name: str, digest: str) -> list[list[str]]:
        """The rows as kept, without the header.

        Raises:
            FrameError: the file is missing, or its bytes aren't those whose digest was noted.
        """
        text = io.StringIO(self._read(name, digest).decode(), newline="")
        return list(csv.reader(text))[1:]

    def write_frame(self, folder: str, moment: datetime, frame: pd.DataFrame) -> tuple[str, str]:
        """Keep a frame as Parquet. Returns the file's name in the storage and its digest."""
        name = f"{folder}/{moment:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.parquet"
        return name, self._write(name, frame.to_parquet(index=False))

    def read_frame(self, name: str, digest: str) -> pd.DataFrame:
        """The frame as kept.

        Raises:
            FrameError: the file is missing, or its bytes aren't those whose digest was noted.
        """
        return pd.read_parquet(io.BytesIO(self._read(name, digest)))

    def _write(self, name: str, content: bytes) -> str:
        path = self.base / name
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)  # people are in there
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def _read(self, name: str, digest: str) -> bytes:
        path = self.base / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise FrameError(f"{path} is missing; restore it from a backup, or materialize its asset anew") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise FrameError(f"{path} isn't what was written there; restore it, or materialize its asset anew")
        return content
