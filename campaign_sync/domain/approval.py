"""When a replacement needs the approval of a plan, and which approvals hold for it.

An approval holds for one state of a list: it is void as soon as the list is proven again, or set up otherwise. So it
holds once, without being marked as used, and still after a replacement that failed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from campaign_sync.domain.approval_mode import ApprovalMode
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.size_limits import is_about

CHECK_NAME = "approval"
"""The name of the check, in the preflight."""


@dataclass(frozen=True)
class ListMoment:
    """What a list was at one moment, as far as an approval depends on it."""

    recipient_list_id: int
    settings_digest: str
    """Of the settings that decide what is in the list."""
    proof_id: str | None
    """The replacement that it was last proven by; None if it never was."""


@dataclass(frozen=True)
class Approval:
    """A person's approval of a plan."""

    plan_id: str
    approved_by: str
    """Who, and how that is known: `proxy: …`, `typed: …` or `shell: …`."""
    approved_at: datetime
    reason: str


@dataclass(frozen=True)
class ApprovedPlan:
    """A plan that a person has approved."""

    plan_id: str
    moment: ListMoment
    in_list: int
    """How many recipients the list held."""
    sent: Mapping[str, int]
    """How many rows were to be sent, by entity type."""
    frozen: Mapping[str, int]
    """How many its snapshot has; those whom the preflight drops are among them."""
    snapshot_id: str
    approved_by: str
    reason: str
    approved_at: datetime

    def __str__(self) -> str:
        return f"{self.approved_by}: {self.reason}"

    def covers(self, in_list: int) -> bool:
        """Return whether a list that was never proven holds no more than it did for the plan."""
        return in_list <= self.in_list or is_about(in_list, self.in_list)


def valid_approvals(approved: Collection[ApprovedPlan], moment: ListMoment) -> list[ApprovedPlan]:
    """Return the approvals of plans that were made for the list as it is now, newest first."""
    valid = (plan for plan in approved if plan.moment == moment)
    return sorted(valid, key=lambda plan: plan.approved_at, reverse=True)


def check_approval(
    mode: ApprovalMode,
    moment: ListMoment,
    in_list: int,
    snapshot_id: str | None,
    approved: Collection[ApprovedPlan],
    accepted: str | None,
    how: str,
) -> tuple[CheckOutcome, ApprovedPlan | None]:
    """Check that a replacement that needs the approval of a plan has it. Return the approval that it relies on as well.

    Args:
        mode: of the list.
        moment: what the list is now.
        in_list: how many recipients it holds, or held before it was touched by a replacement that failed.
        snapshot_id: the snapshot that is about to be sent; None for one that isn't stored.
        approved: all approvals for the list.
        accepted: who accepted for this very run what `first` asks for, and why; None if it wasn't accepted.
        how: how an approval is given, for the message.
    """
    if mode == "never":
        return CheckOutcome(CHECK_NAME, True, Message("approval is never, so none is needed")), None
    valid = valid_approvals(approved, moment)
    if mode == "always":
        sent = [plan for plan in valid if plan.snapshot_id == snapshot_id]
        reason = Message("every replacement of this list needs an approved plan, and these rows aren't those of one")
    elif moment.proof_id is not None:
        return CheckOutcome(CHECK_NAME, True, Message("none is needed, since the list was proven before")), None
    elif not in_list:
        return CheckOutcome(CHECK_NAME, True, Message("none is needed, since the list is empty")), None
    elif accepted:
        return CheckOutcome(CHECK_NAME, True, Message("accepted with its size by {person}", person=accepted)), None
    else:
        sent = [plan for plan in valid if plan.covers(in_list)]
        reason = Message(
            "others have filled this list with {recipients:,} recipients, who would be replaced for the first time",
            recipients=in_list,
        )
    if not sent:
        return CheckOutcome(CHECK_NAME, False, join_messages("; ", [reason, *_void(approved, moment), how])), None
    return CheckOutcome(CHECK_NAME, True, Message("approved by {person}", person=str(sent[0]))), sent[0]


def with_other_remedy(outcome: CheckOutcome, how: str | None) -> CheckOutcome:
    """Return an outcome of `check_approval` that says in another way how an approval is given, or not at all."""
    if outcome.name != CHECK_NAME or outcome.passed or not isinstance(outcome.summary, Message):
        return outcome
    *reasons, _ = outcome.summary.values.values()
    texts = [reason for reason in reasons if isinstance(reason, str)]
    return replace(outcome, summary=join_messages("; ", [*texts, *([how] if how else [])]))


def _void(approved: Collection[ApprovedPlan], moment: ListMoment) -> Iterator[Message]:
    """Yield why the newest approval since the last proof doesn't hold any more, if it doesn't."""
    newest = max(approved, key=lambda plan: plan.approved_at, default=None)
    if newest and newest.moment != moment and newest.moment.proof_id == moment.proof_id:
        yield Message(
            "the approval by {person} is void, since the list, its settings or the CRM are others by now",
            person=newest.approved_by,
        )
