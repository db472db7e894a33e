"""The plan of a mandator's lists as JSON, without anything of the people in it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from campaign_sync.cli.documents import Document, DocumentPart
from campaign_sync.inquiry.list_plan import Changes, ListPlan, PlannedCheck, Verdict


class PlannedCheckDocument(DocumentPart):
    """A check that the replacement would make."""

    step: Literal["selection", "snapshot", "gate"]
    name: str
    verdict: Verdict
    summary: str


class ReasonDocument(DocumentPart):
    """How many people a reason concerns."""

    step: str
    reason: str
    people: int


class DepartureDocument(DocumentPart):
    """How many recipients leave for a reason."""

    why: str
    people: int


class AttributeDocument(DocumentPart):
    """In how many rows an attribute changes."""

    attribute: str
    people: int


class ChangesDocument(DocumentPart):
    """What would be different in the list."""

    compared_with: Literal["proof", "list"]
    proven_at: datetime | None
    joined: int
    refused_before: list[DepartureDocument]
    """Those among the joined whom the vendor refused at the last proof."""
    left: list[DepartureDocument]
    changed: int
    changed_attributes: list[AttributeDocument]


class SizeDocument(DocumentPart):
    """A size that the rows are measured against."""

    rows: int
    origin: str


class LimitsDocument(DocumentPart):
    """The limits of the list. Shares: 0.2 is 20 %."""

    min_rows: int
    max_rows: int | None
    max_shrink: float
    max_growth: float
    max_mojibake: float


class ListPlanDocument(DocumentPart):
    """What the next replacement of a list would do. Fields are null where it couldn't be planned to that point."""

    list: str
    recipient_list_id: int
    plan_id: str | None
    """Of the stored plan; null without `--save`, and for a plan that no approval could admit."""
    planned_at: datetime
    verdict: Literal["would_run", "would_be_refused"]
    has_changes: bool
    problem: str | None
    incomplete_since: datetime | None
    checks: "Sequence[PlannedCheckDocument]"
    picked: int | None
    selected: int | None
    rejected: "Sequence[ReasonDocument]"
    rows: int | None
    in_list: int | None
    limits: LimitsDocument
    measured_against: "Sequence[SizeDocument]"
    changes: ChangesDocument | None
    not_compared: str | None
    expected_seconds: float | None
    """How long filling and proof may take."""


class PlanDocument(Document):
    """What `campaign-sync plan --json` prints."""

    mandator: str
    lists: Sequence[ListPlanDocument]


def plan_document(mandator: str, plans: Sequence[ListPlan]) -> PlanDocument:
    """Return the plans of a mandator's lists as a document."""
    return PlanDocument(mandator=mandator, lists=[_list(plan) for plan in plans])


def _list(plan: ListPlan) -> ListPlanDocument:
    limits, baselines = plan.settings.schema.limits, plan.context.baselines if plan.context else ()
    return ListPlanDocument(
        list=plan.settings.name,
        recipient_list_id=plan.settings.recipient_list_id,
        plan_id=plan.id,
        planned_at=plan.planned_at,
        verdict="would_be_refused" if plan.is_refused else "would_run",
        has_changes=plan.has_changes,
        problem=plan.problem,
        incomplete_since=plan.incomplete_since,
        checks=[_check(check) for check in plan.checks],
        picked=plan.picked,
        selected=plan.selected,
        rejected=[
            ReasonDocument(step=stage, reason=reason, people=people)
            for (stage, reason), people in plan.rejected.items()
        ],
        rows=plan.rows,
        in_list=plan.in_list,
        limits=LimitsDocument(**vars(limits)),
        measured_against=[SizeDocument(rows=baseline.rows, origin=baseline.origin) for baseline in baselines],
        changes=_changes(plan.changes) if plan.changes else None,
        not_compared=plan.not_compared,
        expected_seconds=round(plan.expected_time.total_seconds(), 1) if plan.expected_time is not None else None,
    )


def _check(check: PlannedCheck) -> PlannedCheckDocument:
    outcome = check.outcome
    return PlannedCheckDocument(
        step=check.stage.value, name=outcome.name, verdict=check.verdict, summary=outcome.summary
    )


def _changes(changes: Changes) -> ChangesDocument:
    return ChangesDocument(
        compared_with="proof" if changes.proven_at else "list",
        proven_at=changes.proven_at,
        joined=changes.joined,
        refused_before=[DepartureDocument(why=why, people=people) for why, people in changes.refused_before.items()],
        left=[DepartureDocument(why=why, people=people) for why, people in changes.left.items()],
        changed=changes.changed,
        changed_attributes=[
            AttributeDocument(attribute=attribute, people=people)
            for attribute, people in changes.changed_attributes.items()
        ],
    )
