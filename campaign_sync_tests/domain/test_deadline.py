"""Since when a list is late."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.deadline import Deadline, missed_deadline

SEVEN = datetime(2026, 11, 24, 7, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BY_SEVEN = Deadline(3 * HOUR, (SEVEN, SEVEN + DAY, SEVEN + 2 * DAY))
DAILY = Deadline(26 * HOUR)

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
reaches = st.timedeltas(timedelta(minutes=1), timedelta(days=10))
times = st.lists(moments, max_size=5).map(lambda found: tuple(sorted(found)))


def test_a_list_is_late_from_the_first_deadline_it_missed() -> None:
    proven = SEVEN - 2 * HOUR
    assert missed_deadline(BY_SEVEN, proven, SEVEN + DAY - HOUR) is None
    assert missed_deadline(BY_SEVEN, proven, SEVEN + DAY) == SEVEN + DAY
    assert missed_deadline(BY_SEVEN, proven, SEVEN + 3 * DAY) == SEVEN + DAY


def test_the_day_before_does_not_count_however_late_it_came() -> None:
    assert missed_deadline(BY_SEVEN, SEVEN + 5 * HOUR, SEVEN + DAY) == SEVEN + DAY
    assert missed_deadline(BY_SEVEN, SEVEN + DAY - 3 * HOUR, SEVEN + DAY) is None


def test_without_set_times_the_age_of_the_proof_counts_all_the_time() -> None:
    assert missed_deadline(DAILY, SEVEN, SEVEN + 26 * HOUR - timedelta(seconds=1)) is None
    assert missed_deadline(DAILY, SEVEN, SEVEN + 2 * DAY) == SEVEN + 26 * HOUR


def test_a_list_that_was_never_there_is_not_late() -> None:
    assert missed_deadline(DAILY, None, SEVEN) is missed_deadline(BY_SEVEN, None, SEVEN + DAY) is None


@given(reaches, st.none() | times, moments, moments)
def test_nobody_is_late_before_their_reach_has_passed_nor_in_the_future(
    reach: timedelta, set_times: tuple[datetime, ...] | None, proven: datetime, now: datetime
) -> None:
    late = missed_deadline(Deadline(reach, set_times), proven, now)
    assert late is None or proven + reach <= late <= now


@given(reaches, st.none() | times, moments, st.timedeltas(timedelta(0), timedelta(days=99)), moments)
def test_a_newer_proof_never_makes_a_list_late(
    reach: timedelta, set_times: tuple[datetime, ...] | None, proven: datetime, newer: timedelta, now: datetime
) -> None:
    rule = Deadline(reach, set_times)
    if missed_deadline(rule, proven, now) is None:
        assert missed_deadline(rule, proven + newer, now) is None
