"""Addresses that match the vendor's blocklist: suppressed in that mandator, without touching consent."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Engine, delete, select

from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import blocked_address
from campaign_sync.storage.upsert import upsert


class BlockedAddresses:
    """Known matches of each mandator's blocklist. Its patterns stay with the vendor, so matches are checked again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, mandator: str, addresses: Collection[str], source: str, now: datetime) -> None:
        """Record that these addresses are blocked; `source` names what showed it."""
        common = {"mandator": mandator, "first_seen": now, "last_seen": now, "source": source}
        rows = [{**common, "address": address} for address in sorted(set(addresses))]
        with self._engine.begin() as connection:
            upsert(connection, blocked_address, rows, update=("last_seen",))

    def remove(self, mandator: str, addresses: Sequence[str]) -> None:
        """Remove addresses that aren't blocked any more."""
        with self._engine.begin() as connection:
            for batch in batches(addresses):
                is_released = (blocked_address.c.mandator == mandator) & blocked_address.c.address.in_(batch)
                connection.execute(delete(blocked_address).where(is_released))

    def all(self, mandator: str) -> list[tuple[str, datetime, str]]:
        """Return each blocked address with the moment it was first seen and its source, ordered by address."""
        query = (
            select(*blocked_address.c["address", "first_seen", "source"])
            .where(blocked_address.c.mandator == mandator)
            .order_by(blocked_address.c.address)
        )
        with self._engine.connect() as connection:
            return [(row.address, row.first_seen, row.source) for row in connection.execute(query)]
