"""Digests of rows, by which lists are compared with 32 bytes per row."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import to_arrow, utf8_bytes

CELL_SEPARATOR = "\x01"
"""Separator of the values in a row's text. No value can contain it, because XML can't."""

_ROW_END = "\x02"
"""The last value in each row's text where rows follow each other. No value can contain it, either."""

RowDigests: TypeAlias = npt.NDArray[np.bytes_]
"""The SHA-256 of each row's text, 32 bytes each."""

_DIGEST = np.dtype("S32")
_CHUNK_ROWS = 20_000
_TEXT = pa.large_string()


def row_digests(frame: pd.DataFrame, columns: Sequence[str]) -> RowDigests:
    """Return the digests of a frame's rows by these columns, in the frame's order. Missing equals empty.

    Rows are converted to text in chunks, so this takes little memory besides the digests.
    """
    digests = np.empty(len(frame), dtype=_DIGEST)
    for number, chunk in enumerate(column_chunks(frame, columns, _CHUNK_ROWS)):
        start = number * _CHUNK_ROWS
        digests[start : start + _CHUNK_ROWS] = digests_of(_lines(chunk))
    return digests


def digests_of(lines: Iterable[bytes]) -> RowDigests:
    """Return the digests of rows given as UTF-8 text with `CELL_SEPARATOR` between the values."""
    return np.frombuffer(b"".join([hashlib.sha256(text).digest() for text in lines]), dtype=_DIGEST)


def filter_digests(digests: RowDigests, kept: npt.NDArray[np.bool_]) -> RowDigests:
    """Return some of the digests; all of them without a copy."""
    return digests if kept.all() else digests[kept]


class KnownRows:
    """A set of rows by their digests. Thread-safe."""

    def __init__(self, digests: RowDigests) -> None:
        self._sorted = np.sort(digests)
        self._heads = _heads(self._sorted)

    def contains(self, digests: RowDigests) -> npt.NDArray[np.bool_]:
        """Return for each digest whether it is in the set."""
        if not len(self._sorted):
            return np.zeros(len(digests), dtype=bool)
        at = np.searchsorted(self._heads, _heads(digests))  # ten times as fast by numbers as by texts
        equal: npt.NDArray[np.bool_] = self._sorted[np.minimum(at, len(self._sorted) - 1)] == digests
        return equal


def fingerprint(digests: RowDigests) -> str:
    """Return the SHA-256 of the sorted digests, which is equal for equal multisets of rows in any order."""
    return hashlib.sha256(np.sort(digests).view(np.uint8).data).hexdigest()


def frame_digest(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """Return the SHA-256 of a frame's rows in their order, by these columns. Missing equals empty.

    It takes a third of the time of the digests of single rows.
    """
    digest, end_of_row = hashlib.sha256(), pa.scalar(_ROW_END, _TEXT)
    for chunk in column_chunks(frame, columns, _CHUNK_ROWS):
        digest.update(utf8_bytes(_joined([*chunk, end_of_row]))[0].data)
    return digest.hexdigest()


def column_chunks(frame: pd.DataFrame, columns: Sequence[str], rows: int) -> Iterator[list[pa.Array]]:
    """Yield these columns of a frame as Arrow strings, in chunks of `rows` rows."""
    whole = [to_arrow(frame[column]) for column in columns]
    for start in range(0, len(frame), rows):
        yield [_one_array(column.slice(start, rows)) for column in whole]


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _heads(digests: RowDigests) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of each digest as a number, which sorts like the digest."""
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


def _lines(columns: Sequence[pa.Array]) -> list[bytes]:
    lines: list[bytes] = _joined(columns).cast(pa.large_binary()).to_pylist()
    return lines


def _joined(columns: Sequence[pa.Array | pa.Scalar]) -> pa.Array:
    separator = pa.scalar(CELL_SEPARATOR, _TEXT)
    return pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")
