"""When a cron expression ticks.

By the iterator that Dagster's own scheduler goes by, so that both agree on every day of the year. Dagster has no public
name for it. All moments here are in UTC: two in one zone would be compared and subtracted by their clocks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from dagster._utils.schedules import get_smallest_cron_interval, schedule_execution_time_iterator

HORIZON = timedelta(days=60)
"""How far ahead gaps are looked for: every weekday and every end of a month is in it."""

_ENOUGH = 1500
"""So many ticks are looked at, no more: what ticks that often has no long gaps that come rarely."""


def ticks(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The ticks after a moment, without end."""
    for tick in schedule_execution_time_iterator(after.timestamp(), cron, zone.key):
        if (moment := tick.astimezone(UTC)) > after:
            yield moment


def next_tick(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first tick after a moment."""
    return next(ticks(cron, zone, after))


def last_tick(cron: str, zone: ZoneInfo, before: datetime) -> datetime:
    """The last tick up to a moment; one at that very moment counts."""
    backwards = schedule_execution_time_iterator(before.timestamp(), cron, zone.key, ascending=False)
    return next(moment for tick in backwards if (moment := tick.astimezone(UTC)) <= before)


def ticks_between(cron: str, zone: ZoneInfo, after: datetime, until: datetime) -> tuple[datetime, ...]:
    """The ticks after one moment and up to another."""
    return tuple(takewhile(lambda tick: tick <= until, ticks(cron, zone, after)))


def longest_gap(cron: str, zone: ZoneInfo, since: datetime) -> timedelta:
    """The longest time between two ticks of those that enclose the next 60 days."""
    enclosed = islice(pairwise(chain([last_tick(cron, zone, since)], ticks(cron, zone, since))), _ENOUGH)
    return max(later - earlier for earlier, later in takewhile(lambda pair: pair[0] < since + HORIZON, enclosed))


def longest_way(start: str, end: str, zone: ZoneInfo, since: datetime) -> timedelta:
    """The longest time from a tick of `start` to the next tick of `end`, over the next 60 days."""
    ends = islice(ticks(end, zone, since), _ENOUGH)
    first = next(ends)
    ways = [first - last_tick(start, zone, first)]
    ways += [moment - last_tick(start, zone, moment) for moment in takewhile(lambda one: one < since + HORIZON, ends)]
    return max(ways)


def shortest_gap(cron: str) -> timedelta:
    """The shortest time between two ticks, over years."""
    return get_smallest_cron_interval(cron)
