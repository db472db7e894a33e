"""Who is known to stand on the vendor's unsubscribe list, so that a look at it can tell news from what was told."""

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
    """A recipient on the vendor's list of whom the CRM doesn't know yet; `source` names what found them there."""

    recipient_id: str
    since: datetime
    source: str | None


class UnsubscribedRecipients:
    """Recipients who were seen on the vendor's list, until they are seen off it again.

    Somebody who consents again in the CRM may stand on that list for a while, and hasn't left once more. Somebody who
    was taken off it and is found on it again, has.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_pending(
        self, mandator: str, recipient_ids: Collection[str], now: datetime, source: str | None = None
    ) -> dict[str, datetime]:
        """They are on the list, and the CRM hasn't been told yet. Returns since when that is known of each."""
        new = {"mandator": mandator, "since": now, "known_to_crm": False, "source": source}
        rows = [{"recipient_id": each, **new} for each in recipient_ids]
        found: dict[str, datetime] = {}
        with self._engine.begin() as connection:
            insert_missing(connection, recipients, rows)
            for ids in batches(sorted(recipient_ids)):
                these = (recipients.c.mandator == mandator) & recipients.c.recipient_id.in_(ids)
                query = select(*recipients.c["recipient_id", "since"]).where(these)
                found |= {row.recipient_id: row.since for row in connection.execute(query)}
        return found

    def mark_known(self, mandator: str, recipient_ids: Collection[str], now: datetime) -> None:
        """They are on the list, and the CRM knows."""
        rows = [
            {"mandator": mandator, "recipient_id": each, "since": now, "known_to_crm": True}
            for each in set(recipient_ids)
        ]
        with self._engine.begin() as connection:
            upsert(connection, recipients, rows, update=("known_to_crm",))

    def remove(self, mandator: str, recipient_ids: Collection[str]) -> None:
        """They were seen off the vendor's list. Who is pending stays, until it is known which consent ended."""
        with self._engine.begin() as connection:
            for ids in batches(sorted(recipient_ids)):
                these = (recipients.c.mandator == mandator) & recipients.c.recipient_id.in_(ids)
                connection.execute(delete(recipients).where(these, recipients.c.known_to_crm.is_(True)))

    def pending(self, mandator: str) -> list[PendingOptOut]:
        """Everybody who was seen on the list and of whom the CRM doesn't know yet, by recipient id."""
        these = (recipients.c.mandator == mandator) & recipients.c.known_to_crm.is_(False)
        query = select(*recipients.c["recipient_id", "since", "source"]).where(these)
        with self._engine.connect() as connection:
            return [PendingOptOut(*row) for row in connection.execute(query.order_by(recipients.c.recipient_id))]

    def known(self, mandator: str) -> set[str]:
        """Everybody of whom the CRM knows that they are on the list, be it a recipient list's own."""
        tables = (recipients, list_unsubscribe)
        queries = [select(t.c.recipient_id).where(t.c.mandator == mandator, t.c.known_to_crm.is_(True)) for t in tables]
        with self._engine.connect() as connection:
            return {recipient_id for query in queries for recipient_id in connection.execute(query).scalars()}
