"""Rows that their owners keep renewing, and which of these owners are dead.

Expiries are compared with a clock that can be set, and machines are suspended: after that, rows of living owners look
expired until they are renewed next. So an owner that isn't known to be gone gets another lifetime once, and only if it
doesn't renew the row within that is it dead.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Row, Table, and_, select, update

from campaign_sync.storage.processes import database_now, is_expired, is_gone

LIFETIME = timedelta(seconds=90)
"""How long a row lasts after its last renewal."""

HEARTBEATS_PER_LIFETIME = 6
"""How often an owner renews its row within `LIFETIME`."""


class Owners(NamedTuple):
    """Rows, by whether their owner is dead."""

    living: Sequence[Row[Any]]
    dead: Sequence[Row[Any]]


def is_dead(row: Row[Any], now: datetime) -> bool:
    """Return whether the owner of a row is gone, or hasn't used the further lifetime that it got."""
    return is_gone(row.owner) or (row.overdue and row.expires_at <= now)


def read_owners(engine: Engine, table: Table, *conditions: ColumnElement[bool]) -> Owners:
    """Return these rows of a table, and give a further lifetime to those that expired and may have a living owner."""
    with engine.connect() as connection:
        now = database_now(connection)
        rows = connection.execute(select(table).where(*conditions)).all()
    living = [row for row in rows if not is_dead(row, now)]
    if late := [row for row in living if not row.overdue and is_expired(row.owner, row.expires_at, now)]:
        with engine.begin() as connection:
            for row in late:
                # One that was renewed or taken over meanwhile stays as it is.
                unchanged = [column == getattr(row, column.name) for column in table.columns]
                further = update(table).where(and_(*unchanged)).values(overdue=True, expires_at=now + LIFETIME)
                connection.execute(further)
    return Owners(living, [row for row in rows if row not in living])
