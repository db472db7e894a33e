"""Recipients on the vendor's unsubscribe list, so that new ones can be distinguished from those the CRM knows."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, select

from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import list_unsubscribe
from campaign_sync.storage.tables import unsubscribed_recipient as recipients
from campaign_sync.storage.upsert import insert_missing, upsert


@dataclass(frozen=True)
class PendingOptOut:
    """A recipient on the vendor's list of whom the CRM doesn't know yet; `source` names the check that saw them."""

    recipient_id: str
    since: datetime
    source: str | None


class UnsubscribedRecipients:
    """Recipients who were seen on the vendor's list, until they are seen off it.

    A recipient who consents again in the CRM may be on that list for a while without having unsubscribed again. One
    who was taken off it and is seen on it again has unsubscribed again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_pending(
        self, mandator: str, recipient_ids: Collection[str], now: datetime, source: str | None = None
    ) -> dict[str, datetime]:
        """Record recipients whom the CRM doesn't know of yet. Return since when each is known to be on the list."""
        new = {"mandator": mandator, "since": now, "known_to_crm": False, "source": source}
        rows = [{"recipient_id": recipient_id, **new} for recipient_id in recipient_ids]
        known_since: dict[str, datetime] = {}
        with self._engine.begin() as connection:
            insert_missing(connection, recipients, rows)
            for ids in batches(sorted(recipient_ids)):
                is_in_batch = (recipients.c.mandator == mandator) & recipients.c.recipient_id.in_(ids)
                query = select(*recipients.c["recipient_id", "since"]).where(is_in_batch)
                known_since |= {row.recipient_id: row.since for row in connection.execute(query)}
        return known_since

    def mark_known(self, mandator: str, recipient_ids: Collection[str], now: datetime) -> None:
        """Record that the CRM knows that these recipients are on the list."""
        common = {"mandator": mandator, "since": now, "known_to_crm": True}
        rows = [{**common, "recipient_id": recipient_id} for recipient_id in set(recipient_ids)]
        with self._engine.begin() as connection:
            upsert(connection, recipients, rows, update=("known_to_crm",))

    def remove(self, mandator: str, recipient_ids: Collection[str]) -> None:
        """Remove recipients who were seen off the list. Pending ones stay until it is known which consent ended."""
        with self._engine.begin() as connection:
            for ids in batches(sorted(recipient_ids)):
                is_in_batch = (recipients.c.mandator == mandator) & recipients.c.recipient_id.in_(ids)
                connection.execute(delete(recipients).where(is_in_batch, recipients.c.known_to_crm.is_(True)))

    def pending(self, mandator: str) -> list[PendingOptOut]:
        """Return the recipients on the list of whom the CRM doesn't know yet, ordered by recipient id."""
        is_pending = (recipients.c.mandator == mandator) & recipients.c.known_to_crm.is_(False)
        query = select(*recipients.c["recipient_id", "since", "source"]).where(is_pending)
        with self._engine.connect() as connection:
            return [PendingOptOut(*row) for row in connection.execute(query.order_by(recipients.c.recipient_id))]

    def known(self, mandator: str) -> set[str]:
        """Return the recipients of whom the CRM knows that they are on the list, or on a recipient list's own."""
        tables = (recipients, list_unsubscribe)
        queries = [select(t.c.recipient_id).where(t.c.mandator == mandator, t.c.known_to_crm.is_(True)) for t in tables]
        with self._engine.connect() as connection:
            return {recipient_id for query in queries for recipient_id in connection.execute(query).scalars()}
