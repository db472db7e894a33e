"""Who is known to stand on the vendor's unsubscribe list, so that a look at it can tell news from what was told."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Engine, delete, select

from campaign_sync.state.tables import unsubscribed_recipient as recipients
from campaign_sync.state.upsert import insert_missing

_ROWS_PER_STATEMENT = 500


class UnsubscribedRecipients:
    """Recipients whose opt-out has been dealt with, until they are seen off the vendor's list again.

    Somebody who consents again in the CRM may stand on that list for a while, and hasn't left once more. Somebody who
    was taken off it and is found on it again, has.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, mandator: str, recipient_ids: Collection[str], now: datetime) -> None:
        """Their opt-outs have been dealt with."""
        rows = [{"mandator": mandator, "recipient_id": each, "since": now} for each in sorted(set(recipient_ids))]
        with self._engine.begin() as connection:
            for start in range(0, len(rows), _ROWS_PER_STATEMENT):
                insert_missing(connection, recipients, rows[start : start + _ROWS_PER_STATEMENT])

    def remove(self, mandator: str, recipient_ids: Collection[str]) -> None:
        """They were seen off the vendor's list."""
        ids = sorted(set(recipient_ids))
        with self._engine.begin() as connection:
            for start in range(0, len(ids), _ROWS_PER_STATEMENT):
                some = recipients.c.recipient_id.in_(ids[start : start + _ROWS_PER_STATEMENT])
                connection.execute(delete(recipients).where(recipients.c.mandator == mandator, some))

    def all(self, mandator: str) -> set[str]:
        """Everybody of a mandator."""
        query = select(recipients.c.recipient_id).where(recipients.c.mandator == mandator)
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())
