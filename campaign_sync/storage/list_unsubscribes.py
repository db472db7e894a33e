"""Recipients on the unsubscribe lists of single recipient lists."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, delete, select

from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import list_unsubscribe as recipients
from campaign_sync.storage.tables import unsubscribed_recipient as of_client
from campaign_sync.storage.upsert import insert_missing, upsert


class ListUnsubscribes:
    """Recipients who were seen on a recipient list's own unsubscribe list, until they are seen off it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_pending(
        self, mandator: str, list_id: int, recipient_ids: Collection[str], now: datetime
    ) -> dict[str, datetime]:
        """Record recipients whom the CRM doesn't know of yet. Return since when each is known to be on the list."""
        since: dict[str, datetime] = {}
        with self._engine.begin() as connection:
            insert_missing(connection, recipients, _rows(mandator, list_id, recipient_ids, now, known=False))
            for ids in batches(sorted(recipient_ids)):
                query = select(*recipients.c["recipient_id", "since"]).where(_is_among(mandator, list_id, ids))
                since |= {row.recipient_id: row.since for row in connection.execute(query)}
        return since

    def mark_known(self, mandator: str, list_id: int, recipient_ids: Collection[str], now: datetime) -> None:
        """Record that the CRM knows that these recipients are on the list."""
        with self._engine.begin() as connection:
            rows = _rows(mandator, list_id, set(recipient_ids), now, known=True)
            upsert(connection, recipients, rows, update=("known_to_crm",))

    def known(self, mandator: str, list_id: int) -> set[str]:
        """Return the recipients of whom the CRM knows that they are on the list.

        It includes those known to be on the client's list, since lists may have got their own only afterwards.
        """
        its_own = select(recipients.c.recipient_id).where(
            recipients.c.mandator == mandator,
            recipients.c.recipient_list_id == list_id,
            recipients.c.known_to_crm.is_(True),
        )
        before = select(of_client.c.recipient_id).where(
            of_client.c.mandator == mandator, of_client.c.known_to_crm.is_(True)
        )
        with self._engine.connect() as connection:
            return set(connection.execute(its_own).scalars()) | set(connection.execute(before).scalars())

    def pending(self, mandator: str, list_id: int) -> set[str]:
        """Return the recipients of whom the CRM doesn't know yet."""
        query = select(recipients.c.recipient_id).where(
            recipients.c.mandator == mandator,
            recipients.c.recipient_list_id == list_id,
            recipients.c.known_to_crm.is_(False),
        )
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def remove(self, mandator: str, list_id: int, recipient_ids: Collection[str]) -> None:
        """Remove recipients who were seen off the list."""
        with self._engine.begin() as connection:
            for ids in batches(sorted(recipient_ids)):
                connection.execute(delete(recipients).where(_is_among(mandator, list_id, ids)))


def _rows(
    mandator: str, list_id: int, recipient_ids: Collection[str], now: datetime, *, known: bool
) -> list[dict[str, object]]:
    common = {"mandator": mandator, "recipient_list_id": list_id, "since": now, "known_to_crm": known}
    return [{**common, "recipient_id": recipient_id} for recipient_id in recipient_ids]


def _is_among(mandator: str, list_id: int, recipient_ids: Collection[str]) -> ColumnElement[bool]:
    of_list = (recipients.c.mandator == mandator) & (recipients.c.recipient_list_id == list_id)
    return of_list & recipients.c.recipient_id.in_(recipient_ids)
