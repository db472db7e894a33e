"""The ways in which times are usually written, to be recognized where nobody has told which one it is."""

import re
from datetime import UTC, datetime, timedelta

_DAY_FIRST = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y")
_MONTH_FIRST = tuple(pattern.replace("%d/%m", "%m/%d") for pattern in _DAY_FIRST)

TIME_FORMATS = (
    *("epoch_ms", "iso", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
    *_DAY_FIRST,
    *_MONTH_FIRST,
)
"""The `time_format`s that are recognized."""

EPOCH_SECONDS = "seconds"
"""Recognized, but no `time_format`: the product reads milliseconds."""

SWAPPED_FORMATS = {
    **dict(zip(_DAY_FIRST, _MONTH_FIRST, strict=True)),
    **dict(zip(_MONTH_FIRST, _DAY_FIRST, strict=True)),
}
"""The format with the places of day and month exchanged, for those where that can be overlooked."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"epoch_ms": (13, timedelta(milliseconds=1)), EPOCH_SECONDS: (10, timedelta(seconds=1))}
_FIRST_YEAR, _LAST_YEAR = 2002, 2099
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_event_time(text: str, time_format: str) -> datetime | None:
    """The time that `text` tells in a format, UTC where it names no zone.

    None where it tells none, or one that can't be of a mailing: numbers and dates of birth look like times, too.
    """
    try:
        found = _read(text, time_format)
    except (ValueError, OverflowError):
        return None
    if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _read(text: str, time_format: str) -> datetime | None:
    if time_format in _UNITS:
        digits, unit = _UNITS[time_format]
        return _EPOCH + int(text) * unit if len(text) == digits and text.isascii() and text.isdigit() else None
    if time_format == "iso":
        return datetime.fromisoformat(text) if _ISO_DATE.match(text) else None
    return datetime.strptime(text, time_format)  # noqa: DTZ007 - moment() adds the zone
