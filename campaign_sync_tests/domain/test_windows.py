"""Windows without gaps."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.windows import LONGEST_WINDOW, Window, covered_until, plan_windows

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OVERLAP, LIFETIME = timedelta(hours=2), timedelta(days=30)
spans = st.timedeltas(timedelta(0), timedelta(days=90))


def test_the_first_import_covers_the_retention_time_in_several_windows() -> None:
    planned = plan_windows(None, NOW, OVERLAP, LIFETIME)
    assert (planned[0].since, planned[-1].until) == (NOW - LIFETIME, NOW)
    assert len(planned) == 15


def test_a_daily_import_is_one_window_that_overlaps_the_previous_one() -> None:
    yesterday = NOW - timedelta(days=1)
    assert plan_windows(yesterday, NOW, OVERLAP, LIFETIME) == [Window(yesterday - OVERLAP, NOW)]


@given(st.none() | spans)
def test_every_window_begins_an_overlap_before_the_end_of_the_one_before(ago: timedelta | None) -> None:
    covered = None if ago is None else NOW - ago
    planned = plan_windows(covered, NOW, OVERLAP, LIFETIME)
    ends = [covered, *(window.until for window in planned)]
    assert ends[-1] == NOW
    assert all(window.until - window.since <= LONGEST_WINDOW + OVERLAP for window in planned)
    for end, window in zip(ends, planned, strict=False):
        assert window.since == (NOW - LIFETIME if end is None else end - OVERLAP)


def test_a_clock_that_was_set_back_makes_no_window_of_negative_length() -> None:
    (window,) = plan_windows(NOW + timedelta(hours=5), NOW, OVERLAP, LIFETIME)
    assert window == Window(NOW - OVERLAP, NOW)


@given(st.lists(st.tuples(spans, st.timedeltas(timedelta(0), timedelta(days=3))), max_size=6), spans)
def test_windows_after_a_gap_are_not_covered(pieces: list[tuple[timedelta, timedelta]], ago: timedelta) -> None:
    committed = NOW - ago
    fetched = [Window(NOW - since, NOW - since + length) for since, length in pieces]
    covered = covered_until(committed, fetched)
    assert covered is not None
    assert covered >= committed
    moment = committed
    while moment < covered:  # from window to window
        ends = [window.until for window in fetched if window.since <= moment < window.until]
        assert ends
        moment = max(ends)
