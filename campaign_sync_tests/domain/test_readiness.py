"""Readiness of a list by the most severe of its facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.feedback_age import AgeLimits, Freshness, FreshnessStatus
from campaign_sync.domain.list_drift import ListDrift, ReadBack
from campaign_sync.domain.readiness import Attempt, CheckFinding, Readiness, ReadinessFacts, assess_readiness

NOW = datetime(2026, 11, 26, 7, tzinfo=UTC)
PROVEN_AT = NOW - timedelta(hours=3)
LIMITS = AgeLimits(timedelta(hours=36), timedelta(days=14))
FRESH = LIMITS.assess("nord", NOW - timedelta(hours=1), NOW)
GOOD = ReadinessFacts(
    proven_at=PROVEN_AT,
    is_current=True,
    incomplete_since=None,
    in_progress=False,
    attempt=Attempt("r1", PROVEN_AT, replaced=True),
    attempts_known=True,
    feedback=FRESH,
    drift=None,
)
EMPTIED = ListDrift("nord", "newsletter", "r1").after_check(0, ReadBack(5, 0, 5, 0, 0, 0), NOW)
DAMAGED = CheckFinding("newsletter_snapshot", "utf8", "city: mojibake in 9 rows", of_list=True)
OLD_LAYOUT = CheckFinding("suppression_state", "layout", "9 rows can't be read", of_list=False)


def refused(hours_ago: float) -> Attempt:
    return Attempt("r2", NOW - timedelta(hours=hours_ago), replaced=False)


def feedback(hours: float) -> FreshnessStatus:
    return LIMITS.assess("nord", NOW - timedelta(hours=hours), NOW)


@pytest.mark.parametrize(
    ("facts", "readiness", "since", "message"),
    [
        (GOOD, Readiness.READY, PROVEN_AT, "is ready"),
        (replace(GOOD, attempt=None), Readiness.READY, PROVEN_AT, "is ready"),
        (replace(GOOD, incomplete_since=NOW), Readiness.INCOMPLETE, NOW, "send nothing to it"),
        (replace(GOOD, incomplete_since=NOW, in_progress=True), Readiness.RENEWING, NOW, "is being replaced just now"),
        (replace(GOOD, proven_at=None, is_current=False), Readiness.NEVER, None, "was never proven"),
        (replace(GOOD, partial_fill_since=NOW), Readiness.SUSPECTED_PARTIAL_FILL, NOW, "looks half full"),
        (
            replace(GOOD, partial_fill_since=NOW, proven_at=None, is_current=False),
            Readiness.SUSPECTED_PARTIAL_FILL,
            NOW,
            "send nothing to it",
        ),
        (replace(GOOD, drift=EMPTIED), Readiness.DRIFTED, NOW, "0 people are in it where 5 were proven"),
        (replace(GOOD, attempt=refused(1)), Readiness.FAILED, PROVEN_AT, "wasn't replaced by the newest run"),
        (
            replace(GOOD, attempt=replace(refused(1), failed_checks=(DAMAGED, OLD_LAYOUT))),
            Readiness.FAILED,
            PROVEN_AT,
            "The run was refused: newsletter_snapshot/utf8: city: mojibake in 9 rows",
        ),
        (replace(GOOD, attempt=refused(4)), Readiness.READY, PROVEN_AT, "is ready"),  # replaced by another run since
        (replace(GOOD, is_current=False), Readiness.OLD, PROVEN_AT, "wasn't replaced in time"),
        (replace(GOOD, feedback=feedback(25)), Readiness.FEEDBACK_OLD, NOW - timedelta(hours=25), "is 25.0 h old"),
        (replace(GOOD, feedback=feedback(37)), Readiness.FEEDBACK_OLD, NOW - timedelta(hours=37), "is 37.0 h old"),
        (
            replace(GOOD, feedback=LIMITS.assess("nord", None, NOW, "getUnsubscribes")),
            Readiness.FEEDBACK_OLD,
            None,
            "was never imported",
        ),
        (
            replace(GOOD, attempt=Attempt("r1", PROVEN_AT, replaced=True, failed_checks=(DAMAGED,))),
            Readiness.CHECK_FAILED,
            PROVEN_AT,
            "a check failed: newsletter_snapshot/utf8: city: mojibake in 9 rows",
        ),
        (
            replace(GOOD, attempt=Attempt("r1", PROVEN_AT, replaced=True, missing_checks=("recipient_list/n/proof",))),
            Readiness.CHECK_MISSING,
            PROVEN_AT,
            "a check has no result: recipient_list/n/proof",
        ),
        (replace(GOOD, attempt=None, attempts_known=False), Readiness.UNKNOWN, None, "Dagster can't be asked"),
    ],
)
def test_the_most_severe_fact_decides_about_readiness(
    facts: ReadinessFacts, readiness: Readiness, since: datetime | None, message: str
) -> None:
    status = assess_readiness(facts, NOW)
    assert (status.readiness, status.since) == (readiness, since)
    assert message in status.message


moments = st.datetimes(datetime(2026, 11, 1), datetime(2026, 11, 26, 7), timezones=st.just(UTC))  # noqa: DTZ001 - a zone is given
attempts = st.builds(
    Attempt,
    st.just("r"),
    moments,
    st.booleans(),
    st.sampled_from([(), (DAMAGED,)]),
    st.sampled_from([(), ("newsletter_recipient_list/proof",)]),
)
every_fact = st.builds(
    ReadinessFacts,
    proven_at=st.none() | moments,
    is_current=st.booleans(),
    incomplete_since=st.none() | moments,
    in_progress=st.booleans(),
    attempt=st.none() | attempts,
    attempts_known=st.booleans(),
    feedback=st.none().map(lambda _: FRESH) | st.floats(0, 1000).map(feedback),
    drift=st.sampled_from([None, EMPTIED, ListDrift("nord", "newsletter", "r1")]),
)


@given(every_fact)
def test_a_list_is_ready_only_if_all_facts_permit_it(facts: ReadinessFacts) -> None:
    newest_failed = (
        facts.attempt is not None
        and facts.proven_at is not None
        and not facts.attempt.replaced
        and facts.attempt.ended_at > facts.proven_at
    )
    is_expected_ready = (
        facts.proven_at is not None
        and facts.is_current
        and facts.incomplete_since is None
        and facts.attempts_known
        and facts.feedback.freshness is Freshness.FRESH
        and not newest_failed
        and not (facts.attempt and (facts.attempt.failed_checks or facts.attempt.missing_checks))
        and not (facts.drift and facts.drift.drifted_since)
    )
    assert (assess_readiness(facts, NOW).readiness is Readiness.READY) is is_expected_ready


@given(every_fact)
def test_a_partial_list_is_never_complete(facts: ReadinessFacts) -> None:
    is_partial = facts.incomplete_since is not None or facts.proven_at is None
    if is_partial or (facts.drift and facts.drift.drifted_since):
        assert not assess_readiness(facts, NOW).readiness.complete
