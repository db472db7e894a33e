"""Addresses that the vendor's blocklist was found to match: suppressed in that mandator, without touching consent."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Engine, and_, delete, select

from campaign_sync.state.tables import blocked_address
from campaign_sync.state.upsert import upsert

_ROWS_PER_STATEMENT = 500


class BlockedAddresses:
    """What is known of a mandator's blocklist. Its patterns stay with the vendor, so it has to be asked again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def found(self, mandator: str, addresses: Collection[str], source: str, now: datetime) -> None:
        """These addresses are blocked; `source` is how that came to light."""
        common = {"mandator": mandator, "first_seen": now, "last_seen": now, "source": source}
        rows = [{**common, "address": address} for address in sorted(set(addresses))]
        with self._engine.begin() as connection:
            for start in range(0, len(rows), _ROWS_PER_STATEMENT):
                some = rows[start : start + _ROWS_PER_STATEMENT]
                upsert(connection, blocked_address, some, update=("last_seen",))

    def released(self, mandator: str, addresses: Sequence[str]) -> None:
        """These aren't blocked any more."""
        with self._engine.begin() as connection:
            for start in range(0, len(addresses), _ROWS_PER_STATEMENT):
                some = blocked_address.c.address.in_(addresses[start : start + _ROWS_PER_STATEMENT])
                connection.execute(delete(blocked_address).where(and_(blocked_address.c.mandator == mandator, some)))

    def all(self, mandator: str) -> list[tuple[str, datetime, str]]:
        """Address, since when, and how it came to light; by address."""
        query = (
            select(*blocked_address.c["address", "first_seen", "source"])
            .where(blocked_address.c.mandator == mandator)
            .order_by(blocked_address.c.address)
        )
        with self._engine.connect() as connection:
            return [(row.address, row.first_seen, row.source) for row in connection.execute(query)]
