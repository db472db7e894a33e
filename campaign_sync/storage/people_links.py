"""Which addresses and records the state database knows as those of the same person."""

from collections.abc import Callable, Collection

from sqlalchemy import Engine, select, tuple_

from campaign_sync.domain.entity import Entity
from campaign_sync.storage.consent_tables import unshown_withdrawal
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import refused_withdrawal, unmatched_feedback, write_back

_BY_ADDRESS = (unmatched_feedback, refused_withdrawal)
_BY_PSEUDONYM = ((write_back, write_back.c.recipient), (unshown_withdrawal, unshown_withdrawal.c.address))


class PeopleLinks:
    """Records by addresses, and the other way round, from what feedback was about.

    Args:
        engine: the state database.
        pseudonym: returns the keyed pseudonym of an address.
    """

    def __init__(self, engine: Engine, pseudonym: Callable[[str], str]) -> None:
        self._engine, self._pseudonym = engine, pseudonym

    def records_with(self, addresses: Collection[str]) -> set[Entity]:
        """Return the records that feedback about these addresses was about."""
        pseudonyms = sorted(map(self._pseudonym, addresses))
        columns = [
            *((table, table.c.recipient_id, sorted(addresses)) for table in _BY_ADDRESS),
            *((table, column, pseudonyms) for table, column in _BY_PSEUDONYM),
        ]
        records: set[Entity | None] = set()
        with self._engine.connect() as connection:
            for table, column, values in columns:
                for batch in batches(values):
                    query = select(*table.c["entity_type", "entity_id"]).where(column.in_(batch)).distinct()
                    records.update(Entity.from_parts(*row) for row in connection.execute(query))
        return {record for record in records if record}

    def addresses_of(self, records: Collection[Entity]) -> set[str]:
        """Return the addresses of feedback about these records."""
        pairs = [(record.entity_type.value, record.entity_id) for record in sorted(records)]
        addresses: set[str] = set()
        with self._engine.connect() as connection:
            for table in _BY_ADDRESS:
                for batch in batches(pairs):
                    is_theirs = tuple_(table.c.entity_type, table.c.entity_id).in_(batch)
                    addresses.update(connection.execute(select(table.c.recipient_id).where(is_theirs)).scalars())
        return addresses
