"""Ticks of cron expressions, and the times between them.

They come from the iterator of Dagster's own scheduler, so that both agree on every day of the year. All moments are in
UTC: Python compares and subtracts two moments of one zone by their wall clocks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from campaign_sync.orchestration.dagster_internals import get_smallest_cron_interval, schedule_execution_time_iterator

HORIZON = timedelta(days=60)
"""How far ahead gaps are searched: this contains every weekday and an end of a month."""

_MAX_TICKS = 1500
"""How many ticks are examined: an expression that ticks more often has no rare long gaps."""


def ticks(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the ticks after a moment, without end."""
    for tick in schedule_execution_time_iterator(after.timestamp(), cron, zone.key):
        if (moment := tick.astimezone(UTC)) > after:
            yield moment


def next_tick(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first tick after a moment."""
    return next(ticks(cron, zone, after))


def last_tick(cron: str, zone: ZoneInfo, before: datetime) -> datetime:
    """Return the last tick up to a moment; a tick at that very moment counts."""
    backwards = schedule_execution_time_iterator(before.timestamp(), cron, zone.key, ascending=False)
    return next(moment for tick in backwards if (moment := tick.astimezone(UTC)) <= before)


def ticks_between(cron: str, zone: ZoneInfo, after: datetime, until: datetime) -> tuple[datetime, ...]:
    """Return the ticks after `after`, up to and including `until`."""
    return tuple(takewhile(lambda tick: tick <= until, ticks(cron, zone, after)))


def longest_gap(cron: str, zone: ZoneInfo, since: datetime) -> timedelta:
    """Return the longest time between two ticks of those that enclose the next 60 days."""
    enclosing = islice(pairwise(chain([last_tick(cron, zone, since)], ticks(cron, zone, since))), _MAX_TICKS)
    return max(later - earlier for earlier, later in takewhile(lambda pair: pair[0] < since + HORIZON, enclosing))


def longest_lead(start: str, end: str, zone: ZoneInfo, since: datetime) -> timedelta:
    """Return the longest time from a tick of `start` to the next tick of `end`, over the next 60 days."""
    ends = islice(ticks(end, zone, since), _MAX_TICKS)
    first = next(ends)
    leads = [first - last_tick(start, zone, first)]
    leads += [tick - last_tick(start, zone, tick) for tick in takewhile(lambda tick: tick < since + HORIZON, ends)]
    return max(leads)


@cache  # slow, and the same for every list, and for many mandators
def shortest_gap(cron: str) -> timedelta:
    """Return the shortest time between two ticks, over years."""
    return get_smallest_cron_interval(cron)
