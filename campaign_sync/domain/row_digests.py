"""Rows known by their digests: enough to tell whether two lists hold the same, in 32 bytes a row."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import to_arrow

CELL_SEPARATOR = "\x01"
"""Between the values of a row's text. No value can hold it, because XML can't carry it."""

RowDigests: TypeAlias = npt.NDArray[np.bytes_]
"""The SHA-256 of each row's text, of 32 bytes each."""

_DIGEST = np.dtype("S32")
_CHUNK_ROWS = 20_000
_TEXT = pa.large_string()


def row_digests(frame: pd.DataFrame, columns: Sequence[str]) -> RowDigests:
    """The digests of a frame's rows by some of its columns, in the frame's order. A missing value equals an empty one.

    Rows are made into texts some thousands at a time, so it takes little memory beside the digests.
    """
    return digests_of(text for chunk in column_chunks(frame, columns, _CHUNK_ROWS) for text in _lines(chunk))


def digests_of(lines: Iterable[bytes]) -> RowDigests:
    """The digests of rows whose texts are at hand: UTF-8, with `CELL_SEPARATOR` between values."""
    return np.frombuffer(b"".join([hashlib.sha256(text).digest() for text in lines]), dtype=_DIGEST)


class KnownRows:
    """Tells of any row whether it is one of some rows. Safe to use from many threads at once."""

    def __init__(self, digests: RowDigests) -> None:
        self._sorted = np.sort(digests)
        self._heads = _heads(self._sorted)

    def have(self, digests: RowDigests) -> npt.NDArray[np.bool_]:
        """For each digest, whether it is among them."""
        if not len(self._sorted):
            return np.zeros(len(digests), dtype=bool)
        at = np.searchsorted(self._heads, _heads(digests))  # of numbers: of texts it takes ten times as long
        equal: npt.NDArray[np.bool_] = self._sorted[np.minimum(at, len(self._sorted) - 1)] == digests
        return equal


def fingerprint(digests: RowDigests) -> str:
    """SHA-256 over the sorted digests: equal for equal multisets of rows, in any order."""
    return hashlib.sha256(np.sort(digests).tobytes()).hexdigest()


def column_chunks(frame: pd.DataFrame, columns: Sequence[str], rows: int) -> Iterator[list[pa.Array]]:
    """Some columns of a frame as Arrow texts, `rows` rows at a time."""
    whole = [to_arrow(frame[column]) for column in columns]
    for start in range(0, len(frame), rows):
        yield [column.slice(start, rows).combine_chunks() for column in whole]


def _heads(digests: RowDigests) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each digest as a number, in the order of the digests."""
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


def _lines(columns: Sequence[pa.Array]) -> list[bytes]:
    separator = pa.scalar(CELL_SEPARATOR, _TEXT)
    joined = pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")
    lines: list[bytes] = joined.cast(pa.large_binary()).to_pylist()
    return lines
