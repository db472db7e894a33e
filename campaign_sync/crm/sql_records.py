"""Finding the records of a CRM in a SQL database that somebody else names, in whatever case."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import Row, Select, Text, cast, func, select

from campaign_sync.crm.schema import ENTITY_TABLES
from campaign_sync.crm.sql_chunks import by_type
from campaign_sync.domain.entity import Entity


def named_records(
    read: Callable[[Select[Any]], Iterable[Row[Any]]], entities: Collection[Entity]
) -> dict[Entity, Entity]:
    """The records that these name, as the CRM spells them. See `CrmSnapshot.records`.

    `read` yields the rows of a query. Ids are compared as text: what the vendor returned needn't be a number where the
    CRM's ids are.
    """
    spelled: defaultdict[Entity, set[Entity]] = defaultdict(set)
    for entity_type, ids in by_type({_folded(entity) for entity in entities}):
        record_id = ENTITY_TABLES[entity_type].c.id
        for row in read(select(record_id).where(func.lower(cast(record_id, Text)).in_(ids))):
            record = Entity(entity_type, str(row.id).strip())
            spelled[_folded(record)].add(record)
    found = {}
    for entity in entities:
        records = spelled.get(_folded(entity), set())
        if entity in records:
            found[entity] = entity
        elif len(records) == 1:
            (found[entity],) = records
    return found


def _folded(entity: Entity) -> Entity:
    return Entity(entity.entity_type, entity.entity_id.strip().lower())
