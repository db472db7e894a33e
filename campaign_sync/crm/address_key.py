"""The lookup of people by address, in whatever spelling the CRM holds it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import Row, Select, select

from campaign_sync.crm.sql.schema import ENTITY_TABLES
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.entity import Entity


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
    read: Callable[[Select[Any]], Iterable[Row[Any]]], keys: Collection[str]
) -> dict[str, list[Entity]]:
    """Return the people with one of these addresses, by key. SQL alone can't fold case, blanks and IDN.

    Args:
        read: yields the rows of a query.
        keys: the result of `address_key` for each address.
    """
    people: defaultdict[str, list[Entity]] = defaultdict(list)
    for entity_type, table in ENTITY_TABLES.items():
        for row in read(select(table.c.id, table.c.email).where(table.c.email.is_not(None))):
            key = address_key(row.email)
            if key is not None and key in keys:
                people[key].append(Entity(entity_type, str(row.id).strip()))
    return dict(people)
