"""A stored plan that is applied: whether the list still is what it was when it was planned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.replacement.list_approval import ListRecord, planning_command
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.replacements import Replacement, StoredSnapshot
from campaign_sync.storage.state import State

PLAN = "plan"
"""The name of the check that the list is what it was when the plan was made that is applied."""


@dataclass(frozen=True)
class AppliedPlan:
    """A plan that is applied, with its snapshot."""

    plan: StoredPlan
    snapshot: StoredSnapshot

    def has_begun(self, unfinished: Replacement | None) -> bool:
        """Return whether it is this plan that left the list incomplete, so that applying it goes on."""
        return unfinished is not None and unfinished.snapshot_id == self.snapshot.id


def find_plan(state: State, plan_id: str) -> AppliedPlan | None:
    """Return the stored plan of that id; None where there is none."""
    plan = state.list_plans.get(plan_id)
    snapshot = state.snapshots.get(plan.snapshot_id) if plan else None
    return AppliedPlan(plan, snapshot) if plan and snapshot else None


def plan_of(state: State, replacement: Replacement) -> AppliedPlan | None:
    """Return the plan that a replacement applied; None for all other replacements."""
    snapshot = None if replacement.replayed else state.snapshots.get(replacement.snapshot_id)
    return find_plan(state, snapshot.plan_id) if snapshot and snapshot.plan_id else None


def check_recorded_changes(
    settings: ListSettings,
    applied: AppliedPlan,
    unfinished: Replacement | None,
    record: ListRecord,
    state: State,
    now: datetime,
) -> CheckOutcome:
    """Check that a plan isn't too old, and that nothing on record says that its list has changed since.

    Args:
        settings: the list.
        applied: the plan.
        unfinished: the replacement that left the list incomplete, if it is.
        record: what is on record of the list.
        state: the state database.
        now: the current time.
    """
    changes = list(_recorded_changes(settings, applied.plan, record, state))
    if unfinished and not applied.has_begun(unfinished) and unfinished.started_at > applied.plan.planned_at:
        since = moment(unfinished.cleared_at or unfinished.started_at, UTC)
        changes.append(Message("a later replacement has left the list incomplete since {moment}", moment=since))
    age, most = now - applied.plan.planned_at, settings.recipient_list.max_snapshot_age
    if age > most:
        changes.append(
            Message(
                "it is {hours:.1f} h old, more than max_snapshot_age {limit:.1f} h",
                hours=age.total_seconds() / 3600,
                limit=most.total_seconds() / 3600,
            )
        )
    return _outcome(applied, changes, has_begun=applied.has_begun(unfinished))


def check_contents(applied: AppliedPlan, in_list: int, *, is_unchanged: bool | None) -> CheckOutcome:
    """Check that the list at the vendor holds what it held when a plan was made.

    Args:
        applied: the plan.
        in_list: how many recipients the list holds.
        is_unchanged: whether it holds the same rows; None if that can't be said, as the key of digests is another one.
    """
    plan, changes = applied.plan, []
    if in_list != plan.in_list:
        changes = [
            Message("the list holds {now:,} recipients instead of {planned:,}", now=in_list, planned=plan.in_list)
        ]
    elif is_unchanged is None:
        changes = [
            Message("erasure.key was changed since it was made, so it can't be compared with what the list holds")
        ]
    elif not is_unchanged:
        changes = [Message("others than we have changed what the list holds")]
    return _outcome(applied, changes)


def _outcome(applied: AppliedPlan, changes: Sequence[str], *, has_begun: bool = False) -> CheckOutcome:
    plan = applied.plan.id
    if changes:
        summary = Message(
            "plan {plan} can't be applied any more: {changes}; make a new one with `{command}`",
            plan=plan,
            changes=join_messages(", ", changes),
            command=planning_command(applied.plan.mandator, applied.plan.list),
        )
        return CheckOutcome(PLAN, False, summary)
    if has_begun:
        return CheckOutcome(PLAN, True, Message("plan {plan} has begun to replace the list, and goes on", plan=plan))
    return CheckOutcome(PLAN, True, Message("the list is what it was when plan {plan} was made", plan=plan))


def _recorded_changes(settings: ListSettings, plan: StoredPlan, record: ListRecord, state: State) -> Iterator[Message]:
    """Yield what has changed since a plan was made, as far as the configuration and the journal say so."""
    if settings.recipient_list_id != plan.recipient_list_id:
        yield Message(
            "the configuration names recipient list {now} instead of {planned}",
            now=settings.recipient_list_id,
            planned=plan.recipient_list_id,
        )
        return
    if settings.digest != plan.settings_digest:
        yield Message("the settings of the list, or of the CRM, were changed")
    proven = record.proven
    if proven is None:
        if plan.proof_id is not None:
            yield Message("the proof that it was compared with isn't on record any more")
    elif proven.snapshot_id == plan.snapshot_id:
        yield Message("it was applied already, and the list proven, on {moment}", moment=_proven_at(proven))
    elif proven.id != plan.proof_id:
        yield Message("the list was replaced and proven, on {moment}", moment=_proven_at(proven))
    elif plan.contents_digest is None:
        drifted_since = state.list_drifts.of(plan.mandator, plan.list, proven.id).drifted_since
        if drifted_since:
            since = moment(drifted_since, UTC)
            yield Message("the list isn't any more what was proven, since {moment}", moment=since)


def _proven_at(proven: Replacement) -> Message:
    return moment(proven.finished_at or proven.started_at, UTC)
