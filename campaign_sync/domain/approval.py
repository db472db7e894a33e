"""When a replacement needs the approval of a plan, and which approvals hold for it.

An approval holds for one state of a list: it is void as soon as the list is proven again, or set up otherwise. So it
holds once, without being marked as used, and still after a replacement that failed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Literal

from campaign_sync.domain.checks import CheckOutcome

CHECK_NAME = "approval"
"""The name of the check, in the preflight."""

ApprovalMode = Literal["first", "always", "never"]
"""Which replacements need an approval: those of a list that was never proven and that others have filled; all; none."""

TOLERATED_ROWS = 10
"""An approved size holds for as many rows more or less than planned."""

TOLERATED_SHARE = Fraction(1, 100)
"""It also holds for this share of the planned rows more or less."""


@dataclass(frozen=True)
class ListMoment:
    """What a list was at one moment, as far as an approval depends on it."""

    recipient_list_id: int
    settings_digest: str
    """Of the settings that decide what is in the list."""
    proof_id: str | None
    """The replacement that it was last proven by; None if it never was."""


@dataclass(frozen=True)
class ApprovedPlan:
    """A plan that a person has approved."""

    plan_id: str
    moment: ListMoment
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


@dataclass(frozen=True)
class ApprovedSize:
    """A size that a person has approved, by entity type."""

    by_entity_type: Mapping[str, int]
    plan_id: str
    approved: str
    """By whom, and why."""

    @property
    def rows(self) -> int:
        """The approved number of rows."""
        return sum(self.by_entity_type.values())

    def allows(self, by_entity_type: Mapping[str, int]) -> bool:
        """Return whether these numbers of rows are about those that were approved, in total and of each type."""
        counts = [(sum(by_entity_type.values()), self.rows)]
        types = by_entity_type.keys() | self.by_entity_type.keys()
        counts += [(by_entity_type.get(name, 0), self.by_entity_type.get(name, 0)) for name in types]
        return all(
            abs(rows - approved) <= TOLERATED_ROWS or abs(rows - approved) <= TOLERATED_SHARE * approved
            for rows, approved in counts
        )


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
    how: str,
) -> CheckOutcome:
    """Check that a replacement that needs the approval of a plan has it.

    Args:
        mode: of the list.
        moment: what the list is now.
        in_list: how many recipients it holds.
        snapshot_id: the snapshot that is about to be sent; None for one that isn't stored.
        approved: all approvals for the list.
        how: how an approval is given, for the message.
    """
    valid = valid_approvals(approved, moment)
    if mode == "never":
        return CheckOutcome(CHECK_NAME, True, "approval is never, so none is needed")
    if mode == "first":
        if moment.proof_id is not None:
            return CheckOutcome(CHECK_NAME, True, "none is needed, since the list was proven before")
        if not in_list:
            return CheckOutcome(CHECK_NAME, True, "none is needed, since the list is empty")
        if valid:
            return CheckOutcome(CHECK_NAME, True, f"approved by {valid[0]}")
        reason = f"it was never proven, and others have filled it with {in_list} recipients, who would be replaced"
        return CheckOutcome(CHECK_NAME, False, f"{reason}; {how}")
    sent = [plan for plan in valid if plan.snapshot_id == snapshot_id]
    if sent:
        return CheckOutcome(CHECK_NAME, True, f"approved by {sent[0]}")
    return CheckOutcome(CHECK_NAME, False, f"approval is always, and the plan of these rows isn't approved; {how}")
