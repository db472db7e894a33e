"""Time windows in which feedback is fetched, without gaps between them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

LONGEST_WINDOW = timedelta(days=2)
"""The longest window. A longer time is fetched in several ones, so that it can continue after an interruption."""


@dataclass(frozen=True)
class Window:
    """A time window by the vendor's clock."""

    since: datetime
    until: datetime


def plan_windows(covered: datetime | None, now: datetime, overlap: timedelta, lifetime: timedelta) -> list[Window]:
    """Return the windows to fetch now. Each begins `overlap` before the end of the previous one; the last one ends now.

    Args:
        covered: the time up to which feedback has been fetched; None if never.
        now: the current time by the vendor's clock.
        overlap: how late an export file may arrive.
        lifetime: how long the vendor keeps feedback; the very first window begins that long ago.
    """
    start = now - lifetime if covered is None else min(covered, now)
    pieces = max(1, ceil((now - start) / LONGEST_WINDOW))
    ends = [start + (now - start) * piece / pieces for piece in range(pieces)] + [now]
    back = [timedelta(0) if covered is None else overlap, *[overlap] * (pieces - 1)]
    return [Window(ends[piece] - back[piece], ends[piece + 1]) for piece in range(pieces)]


def covered_until(committed: datetime | None, fetched: list[Window]) -> datetime | None:
    """Return the time up to which feedback has been fetched without a gap: what the CRM has, and what is pending."""
    covered = committed
    for window in sorted(fetched, key=lambda window: window.since):
        if covered is None or window.since <= covered:
            covered = max(filter(None, [covered, window.until]))
    return covered
