"""Approvals of plans: what they depend on, whether a replacement has the one that it needs, and giving one."""

from dataclasses import dataclass
from datetime import datetime

from campaign_sync.domain.approval import ApprovedPlan, ListMoment, check_approval, valid_approvals
from campaign_sync.domain.approval_mode import ApprovalMode
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.errors import ApprovalError
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class ListRecord:
    """What is on record of a list, as far as approvals depend on it."""

    moment: ListMoment
    proven: Replacement | None
    """The replacement that it was last proven by."""
    approved: tuple[ApprovedPlan, ...]
    """All approved plans of it; those that don't hold any more are among them."""

    @property
    def valid_approvals(self) -> list[ApprovedPlan]:
        """The approvals that hold for the list as it is now, newest first."""
        return valid_approvals(self.approved, self.moment)


def read_list_record(settings: ListSettings, state: State | None) -> ListRecord:
    """Return what is on record of the list; nothing where no state database is given."""
    mandator, name, list_id = settings.mandator, settings.name, settings.recipient_list_id
    proven = state.replacements.last_proven(mandator, name, list_id) if state else None
    moment = ListMoment(list_id, settings.digest, proven.id if proven else None)
    return ListRecord(moment, proven, tuple(state.list_plans.approved(mandator, name)) if state else ())


def check_list_approval(
    settings: ListSettings,
    vendor: Optimizely,
    state: State,
    record: ListRecord,
    snapshot_id: str | None,
    *,
    accepted: str | None,
    replaying: bool,
) -> tuple[CheckOutcome, ApprovedPlan | None]:
    """Check that a replacement has the approval that it needs. Return that approval, too.

    A snapshot that is replayed was in the list before, so nothing has to be approved each time.

    Args:
        settings: the list.
        vendor: the mandator's API session.
        state: the state database.
        record: what it has of the list.
        snapshot_id: the snapshot that is about to be sent; None for one that isn't stored.
        accepted: who accepted the leap of its size for this run, and why; None if it doesn't leap or wasn't accepted.
        replaying: whether an earlier snapshot is sent again.

    Raises:
        OptimizelyError, StateError: something can't be reached.
    """
    mandator, name, list_id = settings.mandator, settings.name, settings.recipient_list_id
    mode: ApprovalMode = settings.recipient_list.approval
    if replaying and mode == "always":
        mode = "first"
    in_list = 0
    if mode == "first" and record.proven is None:
        first = state.replacements.first(mandator, name, list_id)
        if first and state.replacements.incomplete(mandator, name, list_id):  # what it holds is ours, in part
            in_list = first.baseline_rows or 0
        else:
            in_list = vendor.recipients.count(list_id)
    how = how_to_approve(settings)
    return check_approval(mode, record.moment, in_list, snapshot_id, record.approved, accepted, how)


def how_to_approve(settings: ListSettings) -> Message:
    """Return what leads to an approval of the list."""
    return Message(
        "see what would change, and approve it: {command} or materialize {name}_plan in Dagster's UI; both name what "
        "approves the plan",
        command=f"`{planning_command(settings.mandator, settings.name)}`",
        name=settings.name,
    )


def planning_command(mandator: str, name: str) -> str:
    """Return the command that stores a plan of a list."""
    return f"campaign-sync plan {mandator} --list {name} --save"


def approving_command(settings: ListSettings, plan_id: str) -> str:
    """Return the command that approves a plan of the list."""
    return f"campaign-sync approve {settings.mandator} {settings.name} {plan_id} --reason REASON"


def approve_plan(
    state: State, settings: ListSettings, plan_id: str, approved_by: str, reason: str, now: datetime
) -> ApprovedPlan:
    """Approve a plan of the list, and return its approval: an earlier one where it was approved before.

    Raises:
        ApprovalError: it can't be approved, or nothing would come of it.
        StateError: the state database can't be used.
    """
    if not reason.strip():
        raise ApprovalError(f"A reason is missing; say why {settings} may become what the plan shows.")
    if not plan_id.strip():
        raise ApprovalError(f"The id of the plan of {settings} is missing; copy it from the plan.")
    plan = state.list_plans.get(plan_id.strip())
    again = f"make a new plan: `{planning_command(settings.mandator, settings.name)}`"
    if plan is None:
        raise ApprovalError(f"There is no plan {plan_id.strip()}; copy the id from the plan, or {again}.")
    if (plan.mandator, plan.list) != (settings.mandator, settings.name):
        raise ApprovalError(
            f"Plan {plan.id} is one of {plan.mandator}/{plan.list}, not of {settings.mandator}/{settings.name}; "
            "approve it there, or copy the id of the plan that you mean."
        )
    if changed := _changed(plan, read_list_record(settings, state).moment):
        raise ApprovalError(f"Plan {plan.id} holds no more: {changed} since it was made; {again}.")
    most = settings.recipient_list.max_snapshot_age
    if now - plan.planned_at > most:
        raise ApprovalError(
            f"Plan {plan.id} is of {plan.planned_at:%Y-%m-%d %H:%M} UTC, older than max_snapshot_age {most}; {again}."
        )
    if holder := state.locks.holder(settings.recipient_list_id):
        raise ApprovalError(f"Run {holder} is replacing {settings} now; wait until that is through, then {again}.")
    return state.list_plans.approve(plan, approved_by, reason.strip(), now)


def _changed(plan: StoredPlan, moment: ListMoment) -> str | None:
    if plan.recipient_list_id != moment.recipient_list_id:
        return f"recipient_list_id was changed from {plan.recipient_list_id} to {moment.recipient_list_id}"
    if plan.settings_digest != moment.settings_digest:
        return "the settings of the list, or of the CRM, were changed"
    return "the list was proven again" if plan.proof_id != moment.proof_id else None
