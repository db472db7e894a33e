"""The cursor of a sensor that serves all mandators: one JSON object with the cursor of each."""

import json
from collections.abc import Collection, Mapping


def parse_cursors(text: str | None, mandators: Collection[str]) -> dict[str, str] | None:
    """Return the cursors by mandator, without those of unknown mandators; None if the text isn't such an object.

    Without a text there are none yet.
    """
    if not text:
        return {}
    try:
        cursors = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(cursors, dict) or not all(isinstance(cursor, str) for cursor in cursors.values()):
        return None
    return {mandator: cursor for mandator, cursor in cursors.items() if mandator in mandators}


def format_cursors(cursors: Mapping[str, str]) -> str:
    """Return the text of cursors by mandator: the same for the same cursors, and never empty."""
    return json.dumps(cursors, ensure_ascii=False, sort_keys=True)
