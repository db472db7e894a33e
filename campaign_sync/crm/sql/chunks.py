"""Transactions that write to a CRM in a SQL database chunk by chunk, and queries about many records."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from campaign_sync.crm.sql.engine import crm_errors
from campaign_sync.crm.sql.schema import ENTITY_TABLES
from campaign_sync.domain.entity import Entity, EntityType

IDS_PER_QUERY = 500

Result = TypeVar("Result")

_TRIES = 3

CHUNK = 1000
"""How many pieces of feedback, or responses, go into one transaction."""


@contextmanager
def writing(engine: Engine, doing: str) -> Iterator[Connection]:
    """Open one transaction; `doing` says in messages what it was for."""
    with crm_errors(engine, doing), engine.begin() as connection:
        yield connection


def written(engine: Engine, doing: str, work: Callable[[Connection], Result]) -> Result:
    """Return the result of `work`, run in one transaction; it is retried if another process wrote the same."""
    with crm_errors(engine, doing):
        for _ in range(_TRIES - 1):
            with suppress(IntegrityError), engine.begin() as connection:
                return work(connection)
        with engine.begin() as connection:
            return work(connection)


def chunks(items: Sequence[Any], size: int | None = None) -> Iterator[Sequence[Any]]:
    """Yield the items in pieces of that size, `CHUNK` where left out."""
    size = size or CHUNK
    for start in range(0, len(items), size):
        yield items[start : start + size]


def by_type(entities: Collection[Entity]) -> Iterator[tuple[EntityType, Sequence[str]]]:
    """Yield ids of one type each, few enough for one query."""
    for entity_type in EntityType:
        ids = sorted(entity.entity_id for entity in entities if entity.entity_type is entity_type)
        for chunk in chunks(ids, IDS_PER_QUERY):
            yield entity_type, chunk


def existing(connection: Connection, entities: Collection[Entity]) -> set[Entity]:
    """Return those of the entities that the CRM still has."""
    records: set[Entity] = set()
    for entity_type, ids in by_type(entities):
        table = ENTITY_TABLES[entity_type]
        query = select(table.c.id).where(table.c.id.in_(ids))
        records |= {Entity(entity_type, str(row.id).strip()) for row in connection.execute(query)}
    return records
