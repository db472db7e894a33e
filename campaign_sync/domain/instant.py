"""Parsing of times as CRMs write them, in ISO 8601, so that times are never compared as text."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""In place of all later times, such as PostgreSQL's `infinity`. It can be converted to every time zone."""

CLOCK_TOLERANCE = timedelta(minutes=15)
"""How far the clocks of CRM and product may differ. Later times count as future."""

Instants = np.ndarray[Any, np.dtype[np.datetime64]]
"""Times in UTC with microseconds (`datetime64[us]`); NaT if missing."""

_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?", re.ASCII
)
_AFTER_THE_YEAR_9999 = re.compile(r"INFINITY|\d{5,}-\d\d-\d\d[T ][\d:.+Z-]+", re.ASCII)
_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)\Z", re.ASCII)
_SHORTEST = len("2026-03-01 12:00")
"""Shorter texts are dates, which aren't times."""


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


def parse_instants(values: Sequence[object] | Instants) -> Instants:
    """Return `parse_instant` of every value, NaT in place of None; `Instants` are returned unchanged."""
    if isinstance(values, np.ndarray):
        return values
    uniform = _parse_uniform_texts(values)
    if uniform is not None:
        return uniform
    known = {value: parse_instant(value) for value in set(values)}
    naive = [None if at is None else at.replace(tzinfo=None) for at in map(known.get, values)]
    return np.array(naive, dtype="datetime64[us]")


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


def _parse_uniform_texts(values: Sequence[object]) -> Instants | None:
    """Return the times of texts of the same format; None if Arrow can't parse them as `parse_instant` does."""
    first = next((value for value in values if value is not None), None)
    if first is None:
        return np.full(len(values), "NaT", dtype="datetime64[us]")
    if not isinstance(first, str):
        return None
    try:
        texts = pa.array(values, pa.large_string())
        if pc.min(pc.utf8_length(texts)).as_py() < _SHORTEST:
            return None
        read = texts.cast(pa.timestamp("us", "UTC" if _ZONE.search(first[_SHORTEST:]) else None))
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return None
    moments: Instants = read.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    if np.nanmin(moments) < np.datetime64("0001-01-01", "us"):
        return None
    return np.where(moments > latest64(), latest64(), moments)


def latest64() -> np.datetime64:
    """Return `LATEST` as an element of `Instants`."""
    return np.datetime64(LATEST.replace(tzinfo=None), "us")


def as_datetimes(moments: Instants) -> list[datetime | None]:
    """Return `as_datetime` of every element, several times as fast."""
    return [None if at is None else at.replace(tzinfo=UTC) for at in moments.tolist()]


def as_datetime(at: np.datetime64) -> datetime | None:
    """Return an element of `Instants` as a datetime in UTC; None for NaT."""
    return None if np.isnat(at) else at.astype(datetime).replace(tzinfo=UTC)
