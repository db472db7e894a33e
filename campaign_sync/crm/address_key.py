"""The lookup of people by address, in whatever spelling the CRM holds it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Row, Select, select

from campaign_sync.crm.sql.address_search import is_unusual, plain_key
from campaign_sync.crm.sql.schema import ENTITY_TABLES
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.entity import Entity

KEYS_PER_QUERY = 1_000
"""The longest list of addresses that a database is given; without an index it compares all people with each list."""


def address_key(raw: object) -> str | None:
    """Return what `normalize_address` returns, fast enough for millions of addresses; None for no address.

    An invalid ASCII address still gets a key, which no valid address shares.
    """
    if not isinstance(raw, str):
        return None
    if raw.isascii():
        return raw.strip().lower()  # composing and IDNA, the slow part, leave ASCII alone
    return usable_address(raw)


def people_by_address(
    read: Callable[[Select[Any]], Iterable[Row[Any]]], keys: Collection[str], dialect: str
) -> dict[str, list[Entity]]:
    """Return the people with one of these addresses, by key.

    Args:
        read: yields the rows of a query.
        keys: the result of `address_key` for each address.
        dialect: the name of SQLAlchemy's dialect.
    """
    people: defaultdict[str, dict[Entity, None]] = defaultdict(dict)
    for entity_type, table in ENTITY_TABLES.items():
        query = select(table.c.id, table.c.email).where(table.c.email.is_not(None))
        for row in rows_by_address(read, query, table.c.email, keys, dialect):
            people[address_key(row.email) or ""][Entity(entity_type, str(row.id).strip())] = None
    return {key: list(entities) for key, entities in people.items()}


def rows_by_address(
    read: Callable[[Select[Any]], Iterable[Row[Any]]],
    query: Select[Any],
    column: Column[Any],
    keys: Collection[str],
    dialect: str,
) -> Iterator[Row[Any]]:
    """Yield the rows of a query whose address has one of these keys; a row may come twice.

    SQL alone can't fold case, blanks and IDN as `address_key` does. So it returns those rows that have a key by its own
    rules, and those with a character that it may treat otherwise. Of many keys no list is made; then it returns all.
    """
    wanted = keys if isinstance(keys, (set, frozenset, Mapping)) else set(keys)
    if not wanted:
        return
    queries = [query]
    if len(wanted) <= KEYS_PER_QUERY:
        queries = [
            query.where(plain_key(column, dialect).in_(sorted(wanted))),
            query.where(is_unusual(column, dialect)),
        ]
    for narrowed in queries:
        for row in read(narrowed):
            if address_key(row._mapping[column.name]) in wanted:
                yield row
