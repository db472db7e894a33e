"""What must hold before a list is cleared. The gate fails closed: whatever can't be established refuses the replace."""

from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.checks import CheckOutcome, Surroundings, check_snapshot
from campaign_sync.domain.feedback import FeedbackKind
from campaign_sync.domain.limits import SizeBaseline
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacing.suppression import suppression
from campaign_sync.replacing.target import Target
from campaign_sync.state.feedback import FeedbackJournal
from campaign_sync.state.journal import StoredSnapshot
from campaign_sync.state.store import State


class RefusedReplaceError(Exception):
    """The replace isn't admitted. Nothing was changed; the message says what is wrong and what helps."""


def surroundings(target: Target, vendor: Optimizely, crm: CrmSnapshot, state: State) -> Surroundings:
    """Look up what the checks of a list compare its rows with: the CRM, the vendor's list and the list's history."""
    known = suppression(crm, state.feedback, target.mandator)
    return Surroundings(
        suppressed=Suppressed.of(known, target.contract.opt_in_id),
        vendor_attributes=vendor.recipient_lists.attribute_names(target.recipient_list_id),
        baseline=size_baseline(target, vendor, state),
    )


def size_baseline(target: Target, vendor: Optimizely, state: State) -> SizeBaseline | None:
    """What the list's new size is measured against; None for an empty list that we never touched.

    The last proven replace where there is one. Before that what the list held when we first came, for a first replace
    that failed half-way leaves a number that means nothing.
    """
    proven = state.journal.last_proven(target.mandator, target.name)
    if proven is not None and proven.in_list is not None:
        return SizeBaseline(proven.in_list, f"proven on {proven.started_at:%Y-%m-%d}")
    first = state.journal.first(target.mandator, target.name)
    if first is not None:
        return SizeBaseline(first.baseline_rows, "before our first replace") if first.baseline_rows else None
    held = vendor.recipients.count(target.recipient_list_id)
    return SizeBaseline(held, "in the list now") if held else None


def examine(
    target: Target,
    stored: StoredSnapshot,
    rows: pd.DataFrame,
    around: Surroundings,
    feedback: FeedbackJournal,
    now: datetime,
    vendor_now: datetime,
) -> list[CheckOutcome]:
    """Every check of the snapshot once more, then the age of what it stands on, each by the clock that dated it."""
    return [
        *check_snapshot(rows, target.contract, around),
        _snapshot_age(target, stored, now),
        _feedback(target, feedback, vendor_now),
    ]


def admit(target: Target, outcomes: list[CheckOutcome]) -> None:
    """Let the replace pass.

    Raises:
        RefusedReplaceError: an outcome stops it; all of them are named.
    """
    reasons = [f"{outcome.name}: {outcome.summary}" for outcome in outcomes if outcome.stops]
    if reasons:
        raise RefusedReplaceError(f"{target} was not touched. " + " · ".join(reasons))


def _snapshot_age(target: Target, stored: StoredSnapshot, now: datetime) -> CheckOutcome:
    age = now - stored.created_at
    if age <= target.max_snapshot_age:
        return CheckOutcome("snapshot_age", True, f"the snapshot is {_hours(age.total_seconds())} old")
    return CheckOutcome(
        "snapshot_age",
        False,
        f"the snapshot is {_hours(age.total_seconds())} old, more than max_snapshot_age "
        f"{_hours(target.max_snapshot_age.total_seconds())}; materialize selection and snapshot again",
    )


def _feedback(target: Target, feedback: FeedbackJournal, vendor_now: datetime) -> CheckOutcome:
    """Both kinds of feedback have reached the CRM, lately, and nothing that was fetched still waits."""
    remedy = f"materialize {target.mandator}'s bounces, unsubscribes and suppression_state"
    waiting = feedback.uncommitted(target.mandator)
    if waiting:
        return CheckOutcome("feedback", False, f"{waiting} fetched windows haven't reached the CRM; {remedy}")
    until = feedback.committed_until(target.mandator)
    missing = [kind.value for kind in FeedbackKind if kind not in until]
    if missing:
        return CheckOutcome("feedback", False, f"{' and '.join(missing)} were never imported; {remedy}")
    age = vendor_now - min(until.values())
    limit = _hours(target.max_feedback_age.total_seconds())
    if age > target.max_feedback_age:
        summary = (
            f"the CRM's feedback is {_hours(age.total_seconds())} old, more than feedback.max_age {limit}; {remedy}"
        )
        return CheckOutcome("feedback", False, summary)
    return CheckOutcome("feedback", True, f"the CRM has the feedback up to {_hours(age.total_seconds())} ago")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"
