"""Freshness of feedback by its age."""

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
def test_it_warns_after_a_day_blocks_at_the_limit_and_alarms_at_a_quarter_of_the_retention_time(
    hours: float, freshness: Freshness
) -> None:
    assert LIMITS.assess("nord", NOW - timedelta(hours=hours), NOW).freshness is freshness


def test_the_alarm_names_the_mandator_and_the_day_from_which_unsubscribes_are_lost() -> None:
    message = LIMITS.assess("nord", NOW - timedelta(days=10), NOW).message
    assert message == (
        "ALARM: the CRM has nord's feedback up to 10.0 days ago; the vendor keeps it for 30.0 days, so from 2026-12-14 "
        "on unsubscribes are lost for good. No list is replaced; materialize nord's bounces, unsubscribes and "
        "suppression_state today"
    )


def test_a_reader_that_was_never_imported_blocks_and_is_named() -> None:
    verdict = LIMITS.assess("nord", None, NOW, "getOutBounces")
    assert verdict.freshness is Freshness.BLOCKING
    assert "getOutBounces of nord were never imported" in verdict.message


def test_old_feedback_from_delivered_files_explains_how_files_count() -> None:
    by_files = AgeLimits(timedelta(hours=36), timedelta(days=30), by_files=True)
    assert "what is new in them" not in by_files.assess("nord", NOW, NOW).message
    for until in (NOW - timedelta(hours=25), NOW - timedelta(hours=40), NOW - timedelta(days=10), None):
        verdict = by_files.assess("nord", until, NOW, "getOutBounces")
        assert "Delivered files count by what is new in them" in verdict.message
        assert "never imported" not in verdict.message


@given(st.none() | st.datetimes(), st.none() | st.datetimes())
def test_a_file_proves_completeness_only_by_a_new_event_and_for_a_limited_time(
    newest: datetime | None, earlier: datetime | None
) -> None:
    newest, earlier = (
        time and time.replace(year=2026, tzinfo=UTC, day=min(time.day, 28)) for time in (newest, earlier)
    )
    until = delivery_complete_until(newest, earlier)
    assert (until is not None) == (newest is not None and (earlier is None or newest > earlier))
    assert until is None or newest is None or until - newest == USUAL_SILENCE


@given(st.timedeltas(timedelta(0), timedelta(days=60)), st.timedeltas(timedelta(0), timedelta(days=60)))
def test_older_feedback_is_never_fresher(age: timedelta, other_age: timedelta) -> None:
    order = list(Freshness)
    younger, older = sorted((age, other_age))
    ranks = [order.index(LIMITS.assess("nord", NOW - age, NOW).freshness) for age in (younger, older)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("silence", "earlier", "suspicious"),
    [(2, [], False), (4, [], True), (4, [1, 1], True), (13, [7, 1], False), (15, [7, 1], True)],
)
def test_a_silence_is_suspicious_in_comparison_with_earlier_pauses(
    silence: int, earlier: list[int], suspicious: bool
) -> None:
    pauses = [timedelta(days=days) for days in earlier]
    assert is_silence_suspicious(timedelta(days=silence), pauses) is suspicious
