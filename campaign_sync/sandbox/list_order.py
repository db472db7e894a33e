"""The order of the recipients in a list: sorted once, and remembered for as long as the list stays as it is."""

import secrets
import sqlite3
from array import array

from campaign_sync.sandbox.stored_attributes import layouts, unpacked

_MOST = 8
"""So many orders are remembered; one takes eight bytes for each recipient."""

_COLUMNS = {None: "position", "Recipient": "key", "email": "address"}
"""What isn't sorted by an attribute."""


class Orders:
    """Remembers the positions of recipients in the order of a column. Only for use within transactions.

    A list has a version until somebody changes it: triggers see to that, whoever it is.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str | None, bool], tuple[str, array[int]]] = {}

    def positions(
        self, database: sqlite3.Connection, list_id: int, order_by: str | None, ascending: bool
    ) -> "array[int]":
        """The `position` of every recipient in the list, in order; among equals, the order of adding."""
        version, key = _version(database, list_id), (list_id, order_by, ascending)
        remembered = self._known.pop(key, None)
        if remembered is None or remembered[0] != version:
            remembered = version, _sorted(database, list_id, order_by, ascending)
        self._known[key] = remembered
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return remembered[1]


def _version(database: sqlite3.Connection, list_id: int) -> str:
    """What the list as it is now is known by. It is given at the first need of it, and never twice."""
    database.execute("INSERT OR IGNORE INTO list_version VALUES (?, ?)", [list_id, secrets.token_hex(16)])
    return str(database.execute("SELECT version FROM list_version WHERE list_id = ?", [list_id]).fetchone()[0])


def _sorted(database: sqlite3.Connection, list_id: int, order_by: str | None, ascending: bool) -> "array[int]":
    known, direction = layouts(database), "ASC" if ascending else "DESC"
    database.create_function("ordering", 1, lambda kept: unpacked(kept, known).get(order_by or ""))
    found = database.execute(
        "SELECT position FROM recipient WHERE list_id = ? "  # noqa: S608 - all ours
        f"ORDER BY {_COLUMNS.get(order_by, 'ordering(attributes)')} {direction}, position",
        [list_id],
    )
    return array("q", (position for (position,) in found))
