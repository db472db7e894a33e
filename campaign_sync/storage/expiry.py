"""Rows that their owners keep renewing, and which of these owners are dead.

Expiries are compared with a clock that can be set, and machines are suspended: after that, rows of living owners look
expired until they are renewed next. So an owner that isn't known to be gone gets a further lifetime, and only if it
doesn't renew the row within that is it dead. A process of this system that exists gets three: the system may be
suspended again before it has renewed the row.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Row, Table, and_, select, update

from campaign_sync.storage.processes import STALLED_AFTER, database_now, is_expired, is_gone, is_local

LIFETIME = timedelta(seconds=90)
"""How long a row lasts after its last renewal."""

HEARTBEATS_PER_LIFETIME = 6
"""How often an owner renews its row within `LIFETIME`."""


_FURTHER_LIFETIMES, _OF_LOCAL = 1, 3
"""How many further lifetimes an owner gets, and how many a process of this system that exists."""


class Owners(NamedTuple):
    """Rows, by whether their owner is dead."""

    living: Sequence[Row[Any]]
    dead: Sequence[Row[Any]]


def is_dead(row: Row[Any], now: datetime) -> bool:
    """Return whether the owner of a row is gone, or hasn't used the further lifetimes that it got."""
    return is_gone(row.owner) or (not _further(row) and row.expires_at <= now)


def dead_by(row: Row[Any]) -> datetime:
    """Return when an owner that doesn't renew its row any more counts as dead, where sensors tick each minute."""
    busy = STALLED_AFTER if not row.overdue and is_local(row.owner) else timedelta(0)
    expires_at: datetime = row.expires_at
    return expires_at + busy + (1 + _further(row) if _further(row) else 0) * LIFETIME


def _further(row: Row[Any]) -> int:
    """Return how many further lifetimes an owner gets yet."""
    given: int = row.overdue
    return max(0, (_OF_LOCAL if is_local(row.owner) else _FURTHER_LIFETIMES) - given)


def _is_late(row: Row[Any], now: datetime) -> bool:
    return bool(row.expires_at <= now if row.overdue else is_expired(row.owner, row.expires_at, now))


def read_owners(engine: Engine, table: Table, *conditions: ColumnElement[bool]) -> Owners:
    """Return these rows of a table, and give a further lifetime to those that expired and may have a living owner."""
    with engine.connect() as connection:
        now = database_now(connection)
        rows = connection.execute(select(table).where(*conditions)).all()
    living = [row for row in rows if not is_dead(row, now)]
    if late := [row for row in living if _is_late(row, now)]:
        with engine.begin() as connection:
            for row in late:
                # One that was renewed or taken over meanwhile stays as it is.
                unchanged = [column == getattr(row, column.name) for column in table.columns]
                further = (
                    update(table).where(and_(*unchanged)).values(overdue=row.overdue + 1, expires_at=now + LIFETIME)
                )
                connection.execute(further)
    return Owners(living, [row for row in rows if row not in living])
