"""Rows kept in memory as CSV text, which takes a tenth of what lists of cells take."""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence

csv.field_size_limit(2**31 - 1)  # what the vendor sent is kept and must be readable, however long a cell is


class CsvRows:
    """An append-only sequence of rows. Each keeps its own width; a missing value becomes an empty one."""

    def __init__(self, rows: Iterable[Sequence[str | None]] = ()) -> None:
        self.pieces: list[bytes] = []
        """CSV in UTF-8, one piece for each `add`."""
        self.width = 0
        """Number of cells in the widest row."""
        self._count = 0
        self.add(rows)

    def add(self, rows: Iterable[Sequence[str | None]]) -> None:
        """Append rows."""
        added = list(rows)
        if added:
            text = io.StringIO(newline="")
            csv.writer(text).writerows(added)
            self.pieces.append(text.getvalue().encode())
            self.width = max(self.width, max(map(len, added)))
            self._count += len(added)

    def digest(self) -> str:
        """Return the SHA-256 of the rows: the same for the same rows, whatever the name or quoting of their file."""
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[str]]:
        for piece in self.pieces:
            yield from csv_rows(piece)


def csv_rows(content: bytes) -> Iterator[list[str]]:
    """Yield the rows of CSV in UTF-8."""
    return csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline=""))
