"""Rules for texts, applied to whole columns: by Arrow's kernels where these agree with the rule, else by the rule."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

ArrowTexts = TypeVar("ArrowTexts", pyarrow.Array, pyarrow.ChunkedArray)

_CHUNK_ROWS = 65_536
"""The largest number of texts that become Python objects at the same time."""


def map_texts(
    column: "pd.Series[str]",
    vectorized: Callable[[pyarrow.Array], pyarrow.Array],
    needs_rule: Callable[[pyarrow.Array], pyarrow.Array],
    rule: Callable[[str], str | None],
) -> "pd.Series[str]":
    """Return `rule` of every text of a column. Missing values stay missing; None becomes a missing value.

    Args:
        column: texts.
        vectorized: gives the same as `rule` for all texts that don't need it.
        needs_rule: selects the texts for which only `rule` is right.
        rule: the definition.
    """
    mapped = [
        _map_chunk(chunk, vectorized(chunk), pc.fill_null(needs_rule(chunk), False), rule)
        for chunk in iter_chunks(column)
    ]
    return text_column(pyarrow.chunked_array(mapped, pyarrow.large_string()), column.index)


def match_texts(column: "pd.Series[str]", pattern: str, may_match: Callable[[bytes], bool]) -> "pd.Series[bool]":
    """Return in which texts of a column a pattern matches. Missing values don't.

    Args:
        column: texts.
        pattern: a regular expression of Arrow's.
        may_match: says of the UTF-8 of many texts, one after the other, whether the pattern may match in one of them.
            A search for a few bytes costs a tenth of the regular expression.
    """
    matched = [
        pc.fill_null(pc.match_substring_regex(chunk, pattern), False).to_numpy(zero_copy_only=False)
        if may_match(utf8_bytes(chunk)[0].tobytes())
        else np.zeros(len(chunk), dtype=bool)
        for chunk in iter_chunks(column)
    ]
    return pd.Series(np.concatenate(matched) if matched else np.zeros(0, dtype=bool), index=column.index)


def is_among(column: ArrowTexts, texts: Iterable[str]) -> ArrowTexts:
    """Return in Arrow which texts of a column are among others. Missing ones aren't."""
    return pc.is_in(column.cast(pyarrow.large_string()), pyarrow.array(list(texts), pyarrow.large_string()))


def to_arrow(column: "pd.Series[str]") -> pyarrow.ChunkedArray:
    """Return a column as Arrow strings, without a copy if it contains text already."""
    texts = column if isinstance(column.dtype, pd.StringDtype) else column.astype("str")
    array = pyarrow.array(texts, pyarrow.large_string(), from_pandas=True)
    return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])


def iter_chunks(column: "pd.Series[str]") -> Iterator[pyarrow.Array]:
    """Yield a column in chunks that are small enough to become Python objects."""
    for chunk in to_arrow(column).chunks:
        for start in range(0, len(chunk), _CHUNK_ROWS):
            yield chunk.slice(start, _CHUNK_ROWS)


def text_column(array: pyarrow.Array | pyarrow.ChunkedArray, index: pd.Index | None = None) -> "pd.Series[str]":
    """Return Arrow strings as a column, without a copy."""
    column: pd.Series[str] = array.to_pandas().astype("str")
    return column if index is None else column.set_axis(index)


def utf8_bytes(chunk: pyarrow.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the texts of large strings one after the other, and where each begins; the last number is the end."""
    _, offsets, texts = chunk.buffers()
    if texts is None:  # there is none, or all are empty
        return np.zeros(0, np.uint8), np.zeros(len(chunk) + 1, np.int64)
    starts = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    return np.frombuffer(texts, np.uint8)[starts[0] : starts[-1]], starts - starts[0]


def _map_chunk(
    chunk: pyarrow.Array, vectorized: pyarrow.Array, needs_rule: pyarrow.Array, rule: Callable[[str], str | None]
) -> pyarrow.Array:
    if not pc.any(needs_rule).as_py():
        return vectorized
    distinct = chunk.filter(needs_rule).dictionary_encode()
    ruled = pyarrow.array([rule(text) for text in distinct.dictionary.to_pylist()], pyarrow.large_string())
    return pc.replace_with_mask(vectorized, needs_rule, ruled.take(distinct.indices))
