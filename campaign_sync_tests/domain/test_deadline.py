"""Deadlines that a list has missed."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.deadline import Deadline, missed_deadline

SEVEN = datetime(2026, 11, 24, 7, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BY_SEVEN = Deadline(3 * HOUR, (SEVEN, SEVEN + DAY, SEVEN + 2 * DAY))
DAILY = Deadline(26 * HOUR)

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
max_ages = st.timedeltas(timedelta(minutes=1), timedelta(days=10))
times = st.lists(moments, max_size=5).map(lambda unsorted: tuple(sorted(unsorted)))


def test_a_list_is_late_from_the_first_deadline_it_missed() -> None:
    proven = SEVEN - 2 * HOUR
    assert missed_deadline(BY_SEVEN, proven, SEVEN + DAY - HOUR) is None
    assert missed_deadline(BY_SEVEN, proven, SEVEN + DAY) == SEVEN + DAY
    assert missed_deadline(BY_SEVEN, proven, SEVEN + 3 * DAY) == SEVEN + DAY


def test_a_replacement_of_the_day_before_does_not_count_even_if_late() -> None:
    assert missed_deadline(BY_SEVEN, SEVEN + 5 * HOUR, SEVEN + DAY) == SEVEN + DAY
    assert missed_deadline(BY_SEVEN, SEVEN + DAY - 3 * HOUR, SEVEN + DAY) is None


def test_without_deadlines_the_age_of_the_proof_always_counts() -> None:
    assert missed_deadline(DAILY, SEVEN, SEVEN + 26 * HOUR - timedelta(seconds=1)) is None
    assert missed_deadline(DAILY, SEVEN, SEVEN + 2 * DAY) == SEVEN + 26 * HOUR


def test_a_list_that_was_never_proven_is_not_late() -> None:
    assert missed_deadline(DAILY, None, SEVEN) is missed_deadline(BY_SEVEN, None, SEVEN + DAY) is None


@given(max_ages, st.none() | times, moments, moments)
def test_no_list_is_late_before_its_maximum_age_or_in_the_future(
    max_age: timedelta, set_times: tuple[datetime, ...] | None, proven: datetime, now: datetime
) -> None:
    late = missed_deadline(Deadline(max_age, set_times), proven, now)
    assert late is None or proven + max_age <= late <= now


@given(max_ages, st.none() | times, moments, st.timedeltas(timedelta(0), timedelta(days=99)), moments)
def test_a_newer_proof_never_makes_a_list_late(
    max_age: timedelta, set_times: tuple[datetime, ...] | None, proven: datetime, newer: timedelta, now: datetime
) -> None:
    rule = Deadline(max_age, set_times)
    if missed_deadline(rule, proven, now) is None:
        assert missed_deadline(rule, proven + newer, now) is None
