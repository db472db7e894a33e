"""Stored plans of lists, and the approvals that people gave."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from campaign_sync.domain.approval import ApprovedPlan, ListMoment
from campaign_sync.storage.tables import approval, list_plan
from campaign_sync.storage.upsert import insert_missing


@dataclass(frozen=True)
class StoredPlan:
    """A plan of a list that can be approved, and applied if its snapshot was stored."""

    id: str
    mandator: str
    list: str
    recipient_list_id: int
    settings_digest: str
    proof_id: str | None
    planned_at: datetime
    in_list: int
    """How many recipients the list held."""
    contents_digest: str | None
    """The fingerprint of what was read back of it, keyed; None where it was compared with its proof."""
    entity_types: str
    """JSON: how many rows would be sent, by entity type."""
    frozen_entity_types: str
    """JSON: how many rows the snapshot has; those whom the preflight drops are among them."""
    not_utf8: int
    """How many rows were left out because a text isn't UTF-8 in the CRM."""
    snapshot_id: str
    rejections_file: str
    """Has those who were rejected before the snapshot: `domain.selection.REJECTION_COLUMNS`."""
    rejections_digest: str

    @property
    def moment(self) -> ListMoment:
        """What the list was when it was planned."""
        return ListMoment(self.recipient_list_id, self.settings_digest, self.proof_id)

    @property
    def rows(self) -> int:
        """How many rows would be sent."""
        return sum(json.loads(self.entity_types).values())


class ListPlans:
    """Stored plans and approvals. Neither is ever changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, plan: StoredPlan) -> None:
        """Store a plan."""
        with self._engine.begin() as connection:
            connection.execute(list_plan.insert().values(**vars(plan)))

    def get(self, plan_id: str) -> StoredPlan | None:
        """Return the plan of that id; None where there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(select(list_plan).where(list_plan.c.id == plan_id)).first()
        return StoredPlan(**row._mapping) if row else None

    def newest(self, mandator: str, name: str) -> StoredPlan | None:
        """Return the newest plan of a list; None where there is none."""
        query = select(list_plan).where(list_plan.c.mandator == mandator, list_plan.c.list == name)
        with self._engine.connect() as connection:
            row = connection.execute(query.order_by(list_plan.c.planned_at.desc()).limit(1)).first()
        return StoredPlan(**row._mapping) if row else None

    def approve(self, plan: StoredPlan, approved_by: str, reason: str, now: datetime) -> ApprovedPlan:
        """Store the approval of a plan, and return it. A plan that was approved before keeps that approval."""
        row = {
            "plan_id": plan.id,
            "mandator": plan.mandator,
            "list": plan.list,
            "approved_by": approved_by,
            "reason": reason,
            "approved_at": now,
        }
        with self._engine.begin() as connection:
            insert_missing(connection, approval, [row])
        return next(approved for approved in self.approved(plan.mandator, plan.list) if approved.plan_id == plan.id)

    def approved(self, mandator: str, name: str) -> list[ApprovedPlan]:
        """Return all approved plans of a list."""
        query = (
            select(list_plan, *approval.c["approved_by", "reason", "approved_at"])
            .join(approval, approval.c.plan_id == list_plan.c.id)
            .where(approval.c.mandator == mandator, approval.c.list == name)
            .order_by(approval.c.approved_at)
        )
        with self._engine.connect() as connection:
            return [
                ApprovedPlan(
                    plan_id=row.id,
                    moment=ListMoment(row.recipient_list_id, row.settings_digest, row.proof_id),
                    in_list=row.in_list,
                    sent=json.loads(row.entity_types),
                    frozen=json.loads(row.frozen_entity_types),
                    snapshot_id=row.snapshot_id,
                    approved_by=row.approved_by,
                    reason=row.reason,
                    approved_at=row.approved_at,
                )
                for row in connection.execute(query)
            ]
