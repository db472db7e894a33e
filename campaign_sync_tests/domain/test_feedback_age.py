"""When old feedback warns, when it stops replaces, and when it is an alarm."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.feedback_age import (
    USUAL_SILENCE,
    AgeLimits,
    Freshness,
    delivery_complete_until,
    is_silence_suspicious,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMITS = AgeLimits(timedelta(hours=36), timedelta(days=30))


@pytest.mark.parametrize(
    ("hours", "freshness"),
    [
        (0, Freshness.FRESH),
        (24, Freshness.FRESH),
        (25, Freshness.WARNING),
        (36, Freshness.WARNING),
        (37, Freshness.BLOCKING),
        (7.5 * 24, Freshness.BLOCKING),
        (7.5 * 24 + 1, Freshness.ALARM),
    ],
)
def test_it_warns_after_a_day_blocks_at_the_limit_and_alarms_at_a_quarter_of_the_vendors_memory(
    hours: float, freshness: Freshness
) -> None:
    assert LIMITS.assess("nord", NOW - timedelta(hours=hours), NOW).freshness is freshness


def test_the_alarm_names_the_mandator_and_the_day_from_which_unsubscribes_are_lost() -> None:
    told = LIMITS.assess("nord", NOW - timedelta(days=10), NOW).message
    assert told == (
        "ALARM: the CRM has nord's feedback up to 10.0 days ago; the vendor keeps it for 30.0 days, so from 2026-12-14 "
        "on unsubscribes are lost for good. No list is replaced; materialize nord's bounces, unsubscribes and "
        "suppression_state today"
    )


def test_feedback_that_never_came_blocks_and_is_named() -> None:
    verdict = LIMITS.assess("nord", None, NOW, "getOutBounces")
    assert verdict.freshness is Freshness.BLOCKING
    assert "getOutBounces of nord were never imported" in verdict.message


def test_delivered_files_that_show_nothing_new_are_told_of_where_feedback_grows_old() -> None:
    by_files = AgeLimits(timedelta(hours=36), timedelta(days=30), by_files=True)
    assert "what is new in them" not in by_files.assess("nord", NOW, NOW).message
    for until in (NOW - timedelta(hours=25), NOW - timedelta(hours=40), NOW - timedelta(days=10), None):
        verdict = by_files.assess("nord", until, NOW, "getOutBounces")
        assert "Delivered files count by what is new in them" in verdict.message
        assert "never imported" not in verdict.message


@given(st.none() | st.datetimes(), st.none() | st.datetimes())
def test_a_file_shows_something_only_by_an_event_newer_than_all_before_and_not_for_long(
    newest: datetime | None, earlier: datetime | None
) -> None:
    newest, earlier = (
        each and each.replace(year=2026, tzinfo=UTC, day=min(each.day, 28)) for each in (newest, earlier)
    )
    until = delivery_complete_until(newest, earlier)
    assert (until is not None) == (newest is not None and (earlier is None or newest > earlier))
    assert until is None or newest is None or until - newest == USUAL_SILENCE


@given(st.timedeltas(timedelta(0), timedelta(days=60)), st.timedeltas(timedelta(0), timedelta(days=60)))
def test_older_is_never_less_alarming(one: timedelta, other: timedelta) -> None:
    order = list(Freshness)
    younger, older = sorted((one, other))
    found = [order.index(LIMITS.assess("nord", NOW - age, NOW).freshness) for age in (younger, older)]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("silence", "earlier", "unusual"),
    [(2, [], False), (4, [], True), (4, [1, 1], True), (13, [7, 1], False), (15, [7, 1], True)],
)
def test_a_silence_is_unusual_by_what_one_is_used_to(silence: int, earlier: list[int], unusual: bool) -> None:
    pauses = [timedelta(days=days) for days in earlier]
    assert is_silence_suspicious(timedelta(days=silence), pauses) is unusual
