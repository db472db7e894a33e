"""Usual formats of times, for recognizing the format of times in feedback rows."""

import re
from datetime import UTC, datetime, timedelta

_DAY_FIRST = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y")
_MONTH_FIRST = tuple(pattern.replace("%d/%m", "%m/%d") for pattern in _DAY_FIRST)

TIME_FORMATS = (
    *("epoch_ms", "iso", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
    *_DAY_FIRST,
    *_MONTH_FIRST,
)
"""The values of the setting `time_format` that are recognized."""

EPOCH_SECONDS = "seconds"
"""Seconds since 1970: recognized, but no `time_format`, because the product reads milliseconds."""

SWAPPED_FORMATS = {
    **dict(zip(_DAY_FIRST, _MONTH_FIRST, strict=True)),
    **dict(zip(_MONTH_FIRST, _DAY_FIRST, strict=True)),
}
"""For each format with slashes, the format with day and month exchanged."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"epoch_ms": (13, timedelta(milliseconds=1)), EPOCH_SECONDS: (10, timedelta(seconds=1))}
_FIRST_YEAR, _LAST_YEAR = 2002, 2099
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_event_time(text: str, time_format: str) -> datetime | None:
    """Return the time that `text` is in a format, as UTC if it has no zone.

    None if `text` isn't such a time, or one that no mailing can have: numbers and dates of birth may look like times.
    """
    try:
        time = _parse(text, time_format)
    except (ValueError, OverflowError):
        return None
    if time is None or not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _parse(text: str, time_format: str) -> datetime | None:
    if time_format in _UNITS:
        digits, unit = _UNITS[time_format]
        return _EPOCH + int(text) * unit if len(text) == digits and text.isascii() and text.isdigit() else None
    if time_format == "iso":
        return datetime.fromisoformat(text) if _ISO_DATE.match(text) else None
    return datetime.strptime(text, time_format)  # noqa: DTZ007 - parse_event_time() adds the zone
