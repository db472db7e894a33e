"""All rows of the state database about a person, for their right of access."""

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, Engine, String, Table, Text, and_, or_, select

from campaign_sync.domain.entity import Entity
from campaign_sync.storage.erasure_tables import metadata

_RECORD = ("entity_type", "entity_id")


class PersonRows:
    """Searches every table, so that none is forgotten: also those that are added later.

    Args:
        engine: the state database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, tokens: Collection[str], records: Collection[Entity]) -> dict[str, list[dict[str, object]]]:
        """Return the rows that hold a token in any column, or name a record, by table.

        Args:
            tokens: addresses, former recipient ids, and the keyed pseudonyms of these and of the records.
            records: the records of the person.
        """
        found_in: dict[str, list[dict[str, object]]] = {}
        with self._engine.connect() as connection:
            for table in metadata.sorted_tables:
                conditions = list(_conditions(table, tokens, records))
                if conditions:
                    rows = connection.execute(select(table).where(or_(*conditions))).mappings()
                    found_in[table.name] = [dict(row) for row in rows]
        return {name: rows for name, rows in found_in.items() if rows}


def _conditions(table: Table, tokens: Collection[str], records: Collection[Entity]) -> Iterator[ColumnElement[bool]]:
    for column in table.columns:
        if tokens and isinstance(column.type, String) and not isinstance(column.type, Text):
            yield column.in_(sorted(tokens))
    if set(_RECORD) <= set(table.columns.keys()):
        for record in records:
            yield and_(table.c.entity_type == record.entity_type.value, table.c.entity_id == record.entity_id)
