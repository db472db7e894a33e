"""How attributes of recipients are kept: as JSON, or as values alone, under the layout that tells their names.

The second is what `addAll3` writes: a million recipients share a few layouts.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Layouts: TypeAlias = Mapping[str, tuple[str, ...]]
"""By the number of a layout, the names that its values stand for."""

_SEPARATOR = "\x01"  # XML can't carry it, so no text that came by wire holds it


def layouts(database: sqlite3.Connection) -> Layouts:
    """All layouts there are."""
    rows = database.execute("SELECT layout_id, names FROM layout")
    return {str(layout_id): tuple(json.loads(names)) for layout_id, names in rows}


def layout(database: sqlite3.Connection, names: Sequence[str]) -> str:
    """The number of the layout with these names, which is made where there is none."""
    text = json.dumps(list(names))
    database.execute("INSERT OR IGNORE INTO layout (names) VALUES (?)", [text])
    (layout_id,) = database.execute("SELECT layout_id FROM layout WHERE names = ?", [text]).fetchone()
    return str(layout_id)


def packed(layout_id: str, names: Sequence[str], values: Sequence[str | None]) -> str:
    """What to keep of values that came by wire. Where one is missing, that is JSON."""
    try:
        return _SEPARATOR.join([layout_id, *values])  # type: ignore[list-item]
    except TypeError:
        return json.dumps(dict(zip(names, values, strict=True)))


def parts(kept: str) -> list[str] | None:
    """The number of the layout and then the values; None for JSON."""
    return None if kept.startswith("{") else kept.split(_SEPARATOR)


def unpacked(kept: str, known: Layouts) -> dict[str, str | None]:
    """The attributes by their names."""
    found = parts(kept)
    if found is not None:
        return dict(zip(known[found[0]], found[1:], strict=True))
    attributes: dict[str, str | None] = json.loads(kept)
    return attributes
