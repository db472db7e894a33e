"""Batches of ids that fit into a statement's IN, on both databases."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

_IDS_PER_STATEMENT = 500


def batches(ids: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the ids in batches of at most 500."""
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        yield ids[start : start + _IDS_PER_STATEMENT]
