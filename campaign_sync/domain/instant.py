"""Moments as a CRM writes them, in ISO 8601: compared as moments, never as text."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""In place of every later moment, PostgreSQL's `infinity` among them: every time zone can express it."""

CLOCK_TOLERANCE = timedelta(minutes=15)
"""How far the clocks of CRM and product may differ. What is dated later than that lies in the future."""

Instants = np.ndarray[Any, np.dtype[np.datetime64]]
"""Moments in UTC with microseconds (`datetime64[us]`); NaT where there is none."""

_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?", re.ASCII
)
_AFTER_THE_YEAR_9999 = re.compile(r"INFINITY|\d{5,}-\d\d-\d\d[T ][\d:.+Z-]+", re.ASCII)
_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)\Z", re.ASCII)
_SHORTEST = len("2026-03-01 12:00")
"""Shorter texts are dates, which name no moment."""


def parse_instant(value: object) -> datetime | None:
    """The moment that a value of a database names, in UTC; None where it names none.

    Texts are ISO 8601 with a blank or `T`, seconds and their fraction or none, `Z`, an offset or none; one without a
    zone counts as UTC. A date alone names no moment.
    """
    found = value if isinstance(value, datetime) else _read(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        in_utc = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        return LATEST if found.year > 1 else None
    return min(in_utc, LATEST)


def parse_instants(values: Sequence[object] | Instants) -> Instants:
    """What `parse_instant` makes of every value, NaT in place of None; `Instants` stay as they are."""
    if isinstance(values, np.ndarray):
        return values
    quickly = _instants_of_one_form(values)
    if quickly is not None:
        return quickly
    known = {value: parse_instant(value) for value in set(values)}
    naive = [None if at is None else at.replace(tzinfo=None) for at in map(known.get, values)]
    return np.array(naive, dtype="datetime64[us]")


def _read(text: str) -> datetime | None:
    written = text.strip().upper()
    if _AFTER_THE_YEAR_9999.fullmatch(written):
        return LATEST
    if not _ISO_8601.fullmatch(written):
        return None
    try:
        return datetime.fromisoformat(written[:10] + "T" + written[11:].replace(" ", ""))
    except ValueError:
        return None


def _instants_of_one_form(values: Sequence[object]) -> Instants | None:
    """Return the moments of texts of one format. Arrow reads them, and agrees with `parse_instant` where it can."""
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
    found: Instants = read.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    if np.nanmin(found) < np.datetime64("0001-01-01", "us"):
        return None
    return np.where(found > latest64(), latest64(), found)


def latest64() -> np.datetime64:
    """`LATEST` as an element of `Instants`."""
    return np.datetime64(LATEST.replace(tzinfo=None), "us")


def as_datetime(at: np.datetime64) -> datetime | None:
    """An element of `Instants` with its zone; None for NaT."""
    return None if np.isnat(at) else at.astype(datetime).replace(tzinfo=UTC)
