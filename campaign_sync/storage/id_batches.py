"""Lists of ids in pieces that a statement's IN can take, on both databases."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

_IDS_PER_STATEMENT = 500


def batches(ids: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The ids, so many at once."""
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        yield ids[start : start + _IDS_PER_STATEMENT]
