"""Withdrawals and bounces that the CRM has accepted and hasn't shown since."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind, bounce_precedence
from campaign_sync.domain.unshown_feedback import TIME_TO_SHOW, WrittenBounce, WrittenWithdrawal
from campaign_sync.storage.consent_tables import shown_withdrawal
from campaign_sync.storage.consent_tables import unshown_bounce as bounces
from campaign_sync.storage.consent_tables import unshown_withdrawal as withdrawals
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.upsert import insert_missing, upsert


class UnshownFeedback:
    """What was written to a CRM whose deliveries or copies can be older.

    Args:
        engine: the state database.
        pseudonym: returns the keyed pseudonym of a text.
    """

    def __init__(self, engine: Engine, pseudonym: Callable[[str], str]) -> None:
        self._engine, self._pseudonym = engine, pseudonym

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
        """Remember that the CRM shows this now; of withdrawals, pseudonyms are kept. Addresses are pseudonyms, too."""
        ids, keys = sorted(set(event_ids)), sorted(set(addresses))
        with self._engine.begin() as connection:
            insert_missing(connection, shown_withdrawal, self._shown_rows(connection, ids))
            for table, key, values in ((withdrawals, withdrawals.c.event_id, ids), (bounces, bounces.c.address, keys)):
                for batch in batches(values):
                    connection.execute(delete(table).where(key.in_(batch)))

    def _shown_rows(self, connection: Connection, event_ids: Sequence[str]) -> list[dict[str, object]]:
        """Return the rows of `shown_withdrawal`; of what the CRM showed before we wrote it, only the id is known."""
        written = {
            row.event_id: row
            for batch in batches(event_ids)
            for row in connection.execute(select(withdrawals).where(withdrawals.c.event_id.in_(batch)))
        }
        rows: list[dict[str, object]] = []
        for event_id in event_ids:
            row = written.get(event_id)
            subject = self._pseudonym(_subject(row)) if row else None
            kept = (subject, row.address, row.written_at) if row else (None, None, None)
            rows.append({"event_id": event_id, **dict(zip(("subject", "address", "written_at"), kept, strict=True))})
        return rows

    def last_written(self, subjects: Collection[str]) -> dict[str, datetime]:
        """Return when a withdrawal was last written for those of the records and addresses for which there is one.

        The opt-in doesn't matter: in some CRMs a withdrawal withdraws them all. All are pseudonyms.
        """
        newest: dict[str, datetime] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(select(withdrawals)):
                _note_newest(newest, (self._pseudonym(_subject(row)), row.address), row.written_at)
            for column in (shown_withdrawal.c.subject, shown_withdrawal.c.address):
                for batch in batches(sorted(subjects)):
                    query = select(column, shown_withdrawal.c.written_at).where(column.in_(batch))
                    for subject, written_at in connection.execute(query):
                        _note_newest(newest, (subject,), written_at)
        return {subject: newest[subject] for subject in subjects if subject in newest}


def _note_newest(newest: dict[str, datetime], subjects: Iterable[str | None], written_at: datetime) -> None:
    for subject in filter(None, subjects):
        newest[subject] = max(written_at, newest.get(subject, written_at))


def _subject(row: Row[Any]) -> str:
    return str(Entity(EntityType(row.entity_type), row.entity_id))


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
