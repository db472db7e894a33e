"""The storage format of attributes: JSON, or values only, with the number of a layout that holds their names.

`addAll3` writes the latter: a million recipients share a few layouts.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Layouts: TypeAlias = Mapping[str, tuple[str, ...]]
"""The attribute names of each layout, by its number."""

_SEPARATOR = "\x01"  # XML can't carry it, so no received text holds it


def layouts(database: sqlite3.Connection) -> Layouts:
    """Return all layouts."""
    rows = database.execute("SELECT layout_id, names FROM layout")
    return {str(layout_id): tuple(json.loads(names)) for layout_id, names in rows}


def layout(database: sqlite3.Connection, names: Sequence[str]) -> str:
    """Return the number of the layout with these names; create it if necessary."""
    text = json.dumps(list(names))
    database.execute("INSERT OR IGNORE INTO layout (names) VALUES (?)", [text])
    (layout_id,) = database.execute("SELECT layout_id FROM layout WHERE names = ?", [text]).fetchone()
    return str(layout_id)


def packed(layout_id: str, names: Sequence[str], values: Sequence[str | None]) -> str:
    """Encode received values for storage: as JSON if one is None."""
    try:
        return _SEPARATOR.join([layout_id, *values])  # type: ignore[list-item]
    except TypeError:
        return json.dumps(dict(zip(names, values, strict=True)))


def parts(stored: str) -> list[str] | None:
    """Split into the number of the layout and the values; None for JSON."""
    return None if stored.startswith("{") else stored.split(_SEPARATOR)


def unpacked(stored: str, known: Layouts) -> dict[str, str | None]:
    """Decode stored attributes, by their names."""
    layout_and_values = parts(stored)
    if layout_and_values is not None:
        return dict(zip(known[layout_and_values[0]], layout_and_values[1:], strict=True))
    attributes: dict[str, str | None] = json.loads(stored)
    return attributes
