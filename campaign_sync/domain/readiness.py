"""Whether a list may be mailed to now, and if not, why: one answer for the report, the commands and the alarms."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from campaign_sync.domain.feedback_age import Freshness, FreshnessStatus, format_duration
from campaign_sync.domain.list_drift import ListDrift


class Readiness(StrEnum):
    """What a list is good for today, the gravest first."""

    INCOMPLETE = "incomplete"
    """Cleared, and not proven since: some of its people are missing."""
    RENEWING = "renewing"
    """Being replaced at this moment."""
    NEVER = "never"
    """Never proven, so nobody knows what it holds."""
    SUSPECTED_PARTIAL_FILL = "doubtful"
    """It looks half full, and no record tells whether it is."""
    DRIFTED = "drifted"
    """It isn't any more what its proof found in it."""
    FAILED = "failed"
    """The newest run that was to replace it didn't; it is complete, as of its last proof."""
    OLD = "old"
    """Complete, but as of too early a day."""
    FEEDBACK_OLD = "feedback_old"
    """Complete, but nobody knows who has opted out lately."""
    CHECK_FAILED = "check_failed"
    """Complete, and a check of its newest replace, or of the feedback, failed."""
    CHECK_MISSING = "check_missing"
    """Complete, and a check of its newest replace never came to a result."""
    UNKNOWN = "unknown"
    """Complete, but whether a newer run was to replace it can't be found out."""
    READY = "ready"

    @property
    def complete(self) -> bool:
        """Whether the list holds all of its people, as of some proof."""
        return self not in (
            Readiness.INCOMPLETE,
            Readiness.RENEWING,
            Readiness.NEVER,
            Readiness.SUSPECTED_PARTIAL_FILL,
            Readiness.DRIFTED,
        )


@dataclass(frozen=True)
class Attempt:
    """The newest run that was to replace a list, once it has ended, and what the checks on its way found."""

    run_id: str
    ended_at: datetime
    replaced: bool
    """Whether it did."""
    failed_checks: tuple[str, ...] = ()
    """Like `newsletter_snapshot: utf8`; those that only warn aren't among them."""
    missing_checks: tuple[str, ...] = ()
    """Checks that were due and came to no result, although the run replaced the list."""


@dataclass(frozen=True)
class ReadinessFacts:
    """What is known of a list."""

    proven_at: datetime | None
    is_current: bool
    """Whether that proof still counts."""
    incomplete_since: datetime | None
    in_progress: bool
    """Whether somebody is replacing it just now."""
    attempt: Attempt | None
    """None where no run is known that was to replace it."""
    attempts_known: bool
    """Whether runs could be asked for at all."""
    feedback: FreshnessStatus
    drift: ListDrift | None
    """Since the newest proof; None where nobody has looked."""
    partial_fill_since: datetime | None = None
    """Since when the list is known to look half full without a record of how it came to that."""


@dataclass(frozen=True)
class ReadinessStatus:
    """A verdict: since when, and a sentence that says so of “the list”."""

    readiness: Readiness
    since: datetime | None
    message: str


def assess_readiness(facts: ReadinessFacts, now: datetime) -> ReadinessStatus:
    """What a list is good for, by the gravest thing that is known of it."""
    return _by_its_state(facts) or _by_its_attempt(facts) or _by_its_surroundings(facts, now)


def _by_its_state(facts: ReadinessFacts) -> ReadinessStatus | None:
    if facts.incomplete_since is not None:
        if facts.in_progress:
            return ReadinessStatus(
                Readiness.RENEWING, facts.incomplete_since, "is being replaced just now: wait for its end"
            )
        message = "is INCOMPLETE, part of its people are missing: send nothing to it"
        return ReadinessStatus(Readiness.INCOMPLETE, facts.incomplete_since, message)
    if facts.partial_fill_since is not None:
        message = "looks half full, and no record tells how it came to that: send nothing to it"
        return ReadinessStatus(Readiness.SUSPECTED_PARTIAL_FILL, facts.partial_fill_since, message)
    if facts.proven_at is None:
        return ReadinessStatus(
            Readiness.NEVER, None, "was never proven, so nobody knows whom it holds: send nothing to it"
        )
    drift = facts.drift
    if drift and drift.drifted_since:
        message = f"was changed at the vendor after its proof ({drift.read_back}): send nothing to it"
        return ReadinessStatus(Readiness.DRIFTED, drift.drifted_since, message)
    return None


def _by_its_attempt(facts: ReadinessFacts) -> ReadinessStatus | None:
    attempt, proven_at = facts.attempt, facts.proven_at
    old = "it holds the people of its last proof, so who has opted out since may still be in it"
    if attempt and proven_at and not attempt.replaced and attempt.ended_at > proven_at:
        return ReadinessStatus(Readiness.FAILED, proven_at, f"wasn't replaced by the newest run that was to: {old}")
    if not facts.is_current:
        return ReadinessStatus(Readiness.OLD, proven_at, f"wasn't replaced in time: {old}")
    return None


def _by_its_surroundings(facts: ReadinessFacts, now: datetime) -> ReadinessStatus:
    attempt, feedback = facts.attempt, facts.feedback
    if feedback.freshness is not Freshness.FRESH:
        age = f"is {format_duration(feedback.age)} old" if feedback.age is not None else "was never imported"
        since = now - feedback.age if feedback.age is not None else None
        message = f"is complete, but the feedback {age}: who has opted out since may still be in it"
        return ReadinessStatus(Readiness.FEEDBACK_OLD, since, message)
    if attempt and attempt.failed_checks:
        message = f"is complete, but a check failed: {', '.join(attempt.failed_checks)}"
        return ReadinessStatus(Readiness.CHECK_FAILED, attempt.ended_at, message)
    if attempt and attempt.missing_checks:
        message = f"is complete, but a check has no result: {', '.join(attempt.missing_checks)}"
        return ReadinessStatus(Readiness.CHECK_MISSING, attempt.ended_at, message)
    if not facts.attempts_known:
        message = "is complete, but Dagster can't be asked whether a newer run was to replace it"
        return ReadinessStatus(Readiness.UNKNOWN, None, message)
    return ReadinessStatus(Readiness.READY, facts.proven_at, "is ready")
