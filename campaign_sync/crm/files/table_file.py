"""What CSV and Parquet have in common: columns, and rows in chunks."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

CHUNK_ROWS = 5_000

Row = Sequence[object]


class TableFile(Protocol):
    """A delivered table on this machine."""

    columns: tuple[str, ...]
    """The names of the columns; empty for those without a name."""

    def chunks(self, keys: Collection[int]) -> Iterator[Sequence[Row]]:
        """Yield all rows in chunks; values are those of `SourceRows`.

        Args:
            keys: the positions of columns in which every text must be valid.

        Raises:
            CrmError: the file isn't as described, ends too early, or has a key that can't be decoded.
        """
        ...
