"""Withdrawals that the CRM hasn't taken: everything that is needed to repeat them."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine, delete, func, select

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Attribution, ConsentRef, CrmEntry, RawRow, Unsubscribe
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import refused_withdrawal as refused
from campaign_sync.storage.upsert import insert_missing


class RefusedWithdrawals:
    """Each refused withdrawal of one consent, until the CRM has taken it or needs it no more.

    The consent stays the one that was meant, whatever address its record has by then. A withdrawal of a consent that
    the CRM doesn't show is one as well: it is written once the consent is shown again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, entries: Sequence[CrmEntry], *, shown: bool = True) -> None:
        """Remember withdrawals; those that are remembered already stay as they are.

        Args:
            entries: the withdrawals.
            shown: whether the CRM shows their consents. A withdrawal that it refuses is one of these from then on.
        """
        rows = [_row(entry, entry.entity) | {"shown": shown} for entry in entries if entry.event_id and entry.entity]
        with self._engine.begin() as connection:
            if shown:
                for ids in batches(sorted({str(row["event_id"]) for row in rows})):
                    connection.execute(delete(refused).where(refused.c.event_id.in_(ids), ~refused.c.shown))
            insert_missing(connection, refused, rows)

    def remove(self, event_ids: Collection[str]) -> None:
        """Forget the withdrawals that the CRM has by now."""
        with self._engine.begin() as connection:
            for ids in batches(sorted(event_ids)):
                connection.execute(delete(refused).where(refused.c.event_id.in_(ids)))

    def event_ids(self) -> set[str]:
        """Return the ids of all of them."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(refused.c.event_id)).scalars())

    def count(self, mandator: str, *, shown: bool) -> int:
        """Return how many a mandator has whose consents the CRM shows, or doesn't."""
        query = select(func.count()).where(refused.c.mandator == mandator, refused.c.shown == shown)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def of(self, mandator: str) -> list[Unsubscribe]:
        """Return the refused withdrawals of a mandator, each as an unsubscribe from exactly one consent."""
        query = select(refused).where(refused.c.mandator == mandator).order_by(refused.c.event_id)
        with self._engine.connect() as connection:
            return [_unsubscribe(row) for row in connection.execute(query)]


def _row(entry: CrmEntry, entity: Entity) -> dict[str, object]:
    feedback = entry.feedback
    return {
        "event_id": entry.event_id,
        "mandator": feedback.mandator,
        "recipient_id": feedback.address,
        "entity_type": entity.entity_type,
        "entity_id": entity.entity_id,
        "opt_in_id": entry.opt_in_id,
        "occurred_at": feedback.occurred_at,
        "source": feedback.source,
        "dated": feedback.dated,
        "attribution": entry.attribution or Attribution.MANDATOR,
        "import_id": feedback.raw.import_id if feedback.raw else None,
        "row": feedback.raw.position if feedback.raw else None,
    }


def _unsubscribe(row: Any) -> Unsubscribe:
    entity, attribution = Entity(EntityType(row.entity_type), row.entity_id), Attribution(row.attribution)
    return Unsubscribe(
        row.recipient_id,
        row.occurred_at,
        row.mandator,
        row.source,
        row.dated,
        consents=frozenset({ConsentRef(entity, row.opt_in_id)}),
        opt_in_id=row.opt_in_id,
        entity=entity if attribution is Attribution.RECORD else None,
        raw=RawRow(row.import_id, row.row) if row.import_id else None,
        attribution=attribution,
    )
