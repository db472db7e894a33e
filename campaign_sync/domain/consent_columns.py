"""`domain.consent` applied to columns of many consent events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa

from campaign_sync.domain.consent import GRANTING, PRECEDENCE, ConsentKind
from campaign_sync.domain.instant import CLOCK_TOLERANCE
from campaign_sync.domain.instant_columns import Instants, latest64

KINDS: Final = tuple(ConsentKind)
"""The kinds in the order of their numbers."""

_RANKS = np.array([PRECEDENCE.get(kind, 0) for kind in KINDS])

_IS_GRANTING = np.array([kind in GRANTING for kind in KINDS])

_FUTURE, _UNCLEAR = KINDS.index(ConsentKind.FUTURE), KINDS.index(ConsentKind.UNCLEAR)

Numbers = np.ndarray[Any, np.dtype[np.integer[Any]]]


def effective_kinds(kinds: Numbers, moments: Instants, now: datetime) -> Numbers:
    """Return `effective_kind` of many events. Kinds are positions in `KINDS`."""
    granting = _IS_GRANTING[kinds]
    future = moments > np.datetime64((now + CLOCK_TOLERANCE).astimezone(UTC).replace(tzinfo=None), "us")
    return np.where(granting & np.isnat(moments), _UNCLEAR, np.where(granting & future, _FUTURE, kinds))


def deciding_events(
    groups: Numbers, kinds: Numbers, moments: Instants, event_ids: Sequence[object] | pa.Array
) -> Numbers:
    """Return the position of the event that `current_consent` selects from each history, in the order of the groups.

    Args:
        groups: the number of the history that each event belongs to.
        kinds: the kinds of the events, by `effective_kinds`.
        moments: when the events happened.
        event_ids: the ids of the events.
    """
    if not len(groups):
        return np.zeros(0, dtype=np.intp)
    is_future = kinds == _FUTURE
    dated = np.where(np.isnat(moments), latest64(), moments)
    dated = np.where(is_future, np.datetime64("0001-01-01", "us"), dated)
    ranks = _RANKS[kinds]
    order = np.lexsort((ranks, dated, groups))
    groups, dated, ranks = groups[order], dated[order], ranks[order]
    same_group = groups[1:] == groups[:-1]
    equal = same_group & (dated[1:] == dated[:-1]) & (ranks[1:] == ranks[:-1])
    ends = np.flatnonzero(np.append(~same_group, True))
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.intp)
    winners = order[ends]

    def greatest(start: int, end: int) -> int:
        candidates: list[int] = order[start : end + 1].tolist()
        if isinstance(event_ids, pa.Array):
            return max(candidates, key=lambda position: str(event_ids[position].as_py()))
        return max(candidates, key=lambda position: str(event_ids[position]))

    for number in np.flatnonzero(np.append(False, equal)[ends]):
        start = end = int(ends[number])
        while start > starts[number] and equal[start - 1]:
            start -= 1
        winners[number] = greatest(start, end)
    if is_future.any():
        futures = np.add.reduceat(is_future[order].astype(np.intp), starts)  # they come first in their group
        for number in np.flatnonzero((futures > 0) & _IS_GRANTING[kinds[winners]]):
            winners[number] = greatest(int(starts[number]), int(starts[number] + futures[number] - 1))
    return winners
