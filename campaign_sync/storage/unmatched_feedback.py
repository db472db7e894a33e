"""Feedback about recipients whom the CRM doesn't have."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, or_, select

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import (
    Attribution,
    Bounce,
    BounceKind,
    FeedbackKind,
    RawRow,
    Unsubscribe,
    bounce_precedence,
)
from campaign_sync.domain.vendor_sources import BOUNCE_SOURCE, UNSUBSCRIBE_SOURCE
from campaign_sync.storage.tables import unmatched_feedback as unmatched
from campaign_sync.storage.upsert import upsert


@dataclass(frozen=True)
class UnmatchedFeedback:
    """Feedback about recipients whom the CRM doesn't know: suppressed by address, and matched again daily."""

    bounces: list[Bounce]
    unsubscribes: list[Unsubscribe]

    def by_kind(self) -> list[tuple[FeedbackKind, Sequence[Bounce | Unsubscribe]]]:
        """Return both lists with their kinds."""
        return [(FeedbackKind.BOUNCES, self.bounces), (FeedbackKind.UNSUBSCRIBES, self.unsubscribes)]


def read_unmatched(connection: Connection, condition: ColumnElement[bool]) -> UnmatchedFeedback:
    """Return the stored feedback that fulfils a condition, by recipient id."""
    feedback = UnmatchedFeedback([], [])
    query = select(unmatched).where(condition).order_by(unmatched.c.recipient_id)
    for row in connection.execute(query):
        raw = RawRow(row.import_id, row.row) if row.import_id else None
        if row.kind == FeedbackKind.BOUNCES:
            kind = BounceKind(row.bounce_kind or BounceKind.HARD)
            feedback.bounces.append(Bounce(*_key_fields(row), BOUNCE_SOURCE, kind, row.dated is not False, raw))
        else:
            feedback.unsubscribes.append(_unsubscribe(row, raw))
    return feedback


def replace_unmatched(
    connection: Connection, mandator: str, before: UnmatchedFeedback, unmatched_now: UnmatchedFeedback
) -> None:
    """Replace stored feedback of a mandator by what is unmatched now.

    Feedback that isn't in `before`, because another import has added it meanwhile, stays. None replaces a stored one
    that takes precedence.
    """
    for (kind, was), (_, is_now) in zip(before.by_kind(), unmatched_now.by_kind(), strict=True):
        known = set(was)
        for event in known - set(is_now):
            connection.execute(delete(unmatched).where(*_is(mandator, kind, event)))
        decisive = {(event.address, _opt_in_id(event)): event for event in sorted(is_now, key=_precedence)}
        new_rows = [_unmatched_row(mandator, kind, event) for event in decisive.values() if event not in known]
        named = ("entity_type", "entity_id", "opt_ins")
        further = ("occurred_at", "bounce_kind", "dated", "import_id", "row", *named)
        upsert(connection, unmatched, new_rows, update=further, where=_takes_precedence)


def _unmatched_row(mandator: str, kind: FeedbackKind, event: Bounce | Unsubscribe) -> dict[str, object]:
    return {
        "mandator": mandator,
        "kind": kind,
        "recipient_id": event.address,
        "opt_in_id": _opt_in_id(event),
        "occurred_at": event.occurred_at,
        "bounce_kind": event.kind if isinstance(event, Bounce) else None,
        "dated": event.dated,
        "import_id": event.raw.import_id if event.raw else None,
        "row": event.raw.position if event.raw else None,
        "entity_type": event.entity.entity_type if isinstance(event, Unsubscribe) and event.entity else None,
        "entity_id": event.entity.entity_id if isinstance(event, Unsubscribe) and event.entity else None,
        "opt_ins": json.dumps(sorted(event.opt_ins)) if isinstance(event, Unsubscribe) and event.opt_ins else None,
    }


def _opt_in_id(event: Bounce | Unsubscribe) -> str:
    """Return the opt-in that an unsubscribe names, else an empty text: a primary key takes no nulls."""
    return (event.opt_in_id or "") if isinstance(event, Unsubscribe) else ""


def _key_fields(row: Any) -> tuple[str, datetime, str]:
    return row.recipient_id, row.occurred_at, row.mandator


def _unsubscribe(row: Any, raw: RawRow | None) -> Unsubscribe:
    opt_in_id, entity = row.opt_in_id or None, Entity.from_parts(row.entity_type, row.entity_id)
    return Unsubscribe(
        *_key_fields(row),
        UNSUBSCRIBE_SOURCE,
        row.dated is not False,
        opt_ins=frozenset(json.loads(row.opt_ins or "[]")),
        opt_in_id=opt_in_id,
        entity=entity,
        raw=raw,
        attribution=Attribution.from_row(opt_in_id, entity),
    )


def _is(mandator: str, kind: FeedbackKind, event: Bounce | Unsubscribe) -> list[ColumnElement[bool]]:
    return [
        unmatched.c.mandator == mandator,
        unmatched.c.kind == kind,
        unmatched.c.recipient_id == event.address,
        unmatched.c.opt_in_id == _opt_in_id(event),
        unmatched.c.occurred_at == event.occurred_at,
    ]


def _precedence(event: Bounce | Unsubscribe) -> tuple[bool, datetime]:
    """Return the precedence among feedback about one address: a final bounce before a soft one, then the newer."""
    return (
        (True, event.occurred_at)
        if isinstance(event, Unsubscribe)
        else bounce_precedence(event.kind, event.occurred_at)
    )


def _takes_precedence(new: Any) -> ColumnElement[bool]:
    """Return `_precedence` in SQL: whether a new row replaces the stored one."""
    final, was_final = (case((columns.bounce_kind == BounceKind.SOFT, 0), else_=1) for columns in (new, unmatched.c))
    return or_(final > was_final, and_(final == was_final, new.occurred_at > unmatched.c.occurred_at))
