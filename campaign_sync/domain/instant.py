"""Parsing of times as CRMs write them, in ISO 8601, so that times are never compared as text."""

import re
from datetime import UTC, datetime, timedelta

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""In place of all later times, such as PostgreSQL's `infinity`. It can be converted to every time zone."""

CLOCK_TOLERANCE = timedelta(minutes=15)
"""How far the clocks of CRM and product may differ. Later times count as future."""


_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?", re.ASCII
)
_AFTER_THE_YEAR_9999 = re.compile(r"INFINITY|\d{5,}-\d\d-\d\d[T ][\d:.+Z-]+", re.ASCII)


def parse_instant(value: object) -> datetime | None:
    """Return a database value as a time in UTC; None if it is no time.

    Texts are ISO 8601 with a blank or `T`, optionally with seconds, their fraction, and `Z` or an offset; without a
    zone they count as UTC. A date alone is no time.
    """
    time = value if isinstance(value, datetime) else _parse(value) if isinstance(value, str) else None
    if time is None:
        return None
    try:
        in_utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        return LATEST if time.year > 1 else None
    return min(in_utc, LATEST)


def _parse(text: str) -> datetime | None:
    written = text.strip().upper()
    if _AFTER_THE_YEAR_9999.fullmatch(written):
        return LATEST
    if not _ISO_8601.fullmatch(written):
        return None
    try:
        return datetime.fromisoformat(written[:10] + "T" + written[11:].replace(" ", ""))
    except ValueError:
        return None
