"""What must hold before a list is cleared. The gate fails closed: whatever can't be established refuses the replace."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.checks import CheckContext, CheckOutcome, check_consents, check_snapshot
from campaign_sync.domain.feedback_age import Alertness
from campaign_sync.domain.size_limits import SizeBaseline, median_baseline
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.withdrawal import check_withdrawals
from campaign_sync.feedback.current_suppression import suppression
from campaign_sync.feedback.freshness import judge_age
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.errors import ReplacementRefusedError
from campaign_sync.replacement.mailing_interlock import NAME as MAILINGS
from campaign_sync.replacement.target import Target
from campaign_sync.storage.feedback_imports import FeedbackImports
from campaign_sync.storage.replacements import StoredSnapshot
from campaign_sync.storage.state import State

HISTORY = 14
"""How many proven replaces the median size is taken of."""


def check_context(
    target: Target,
    vendor: Optimizely,
    crm: CrmSnapshot,
    state: State,
    *run_ids: str | None,
    suppressed: Suppressed | None = None,
    before_gate: bool = False,
) -> CheckContext:
    """Look up what the checks of a list compare its rows with: the CRM, the vendor's list and the list's history.

    `run_ids` are the runs whose permission to replace it by an implausible size would hold; `suppressed` is who may not
    be written to, where that has been looked up already. `before_gate`: whether the rows may still hold people whom the
    gate drops.
    """
    if suppressed is None:
        suppressed = Suppressed.of(suppression(crm, state, target.mandator), target.contract.opt_in_id)
    accepted = state.recipient_lists.accepted_size(target.mandator, target.name, *run_ids)
    sent_before, held_before = size_baselines(target, vendor, state, before_gate=before_gate)
    return CheckContext(
        suppressed=suppressed,
        consents=crm.consent_rows(target.contract.opt_in_id),
        vendor_attributes=vendor.recipient_lists.attribute_names(target.recipient_list_id),
        baselines=sent_before,
        held_before=held_before,
        size_accepted=str(accepted) if accepted else None,
    )


def size_baselines(
    target: Target, vendor: Optimizely, state: State, *, before_gate: bool = False
) -> tuple[tuple[SizeBaseline, ...], SizeBaseline | None]:
    """What is to be sent is measured against what was sent, and what ends in the list against what was in it.

    The last proven replace where there is one, and for what is sent the median of the last ones. Before that both are
    what the list held when we first came, for a first replace that failed half-way leaves a number that means nothing.
    Nothing for an empty list that we never touched. `before_gate`, whom the gate dropped then counts as well: people on
    the vendor's unsubscribe list who keep this consent are in every snapshot, and are dropped every day.
    """
    proven = state.replacements.last_proven(target.mandator, target.name)
    if proven is not None and proven.in_list is not None:
        origin = f"proven on {proven.started_at:%Y-%m-%d}"
        held = SizeBaseline(proven.in_list, origin)
        history = state.replacements.proven_sizes(target.mandator, target.name, HISTORY)
        last = SizeBaseline(sum(history[0].values()), origin, history[0]) if proven.entity_types else held
        if before_gate and proven.dropped:
            return (SizeBaseline(last.rows + proven.dropped, origin),), held
        return tuple(filter(None, [last, median_baseline(history)])), held
    first = state.replacements.first(target.mandator, target.name)
    rows = first.baseline_rows if first else vendor.recipients.count(target.recipient_list_id)
    if not rows:
        return (), None
    found = SizeBaseline(rows, "before our first replace" if first else "in the list now")
    return (found,), found


def examine(
    target: Target,
    stored: StoredSnapshot,
    rows: pd.DataFrame,
    around: CheckContext,
    feedback: FeedbackImports,
    now: datetime,
    vendor_now: datetime,
    *,
    replaying: bool = False,
) -> list[CheckOutcome]:
    """Every check of the snapshot once more, then the age of what it stands on, each by the clock that dated it.

    A snapshot that somebody asks to be replayed may be of any age.
    """
    return [
        *check_snapshot(rows, target.contract, around),
        check_consents(around.consents),
        _snapshot_age(target, stored, now, replaying),
        _feedback(target, feedback, vendor_now),
    ]


def vanished_withdrawals(target: Target, people: int, known: int) -> CheckOutcome:
    """Whether few enough withdrawals of the list's opt-in have vanished from the CRM.

    Args:
        target: the list.
        people: whom the CRM shows as granted instead.
        known: how many withdrawals are remembered.
    """
    accept = f"campaign-sync run {target.mandator} --list {target.name} --accept-withdrawals REASON"
    return check_withdrawals(target.contract.opt_in_id, people, known, accept)


def admit(target: Target, outcomes: Sequence[CheckOutcome]) -> None:
    """Let the replace pass.

    Raises:
        ReplacementRefusedError: an outcome stops it; all of them are named.
    """
    stopping = [outcome for outcome in outcomes if outcome.stops]
    if stopping:
        reasons = " · ".join(f"{outcome.name}: {outcome.summary}" for outcome in stopping)
        passing = all(outcome.name == MAILINGS for outcome in stopping)
        raise ReplacementRefusedError(f"{target} was not touched. {reasons}", outcomes, retryable=passing)


def _snapshot_age(target: Target, stored: StoredSnapshot, now: datetime, replaying: bool) -> CheckOutcome:
    age = now - stored.created_at
    if replaying:
        return CheckOutcome("snapshot_age", True, f"a snapshot {_hours(age.total_seconds())} old, replayed on demand")
    if age <= target.max_snapshot_age:
        return CheckOutcome("snapshot_age", True, f"the snapshot is {_hours(age.total_seconds())} old")
    return CheckOutcome(
        "snapshot_age",
        False,
        f"the snapshot is {_hours(age.total_seconds())} old, more than max_snapshot_age "
        f"{_hours(target.max_snapshot_age.total_seconds())}; materialize selection and snapshot again",
    )


def _feedback(target: Target, feedback: FeedbackImports, vendor_now: datetime) -> CheckOutcome:
    """Both kinds of feedback have reached the CRM, lately, and nothing that was fetched still waits."""
    remedy = f"materialize {target.mandator}'s bounces, unsubscribes and suppression_state"
    waiting = feedback.uncommitted_count(target.mandator)
    if waiting:
        return CheckOutcome("feedback", False, f"{waiting} fetched windows haven't reached the CRM; {remedy}")
    verdict = judge_age(target.mandator, target.readers, target.feedback_age, feedback, vendor_now)
    warning = verdict.alertness is Alertness.WARNING
    return CheckOutcome("feedback", verdict.alertness is Alertness.FRESH, verdict.told, warning=warning)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"
