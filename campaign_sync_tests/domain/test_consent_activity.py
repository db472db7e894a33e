"""When it is unusual that no consent changes in the CRM."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.consent_activity import ConsentActivity, activity_text, note_change

NOW = datetime(2026, 11, 26, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def watched(days_of_changes: list[int], until: int) -> tuple[ConsentActivity, list[int]]:
    """Return the activity after daily reads, and on which days it was silent."""
    activity, silent = note_change(None, NOW - DAY, NOW), []
    for day in range(1, until + 1):
        now = NOW + day * DAY
        newest = max((change for change in days_of_changes if change <= day), default=None)
        activity = note_change(activity, None if newest is None else NOW + newest * DAY, now)
        if activity.is_silent(now):
            silent.append(day)
    return activity, silent


def test_a_silence_of_three_times_the_longest_gap_is_unusual_until_the_next_change() -> None:
    activity, silent = watched([*range(10, 101, 10), 150], 160)
    assert silent == list(range(134, 150)), "the first gap is eleven days long"
    assert activity.longest_gap == 50 * DAY


def test_two_weeks_without_a_change_are_not_unusual_even_if_there_are_changes_daily() -> None:
    assert watched(list(range(1, 71)), 90)[1] == list(range(85, 91))


def test_nothing_is_unusual_right_after_the_installation_or_with_few_changes() -> None:
    assert watched(list(range(1, 13)), 55)[1] == []
    assert watched([1, 2, 3, 4, 5, 6, 7, 8, 9], 400)[1] == []
    assert watched([], 400)[1] == []


def test_many_changes_on_one_day_count_as_one() -> None:
    activity = note_change(None, None, NOW)
    for minute in range(600):
        now = NOW + timedelta(minutes=minute)
        activity = note_change(activity, now, now)
    assert activity.changes == 0
    assert activity_text(activity, NOW + 2 * DAY).endswith("how often consents change isn't known well enough yet")


def test_a_change_in_the_future_counts_as_of_now() -> None:
    assert note_change(None, NOW + 900 * DAY, NOW).newest_at == NOW


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 400))
def test_it_is_never_silent_within_the_longest_gap_or_two_weeks(changes: list[int], until: int) -> None:
    activity, silent = watched(changes, until)
    now = NOW + until * DAY
    if until in silent:
        assert activity.silence(now) > max(14 * DAY, activity.longest_gap)
        assert until >= 56
        assert len(set(changes)) >= 10
