"""Withdrawals and bounces that the CRM has accepted and hasn't shown since."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Engine, delete, select

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind, bounce_precedence
from campaign_sync.domain.unshown_feedback import TIME_TO_SHOW, WrittenBounce, WrittenWithdrawal
from campaign_sync.storage.consent_tables import shown_withdrawal
from campaign_sync.storage.consent_tables import unshown_bounce as bounces
from campaign_sync.storage.consent_tables import unshown_withdrawal as withdrawals
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.upsert import insert_missing, upsert


class UnshownFeedback:
    """What was written to a CRM whose deliveries or copies can be older."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def remember(self, written: Sequence[WrittenWithdrawal], bounced: Sequence[WrittenBounce], now: datetime) -> None:
        """Store what the CRM has accepted. A newer bounce replaces an older one, a soft one never a final one."""
        if not written and not bounced:
            return
        of_consents = [_withdrawal_row(withdrawal, now) for withdrawal in written]
        by_address = {bounce.address_pseudonym: bounce for bounce in sorted(bounced, key=_bounce_precedence)}
        with self._engine.begin() as connection:
            insert_missing(connection, withdrawals, sorted(of_consents, key=lambda row: str(row["event_id"])))
            known = {bounce.address_pseudonym: bounce for bounce in _bounces(connection.execute(select(bounces)).all())}
            newer = [
                bounce
                for address, bounce in sorted(by_address.items())
                if address not in known or _bounce_precedence(known[address]) < _bounce_precedence(bounce)
            ]
            columns = ("kind", "occurred_at", "mandator", "source", "written_at")
            upsert(connection, bounces, [_bounce_row(bounce, now) for bounce in newer], update=columns)

    def withdrawals(self, overdue_at: datetime | None = None) -> list[WrittenWithdrawal]:
        """Return the withdrawals that the CRM doesn't show yet, oldest first.

        With `overdue_at`, only those that it should show by that time.
        """
        query = select(withdrawals).order_by(withdrawals.c.occurred_at, withdrawals.c.event_id)
        if overdue_at is not None:
            query = query.where(withdrawals.c.written_at < overdue_at - TIME_TO_SHOW)
        with self._engine.connect() as connection:
            return [
                WrittenWithdrawal(
                    row.event_id,
                    Entity(EntityType(row.entity_type), row.entity_id),
                    row.opt_in_id,
                    row.occurred_at,
                    row.source,
                    row.evidence,
                    row.address,
                )
                for row in connection.execute(query)
            ]

    def bounces(self) -> list[WrittenBounce]:
        """Return the bounces that the CRM doesn't show yet."""
        with self._engine.connect() as connection:
            return _bounces(connection.execute(select(bounces).order_by(bounces.c.address)).all())

    def shown(self, event_ids: Collection[str]) -> frozenset[str]:
        """Return those of the withdrawals that the CRM has shown."""
        known: set[str] = set()
        with self._engine.connect() as connection:
            for batch in batches(sorted(event_ids)):
                query = select(shown_withdrawal.c.event_id).where(shown_withdrawal.c.event_id.in_(batch))
                known.update(connection.execute(query).scalars())
        return frozenset(known)

    def mark_shown(self, event_ids: Iterable[str], addresses: Iterable[str]) -> None:
        """Remember that the CRM shows this now; only the ids of withdrawals are kept. Addresses are pseudonyms."""
        ids, keys = sorted(set(event_ids)), sorted(set(addresses))
        with self._engine.begin() as connection:
            insert_missing(connection, shown_withdrawal, [{"event_id": event_id} for event_id in ids])
            for table, key, values in ((withdrawals, withdrawals.c.event_id, ids), (bounces, bounces.c.address, keys)):
                for batch in batches(values):
                    connection.execute(delete(table).where(key.in_(batch)))


def _withdrawal_row(withdrawal: WrittenWithdrawal, now: datetime) -> dict[str, object]:
    return {
        "event_id": withdrawal.event_id,
        "entity_type": withdrawal.entity.entity_type.value,
        "entity_id": withdrawal.entity.entity_id,
        "opt_in_id": withdrawal.opt_in_id,
        "occurred_at": withdrawal.occurred_at,
        "source": withdrawal.source,
        "evidence": withdrawal.evidence,
        "address": withdrawal.address_pseudonym,
        "written_at": now,
    }


def _bounce_row(bounce: WrittenBounce, now: datetime) -> dict[str, object]:
    return {
        "address": bounce.address_pseudonym,
        "kind": bounce.kind.value,
        "occurred_at": bounce.occurred_at,
        "mandator": bounce.mandator,
        "source": bounce.source,
        "written_at": now,
    }


def _bounces(rows: Iterable[object]) -> list[WrittenBounce]:
    columns = ("address", "kind", "occurred_at", "mandator", "source")
    values = ([getattr(row, name) for name in columns] for row in rows)
    return [WrittenBounce(address, BounceKind(kind), *rest) for address, kind, *rest in values]


def _bounce_precedence(bounce: WrittenBounce) -> tuple[bool, datetime]:
    return bounce_precedence(bounce.kind, bounce.occurred_at)
