"""Readiness of lists for mailing. The report, the commands and the alarms share this assessment."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from campaign_sync.domain.feedback_age import Freshness, FreshnessStatus, format_duration
from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.domain.message import Message


class Readiness(StrEnum):
    """Whether a list can be mailed to, the most severe state first. The values are shown and counted."""

    INCOMPLETE = "incomplete"
    """Cleared, and not proven since: recipients are missing."""
    RENEWING = "renewing"
    """Being replaced now."""
    NEVER = "never"
    """Never proven, so its content is unknown."""
    SUSPECTED_PARTIAL_FILL = "doubtful"
    """It looks half full, and no replacement is recorded that left it so."""
    DRIFTED = "drifted"
    """Changed at the vendor since its proof."""
    FAILED = "failed"
    """Complete as of its last proof; the newest run failed to replace it."""
    OLD = "old"
    """Complete, but not replaced by its deadline."""
    FEEDBACK_OLD = "feedback_old"
    """Complete, but recent opt-outs are unknown."""
    CHECK_FAILED = "check_failed"
    """Complete, but a check of its newest replacement, or of the feedback, failed."""
    CHECK_MISSING = "check_missing"
    """Complete, but a check of its newest replacement has no result."""
    UNKNOWN = "unknown"
    """Complete, but it is unknown whether a newer run was to replace it."""
    READY = "ready"

    @property
    def complete(self) -> bool:
        """Whether the list holds all recipients as of its last proof."""
        return self not in (
            Readiness.INCOMPLETE,
            Readiness.RENEWING,
            Readiness.NEVER,
            Readiness.SUSPECTED_PARTIAL_FILL,
            Readiness.DRIFTED,
        )


@dataclass(frozen=True)
class CheckFinding:
    """A check that failed or warned, and what it found, without personal data."""

    asset: str
    """Its asset without the mandator, like `newsletter_snapshot`."""
    check: str
    finding: str
    """The check's own sentence."""
    of_list: bool
    """Whether it is a check of the list; False for one of the feedback, which all lists share."""

    def __str__(self) -> str:
        """Return the check and what it found."""
        return f"{self.asset}/{self.check}: {self.finding}" if self.finding else f"{self.asset}/{self.check}"


@dataclass(frozen=True)
class Attempt:
    """The newest finished run that was to replace a list, with the results of its checks."""

    run_id: str
    ended_at: datetime
    replaced: bool
    """Whether the run replaced the list."""
    failed_checks: tuple[CheckFinding, ...] = ()
    """Without those that only warn."""
    missing_checks: tuple[str, ...] = ()
    """Checks without a result, although the run replaced the list; like `newsletter_recipient_list/proof`."""
    warnings: tuple[CheckFinding, ...] = ()
    """Checks that stop nothing."""

    @property
    def refusals(self) -> tuple[CheckFinding, ...]:
        """The checks of the list that kept the run from replacing it."""
        return () if self.replaced else tuple(finding for finding in self.failed_checks if finding.of_list)

    @property
    def reached_vendor(self) -> bool:
        """Whether the vendor is known to have let the run in: the checks of a list come after its feedback."""
        return self.replaced or bool(self.refusals)


@dataclass(frozen=True)
class ReadinessFacts:
    """The facts by which a list's readiness is assessed."""

    proven_at: datetime | None
    is_current: bool
    """Whether that proof meets the deadline."""
    incomplete_since: datetime | None
    in_progress: bool
    """Whether the list is being replaced now."""
    attempt: Attempt | None
    """None if no run is known that was to replace it."""
    attempts_known: bool
    """Whether Dagster could be asked for runs."""
    feedback: FreshnessStatus
    drift: ListDrift | None
    """Since the newest proof; None if the list wasn't checked."""
    partial_fill_since: datetime | None = None
    """Since when the list looks half full without a replacement that left it so."""


@dataclass(frozen=True)
class ReadinessStatus:
    """The readiness of a list: since when, and a message whose subject is “the list”."""

    readiness: Readiness
    since: datetime | None
    message: str


def assess_readiness(facts: ReadinessFacts, now: datetime) -> ReadinessStatus:
    """Return the readiness of a list, by the most severe of the facts."""
    return _by_content(facts) or _by_last_attempt(facts) or _by_feedback_and_checks(facts, now)


def _by_content(facts: ReadinessFacts) -> ReadinessStatus | None:
    if facts.incomplete_since is not None:
        if facts.in_progress:
            return ReadinessStatus(
                Readiness.RENEWING, facts.incomplete_since, "is being replaced just now: wait for its end"
            )
        message = "is INCOMPLETE, part of its people are missing: send nothing to it"
        return ReadinessStatus(Readiness.INCOMPLETE, facts.incomplete_since, message)
    if facts.partial_fill_since is not None:
        message = "looks half full, and no replacement is recorded that left it so: send nothing to it"
        return ReadinessStatus(Readiness.SUSPECTED_PARTIAL_FILL, facts.partial_fill_since, message)
    if facts.proven_at is None:
        return ReadinessStatus(
            Readiness.NEVER, None, "was never proven, so it is unknown whom it holds: send nothing to it"
        )
    drift = facts.drift
    if drift and drift.drifted_since:
        message = f"was changed at the vendor after its proof ({drift.read_back}): send nothing to it"
        return ReadinessStatus(Readiness.DRIFTED, drift.drifted_since, message)
    return None


def _by_last_attempt(facts: ReadinessFacts) -> ReadinessStatus | None:
    attempt, proven_at = facts.attempt, facts.proven_at
    old = "it holds the people of its last proof, so who has opted out since may still be in it"
    if attempt and proven_at and not attempt.replaced and attempt.ended_at > proven_at:
        message = f"wasn't replaced by the newest run that was to: {old}"
        if attempt.refusals:
            message += f". The run was refused: {_joined(attempt.refusals)}"
        return ReadinessStatus(Readiness.FAILED, proven_at, message)
    if not facts.is_current:
        return ReadinessStatus(Readiness.OLD, proven_at, f"wasn't replaced in time: {old}")
    return None


def _by_feedback_and_checks(facts: ReadinessFacts, now: datetime) -> ReadinessStatus:
    attempt, feedback = facts.attempt, facts.feedback
    if feedback.freshness is not Freshness.FRESH:
        age = f"is {format_duration(feedback.age)} old" if feedback.age is not None else "was never imported"
        since = now - feedback.age if feedback.age is not None else None
        message = f"is complete, but the feedback {age}: who has opted out since may still be in it"
        return ReadinessStatus(Readiness.FEEDBACK_OLD, since, message)
    if attempt and attempt.failed_checks:
        message = f"is complete, but a check failed: {_joined(attempt.failed_checks)}"
        return ReadinessStatus(Readiness.CHECK_FAILED, attempt.ended_at, message)
    if attempt and attempt.missing_checks:
        message = Message("is complete, but a check has no result: {checks}", checks=", ".join(attempt.missing_checks))
        return ReadinessStatus(Readiness.CHECK_MISSING, attempt.ended_at, message)
    if not facts.attempts_known:
        message = "is complete, but Dagster can't be asked whether a newer run was to replace it"
        return ReadinessStatus(Readiness.UNKNOWN, None, message)
    return ReadinessStatus(Readiness.READY, facts.proven_at, "is ready")


def _joined(findings: Iterable[CheckFinding]) -> str:
    return "; ".join(str(finding).rstrip(".") for finding in findings)
