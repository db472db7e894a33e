"""Which stretches of the vendor's clock have to be read so that nothing between them is missed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

LONGEST_WINDOW = timedelta(days=2)
"""A catch-up is read in pieces of this length, so that it can go on where it broke off."""


@dataclass(frozen=True)
class Window:
    """A stretch of the vendor's clock."""

    since: datetime
    until: datetime


def plan_windows(covered: datetime | None, now: datetime, overlap: timedelta, lifetime: timedelta) -> list[Window]:
    """What to read now: each window begins `overlap` before the end of the one before, and the last one ends now.

    Args:
        covered: up to where the feedback has been fetched; None if never.
        now: the vendor's clock.
        overlap: how late an export file may come and still be found.
        lifetime: how long the vendor keeps feedback; the first window of all begins there.
    """
    start = now - lifetime if covered is None else min(covered, now)
    pieces = max(1, ceil((now - start) / LONGEST_WINDOW))
    ends = [start + (now - start) * piece / pieces for piece in range(pieces)] + [now]
    back = [timedelta(0) if covered is None else overlap, *[overlap] * (pieces - 1)]
    return [Window(ends[piece] - back[piece], ends[piece + 1]) for piece in range(pieces)]


def covered_until(committed: datetime | None, fetched: list[Window]) -> datetime | None:
    """Up to where feedback has been fetched without a gap: what the CRM has, and what waits for it."""
    covered = committed
    for window in sorted(fetched, key=lambda one: one.since):
        if covered is None or window.since <= covered:
            covered = max(filter(None, [covered, window.until]))
    return covered
