"""When something is planned, on every day of the year."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.orchestration.cron import last_tick, longest_gap, longest_lead, next_tick, ticks_between

BERLIN, HOUR, DAY = ZoneInfo("Europe/Berlin"), timedelta(hours=1), timedelta(days=1)

moments = st.datetimes(datetime(2025, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
clock_times = st.tuples(st.integers(0, 59), st.integers(0, 23))


@given(clock_times, zones.map(ZoneInfo), moments)
def test_a_daily_schedule_ticks_once_on_every_day(clock: tuple[int, int], zone: ZoneInfo, since: datetime) -> None:
    cron = f"{clock[0]} {clock[1]} * * *"
    midnight = since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    between = ticks_between(cron, zone, midnight.astimezone(UTC) - timedelta(seconds=1), since + 400 * DAY)
    days = [tick.astimezone(zone).date() for tick in between]
    assert days == [days[0] + number * DAY for number in range(len(days))]


@given(clock_times, zones.map(ZoneInfo), moments)
def test_before_and_after_agree_with_each_other(clock: tuple[int, int], zone: ZoneInfo, moment: datetime) -> None:
    cron = f"{clock[0]} {clock[1]} * * 1-5"
    last, following = last_tick(cron, zone, moment), next_tick(cron, zone, moment)
    assert last <= moment < following
    assert next_tick(cron, zone, last) == following
    assert last_tick(cron, zone, last) == last


@given(clock_times, st.sampled_from([("*", 25), ("1-5", 73), ("0", 169)]), zones.map(ZoneInfo), moments)
def test_no_gap_of_the_next_weeks_is_longer_than_the_longest(
    clock: tuple[int, int], days: tuple[str, int], zone: ZoneInfo, since: datetime
) -> None:
    cron = f"{clock[0]} {clock[1]} * * {days[0]}"
    longest = longest_gap(cron, zone, since)
    between = ticks_between(cron, zone, since, since + 50 * DAY)
    assert all(later - earlier <= longest for earlier, later in pairwise(between))
    assert (days[1] - 1) * HOUR <= longest <= days[1] * HOUR


@pytest.mark.parametrize(("month", "day"), [(1, 1), (1, 31), (2, 2), (2, 20), (3, 31), (12, 24)])
def test_a_monthly_schedule_has_a_long_month_in_sight(month: int, day: int) -> None:
    assert longest_gap("0 4 1 * *", BERLIN, datetime(2026, month, day, 12, tzinfo=UTC)) >= 31 * DAY - HOUR


def test_a_schedule_of_leap_days_has_a_gap_of_four_years() -> None:
    assert longest_gap("0 4 29 2 *", BERLIN, datetime(2026, 11, 24, tzinfo=UTC)) == 1461 * DAY


def test_looking_for_gaps_takes_no_time_however_often_something_ticks() -> None:
    assert longest_gap("* * * * *", BERLIN, datetime(2026, 11, 24, tzinfo=UTC)) == timedelta(minutes=1)


def test_the_way_from_the_schedule_to_the_deadline_is_the_longest_one() -> None:
    since = datetime(2026, 11, 24, tzinfo=UTC)
    assert longest_lead("30 4 * * *", "0 7 * * *", BERLIN, since) == 2.5 * HOUR
    assert longest_lead("30 4 * * 1-5", "0 7 * * *", BERLIN, since) == 2 * DAY + 2.5 * HOUR
    assert longest_lead("30 1 * * *", "0 7 * * *", BERLIN, datetime(2026, 10, 20, tzinfo=UTC)) == 6.5 * HOUR
