"""Approvals of plans: what they depend on, whether a replacement has the one that it needs, and giving one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from campaign_sync.domain.approval import (
    CHECK_NAME,
    ApprovedPlan,
    ListMoment,
    check_approval,
    valid_approvals,
    with_other_remedy,
)
from campaign_sync.domain.approval_mode import ApprovalMode
from campaign_sync.domain.checks import SIZE, CheckOutcome
from campaign_sync.domain.message import Message
from campaign_sync.domain.moment import moment
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
    now = ListMoment(list_id, settings.digest, proven.id if proven else None)
    return ListRecord(now, proven, tuple(state.list_plans.approved(mandator, name)) if state else ())


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

    A snapshot that is replayed was in the list before, so nothing has to be approved each time. Nor for a list that is
    incomplete: it can't wait for a person.

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
    in_list, is_incomplete = 0, bool(state.replacements.incomplete(mandator, name, list_id))
    if mode == "always" and replaying:
        mode = "first"
    if mode == "first" and record.proven is None:
        first = state.replacements.first(mandator, name, list_id) if is_incomplete else None
        # What an incomplete list holds is ours, in part.
        in_list = (first.baseline_rows or 0) if first else vendor.recipients.count(list_id)
    how = how_to_approve(settings)
    outcome, plan = check_approval(mode, record.moment, in_list, snapshot_id, record.approved, accepted, how)
    if mode == "always" and not outcome.passed and is_incomplete:
        summary = Message("none is needed, since the list is incomplete, and can't wait for a person")
        return CheckOutcome(CHECK_NAME, True, summary), None
    return outcome, plan


def awaited_plan(settings: ListSettings, state: State) -> StoredPlan | None:
    """Return the newest plan of a list, if the list waits for its approval as far as that is on record."""
    plan, record = state.list_plans.newest(settings.mandator, settings.name), read_list_record(settings, state)
    mode: ApprovalMode = settings.recipient_list.approval
    is_needed = mode == "always" or (
        mode == "first" and record.proven is None and plan is not None and plan.in_list > 0
    )
    waits = is_needed and plan is not None and plan.moment == record.moment and not record.valid_approvals
    return plan if waits else None


def how_to_approve(settings: ListSettings) -> Message:
    """Return what leads to an approval of the list."""
    return Message(
        "see what would change, and approve it: {command} or materialize {name}_plan in Dagster's UI; both name what "
        "approves the plan",
        command=f"`{planning_command(settings.mandator, settings.name)}`",
        name=settings.name,
    )


def waits_for_approval(outcomes: Sequence[CheckOutcome]) -> bool:
    """Return whether nothing stops a replacement but that a plan has to be approved; its size is approved with it."""
    stopping = {outcome.name for outcome in outcomes if outcome.stops}
    return CHECK_NAME in stopping and stopping <= {CHECK_NAME, SIZE}


def name_plan(outcomes: Sequence[CheckOutcome], settings: ListSettings, plan_id: str, job: str) -> list[CheckOutcome]:
    """Return the outcomes of a replacement that waits for an approval with the plan to approve, and the job for it."""
    how = Message(
        "read plan {plan} on the page of {name}_plan in Dagster's UI; if it is right, launch the job {job} with it and "
        "a reason, or run {command}",
        plan=plan_id,
        name=settings.name,
        job=job,
        command=f"`{approving_command(settings, plan_id)}`",
    )
    return [with_other_remedy(outcome, how) for outcome in outcomes]


def what_follows(settings: ListSettings, plan_id: str) -> str:
    """Return what follows the approval of a plan of the list."""
    if settings.recipient_list.approval == "always":
        command = f"`campaign-sync apply {plan_id}`"
        if not settings.mandator_settings.automation.repair:
            return Message(
                "It isn't applied by itself, since automation.repair is off: run {command}.", command=command
            )
        return Message("Dagster's daemon applies the plan within minutes; without one, run {command}.", command=command)
    return Message("The next run of the list may do what the plan shows.")


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
        raise ApprovalError(
            Message("A reason is missing; say why {list} may become what the plan shows.", list=settings.reference)
        )
    if not plan_id.strip():
        raise ApprovalError(
            Message("The id of the plan of {list} is missing; copy it from the plan.", list=settings.reference)
        )
    plan = state.list_plans.get(plan_id.strip())
    again = Message(
        "make a new plan: {command} or materialize {name}_plan in Dagster's UI",
        command=f"`{planning_command(settings.mandator, settings.name)}`",
        name=settings.name,
    )
    if plan is None:
        raise ApprovalError(
            Message(
                "There is no plan {plan}; copy the id from the plan, or {again}.", plan=plan_id.strip(), again=again
            )
        )
    if (plan.mandator, plan.list) != (settings.mandator, settings.name):
        raise ApprovalError(
            Message(
                "Plan {plan} is one of {other}, not of {list}; approve it there, or copy the id of the plan that you "
                "mean.",
                plan=plan.id,
                other=f"{plan.mandator}/{plan.list}",
                list=f"{settings.mandator}/{settings.name}",
            )
        )
    if changed := _changed(plan, read_list_record(settings, state).moment):
        raise ApprovalError(
            Message(
                "Plan {plan} holds no more: {changed} since it was made; {again}.",
                plan=plan.id,
                changed=changed,
                again=again,
            )
        )
    most = settings.recipient_list.max_snapshot_age
    if now - plan.planned_at > most:
        raise ApprovalError(
            Message(
                "Plan {plan} is of {moment}, older than max_snapshot_age {most}; {again}.",
                plan=plan.id,
                moment=moment(plan.planned_at, UTC),
                most=str(most),
                again=again,
            )
        )
    if holder := state.locks.holder(settings.recipient_list_id):
        raise ApprovalError(
            Message(
                "Run {run} is replacing {list} now; wait until that is through, then {again}.",
                run=holder,
                list=settings.reference,
                again=again,
            )
        )
    return state.list_plans.approve(plan, approved_by, reason.strip(), now)


def _changed(plan: StoredPlan, now: ListMoment) -> str | None:
    if plan.recipient_list_id != now.recipient_list_id:
        return Message(
            "recipient_list_id was changed from {before} to {now}",
            before=plan.recipient_list_id,
            now=now.recipient_list_id,
        )
    if plan.settings_digest != now.settings_digest:
        return Message("the settings of the list, or of the CRM, were changed")
    return Message("the list was proven again") if plan.proof_id != now.proof_id else None
