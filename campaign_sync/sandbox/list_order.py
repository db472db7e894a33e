"""The order of the recipients in a list, cached until the list changes."""

import secrets
import sqlite3
from array import array

from campaign_sync.sandbox.stored_attributes import layouts, unpacked

_MAX_ORDERS = 8
"""The number of cached orders; each takes eight bytes per recipient."""

_COLUMNS = {None: "position", "Recipient": "key", "email": "address"}
"""The sort columns that aren't attributes."""


class Orders:
    """Caches the positions of recipients in the order of a column. Only for use within transactions.

    A list has a version that triggers remove with every change, by whatever process.
    """

    def __init__(self) -> None:
        self._cache: dict[tuple[int, str | None, bool], tuple[str, array[int]]] = {}

    def positions(
        self, database: sqlite3.Connection, list_id: int, order_by: str | None, ascending: bool
    ) -> "array[int]":
        """Return the `position` of every recipient in the list, in order; equal ones in the order of insertion."""
        version, key = _version(database, list_id), (list_id, order_by, ascending)
        cached = self._cache.pop(key, None)
        if cached is None or cached[0] != version:
            cached = version, _sorted(database, list_id, order_by, ascending)
        self._cache[key] = cached
        if len(self._cache) > _MAX_ORDERS:
            del self._cache[next(iter(self._cache))]
        return cached[1]


def _version(database: sqlite3.Connection, list_id: int) -> str:
    """Return the list's version; a new, unique one if it has none."""
    database.execute("INSERT OR IGNORE INTO list_version VALUES (?, ?)", [list_id, secrets.token_hex(16)])
    return str(database.execute("SELECT version FROM list_version WHERE list_id = ?", [list_id]).fetchone()[0])


def _sorted(database: sqlite3.Connection, list_id: int, order_by: str | None, ascending: bool) -> "array[int]":
    known, direction = layouts(database), "ASC" if ascending else "DESC"
    database.create_function("ordering", 1, lambda stored: unpacked(stored, known).get(order_by or ""))
    rows = database.execute(
        "SELECT position FROM recipient WHERE list_id = ? "  # noqa: S608 - all ours
        f"ORDER BY {_COLUMNS.get(order_by, 'ordering(attributes)')} {direction}, position",
        [list_id],
    )
    return array("q", (position for (position,) in rows))
