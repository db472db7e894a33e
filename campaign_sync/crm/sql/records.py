"""The lookup of records of a CRM in a SQL database by ids that come from outside."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import Row, Select, Text, cast, func, select

from campaign_sync.crm.sql.chunks import by_type
from campaign_sync.crm.sql.schema import ENTITY_TABLES
from campaign_sync.domain.entity import Entity


def named_records(
    read: Callable[[Select[Any]], Iterable[Row[Any]]], entities: Collection[Entity]
) -> dict[Entity, Entity]:
    """Return the CRM's spelling of these records. See `CrmSnapshot.records`.

    Ids are compared as text without outer blanks: an id from the vendor needn't be a number where the CRM's ids are.
    Case matters: ids of Salesforce can differ in nothing else.

    Args:
        read: yields the rows of a query.
        entities: the records that are named.
    """
    wanted = {Entity(entity.entity_type, entity.entity_id.strip()): entity for entity in entities}
    records = {}
    for entity_type, ids in by_type(set(wanted)):
        record_id = ENTITY_TABLES[entity_type].c.id
        for row in read(select(record_id).where(func.trim(cast(record_id, Text)).in_(ids))):
            record = Entity(entity_type, str(row.id).strip())
            if record in wanted:  # a collation may ignore case
                records[wanted[record]] = record
    return records
