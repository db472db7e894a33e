"""Addresses that the vendor's blocklist was found to match: suppressed in that mandator, without touching consent."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Engine, delete, select

from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import blocked_address
from campaign_sync.storage.upsert import upsert


class BlockedAddresses:
    """What is known of a mandator's blocklist. Its patterns stay with the vendor, so it has to be asked again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, mandator: str, addresses: Collection[str], source: str, now: datetime) -> None:
        """These addresses are blocked; `source` is how that came to light."""
        common = {"mandator": mandator, "first_seen": now, "last_seen": now, "source": source}
        rows = [{**common, "address": address} for address in sorted(set(addresses))]
        with self._engine.begin() as connection:
            upsert(connection, blocked_address, rows, update=("last_seen",))

    def remove(self, mandator: str, addresses: Sequence[str]) -> None:
        """These aren't blocked any more."""
        with self._engine.begin() as connection:
            for some in batches(addresses):
                these = (blocked_address.c.mandator == mandator) & blocked_address.c.address.in_(some)
                connection.execute(delete(blocked_address).where(these))

    def all(self, mandator: str) -> list[tuple[str, datetime, str]]:
        """Address, since when, and how it came to light; by address."""
        query = (
            select(*blocked_address.c["address", "first_seen", "source"])
            .where(blocked_address.c.mandator == mandator)
            .order_by(blocked_address.c.address)
        )
        with self._engine.connect() as connection:
            return [(row.address, row.first_seen, row.source) for row in connection.execute(query)]
