"""The checks of a snapshot before its list is changed, and what they compare it with."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.checks import CheckContext, CheckOutcome, check_consents, check_snapshot
from campaign_sync.domain.feedback_age import Freshness, import_remedy
from campaign_sync.domain.message import Message, day_text, join_messages
from campaign_sync.domain.size_limits import ApprovedSize, SizeBaseline, median_baseline
from campaign_sync.domain.suppression import Suppressed, SuppressionKind
from campaign_sync.domain.vanished_withdrawals import UndatedRegrants, check_withdrawals
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.freshness import judge_age
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.errors import ReplacementRefusedError, not_touched
from campaign_sync.replacement.list_approval import ListRecord, read_list_record
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.mailing_interlock import NAME as MAILINGS
from campaign_sync.storage.feedback_imports import FeedbackImports
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

FEEDBACK = "feedback"
"""The name of the check that feedback has reached the CRM lately."""

HISTORY = 14
"""How many proven replacements the median size is taken of."""


def check_context(
    settings: ListSettings,
    vendor: Optimizely,
    crm: CrmSnapshot,
    state: State,
    *run_ids: str | None,
    suppressed: Suppressed | None = None,
    before_preflight: bool = False,
    record: ListRecord | None = None,
) -> CheckContext:
    """Look up what the checks of a list compare its rows with: the CRM, the vendor's list and the list's history.

    Args:
        settings: the list.
        vendor: the mandator's API session.
        crm: the CRM at this moment.
        state: the state database.
        run_ids: the runs whose permission to replace the list by an implausible size would hold.
        suppressed: who may not be written to, where that has been looked up already.
        before_preflight: whether the rows may still hold people whom the preflight drops.
        record: what is on record of the list; read from `state` if it is left out.
    """
    record = record or read_list_record(settings, state)
    opt_in_id = settings.schema.opt_in_id
    if suppressed is None:
        known = current_suppression(crm, state, settings.mandator)
        suppressed = Suppressed.of(known, opt_in_id, state.erasures.erased())
    accepted = state.recipient_lists.accepted_size(settings.mandator, settings.name, *run_ids)
    sent_before, list_baseline = size_baselines(
        settings, vendor, state, record.proven, before_preflight=before_preflight
    )
    return CheckContext(
        suppressed=suppressed,
        consents=crm.consent_rows(opt_in_id),
        vendor_attributes=vendor.recipient_lists.attribute_names(settings.recipient_list_id),
        baselines=sent_before,
        list_baseline=list_baseline,
        size_accepted=str(accepted) if accepted else None,
        approved_sizes=[
            ApprovedSize(plan.frozen if before_preflight else plan.sent, plan.plan_id, str(plan))
            for plan in record.valid_approvals
            if plan.moment.proof_id is not None or plan.covers(sent_before[0].rows if sent_before else 0)
        ],
    )


def size_baselines(
    settings: ListSettings,
    vendor: Optimizely,
    state: State,
    proven: Replacement | None,
    *,
    before_preflight: bool = False,
) -> tuple[tuple[SizeBaseline, ...], SizeBaseline | None]:
    """Return the sizes that what is to be sent is measured against, and the size for what ends in the list.

    The last proven replacement where there is one, and for what is sent the median of the last ones. Before that both
    are what the list held before our first replacement: one that failed half-way leaves a meaningless number. Nothing
    for an empty list that we never touched. With `before_preflight`, those whom the preflight dropped count as well:
    people on the vendor's unsubscribe list who keep this consent are in every snapshot, and dropped every day.

    All of it is of this list at the vendor: after a change of `recipient_list_id`, what another list held says nothing
    of what is cleared now.
    """
    list_id = settings.recipient_list_id
    if proven is not None and proven.in_list is not None:
        origin = Message("proven on {day}", day=day_text(proven.started_at))
        held = SizeBaseline(proven.in_list, origin)
        history = state.replacements.proven_sizes(settings.mandator, settings.name, HISTORY, list_id)
        last = SizeBaseline(sum(history[0].values()), origin, history[0]) if proven.entity_types else held
        if before_preflight and proven.dropped:
            return (SizeBaseline(last.rows + proven.dropped, origin),), held
        return tuple(filter(None, [last, median_baseline(history)])), held
    first = state.replacements.first(settings.mandator, settings.name, list_id)
    rows = first.baseline_rows if first else vendor.recipients.count(list_id)
    if not rows:
        return (), None
    baseline = SizeBaseline(rows, Message("before our first replace") if first else Message("in the list now"))
    return (baseline,), baseline


def check_before_replacement(
    settings: ListSettings,
    frozen_at: datetime,
    rows: pd.DataFrame,
    context: CheckContext,
    imports: FeedbackImports,
    now: datetime,
    vendor_now: datetime,
    *,
    replaying: bool = False,
) -> list[CheckOutcome]:
    """Make every check of the snapshot again, then check the age of snapshot and feedback, each by the clock it has.

    A snapshot that is replayed on demand may be of any age.
    """
    return [
        *check_snapshot(rows, settings.schema, context),
        check_consents(context.consents),
        _check_snapshot_age(settings, frozen_at, now, replaying),
        _check_feedback(settings, imports, vendor_now),
    ]


def check_vanished_withdrawals(
    settings: ListSettings, suppressed: pd.DataFrame, known: int, state: State
) -> CheckOutcome:
    """Check that few enough withdrawals of the list's opt-in have vanished from the CRM.

    Args:
        settings: the list.
        suppressed: columns `SUPPRESSION_COLUMNS`, with everybody whom the CRM shows as granted instead.
        known: how many withdrawals are remembered.
        state: the state database; the last read of the opt-in's states counts, whichever run it was of.
    """
    opt_in_id = settings.schema.opt_in_id
    kinds = suppressed.loc[suppressed["opt_in_id"] == opt_in_id, "kind"]
    vanished, regranted = (
        int((kinds == kind).sum()) for kind in (SuppressionKind.REMEMBERED, SuppressionKind.REGRANTED)
    )
    read = state.consent_observations.last_read(opt_in_id)
    regrants = UndatedRegrants(regranted, read.at_once, read.states) if read else UndatedRegrants(regranted)
    accept = f"campaign-sync run {settings.mandator} --list {settings.name} --accept-withdrawals REASON"
    return check_withdrawals(opt_in_id, vanished, known, accept, regrants)


def require_passed(settings: ListSettings, outcomes: Sequence[CheckOutcome]) -> None:
    """Raise ReplacementRefusedError if an outcome stops the replacement."""
    if any(outcome.stops for outcome in outcomes):
        raise refusal(settings, outcomes)


def refusal(settings: ListSettings, outcomes: Sequence[CheckOutcome]) -> ReplacementRefusedError:
    """Return the error of a replacement that some of these outcomes stop; the message names all that do."""
    stopping = [outcome for outcome in outcomes if outcome.stops]
    reasons = join_messages(" · ", [join_messages(": ", [outcome.name, outcome.summary]) for outcome in stopping])
    retryable = all(outcome.name == MAILINGS for outcome in stopping)
    return ReplacementRefusedError(not_touched(settings.reference, reasons), outcomes, retryable=retryable)


def _check_snapshot_age(settings: ListSettings, frozen_at: datetime, now: datetime, replaying: bool) -> CheckOutcome:
    age, most = now - frozen_at, settings.recipient_list.max_snapshot_age
    hours = age.total_seconds() / 3600
    if replaying:
        summary = Message("a snapshot {hours:.1f} h old, replayed on demand", hours=hours)
        return CheckOutcome("snapshot_age", True, summary)
    if age <= most:
        return CheckOutcome("snapshot_age", True, Message("the snapshot is {hours:.1f} h old", hours=hours))
    summary = Message(
        "the snapshot is {hours:.1f} h old, more than max_snapshot_age {limit:.1f} h; materialize selection and "
        "snapshot again",
        hours=hours,
        limit=most.total_seconds() / 3600,
    )
    return CheckOutcome("snapshot_age", False, summary)


def _check_feedback(settings: ListSettings, imports: FeedbackImports, vendor_now: datetime) -> CheckOutcome:
    """Check that both kinds of feedback reached the CRM lately, and that nothing that was fetched still waits."""
    waiting = imports.uncommitted_count(settings.mandator)
    if waiting:
        summary = Message(
            "{count} fetched windows haven't reached the CRM; {remedy}",
            count=waiting,
            remedy=import_remedy(settings.mandator),
        )
        return CheckOutcome(FEEDBACK, False, summary)
    feedback, until = settings.mandator_settings.feedback, imports.committed_until(settings.mandator)
    verdict = judge_age(settings.mandator, tuple(feedback.readers), feedback.age_limits, until, vendor_now)
    warning = verdict.freshness is Freshness.WARNING
    return CheckOutcome(FEEDBACK, verdict.freshness is Freshness.FRESH, verdict.message, warning=warning)
