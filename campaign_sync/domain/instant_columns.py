"""`domain.instant` applied to columns of many times."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.instant import LATEST, parse_instant

Instants = np.ndarray[Any, np.dtype[np.datetime64]]
"""Times in UTC with microseconds (`datetime64[us]`); NaT if missing."""

_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)\Z", re.ASCII)

_SHORTEST = len("2026-03-01 12:00")
"""Shorter texts are dates, which aren't times."""


def parse_instants(values: Sequence[object] | pa.Array | Instants) -> Instants:
    """Return `parse_instant` of every value, NaT in place of None; `Instants` are returned unchanged."""
    if isinstance(values, np.ndarray):
        return values
    uniform = _parse_uniform_texts(values)
    if uniform is not None:
        return uniform
    if isinstance(values, pa.Array):
        values = values.to_pylist()
    known = {value: parse_instant(value) for value in set(values)}
    naive = [None if at is None else at.replace(tzinfo=None) for at in map(known.get, values)]
    return np.array(naive, dtype="datetime64[us]")


def _parse_uniform_texts(values: Sequence[object] | pa.Array) -> Instants | None:
    """Return the times of texts of the same format; None if Arrow can't parse them as `parse_instant` does."""
    if isinstance(values, pa.Array):
        known = values.drop_null()
        first = known[0].as_py() if len(known) else None
    else:
        first = next((value for value in values if value is not None), None)
    if first is None:
        return np.full(len(values), "NaT", dtype="datetime64[us]")
    if not isinstance(first, str):
        return None
    try:
        texts = values if isinstance(values, pa.Array) else pa.array(values, pa.large_string())
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
    """Return every element as a datetime in UTC; None for NaT."""
    return [None if at is None else at.replace(tzinfo=UTC) for at in moments.tolist()]
