"""Whole columns of text at once: Arrow's kernels where they agree with a rule, the rule itself for the other values."""

from collections.abc import Callable, Iterator

import pandas as pd
import pyarrow
import pyarrow.compute as pc

_ROWS_AT_A_TIME = 65_536
"""So few texts become objects of Python at once, however many rows there are."""


def map_texts(
    column: "pd.Series[str]",
    bulk: Callable[[pyarrow.Array], pyarrow.Array],
    odd: Callable[[pyarrow.Array], pyarrow.Array],
    rule: Callable[[str], str | None],
) -> "pd.Series[str]":
    """What `rule` makes of every text of a column; missing values stay missing, and so does what it makes None of.

    Args:
        column: texts.
        bulk: does the same to texts that aren't odd.
        odd: which texts only `rule` does justice to.
        rule: the definition.
    """
    made = [_by_rule(part, bulk(part), pc.fill_null(odd(part), False), rule) for part in iter_chunks(column)]
    return text_column(pyarrow.chunked_array(made, pyarrow.large_string()), column.index)


def to_arrow(column: "pd.Series[str]") -> pyarrow.ChunkedArray:
    """A column as Arrow holds it; nothing is copied where it is text already."""
    array = pyarrow.array(column.astype("str"), pyarrow.large_string(), from_pandas=True)
    return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])


def iter_chunks(column: "pd.Series[str]") -> Iterator[pyarrow.Array]:
    """A column in pieces, each small enough to become objects of Python."""
    for chunk in to_arrow(column).chunks:
        for start in range(0, len(chunk), _ROWS_AT_A_TIME):
            yield chunk.slice(start, _ROWS_AT_A_TIME)


def text_column(array: pyarrow.Array | pyarrow.ChunkedArray, index: pd.Index | None = None) -> "pd.Series[str]":
    """Arrow's texts as a column, without a copy."""
    column: pd.Series[str] = array.to_pandas().astype("str")
    return column if index is None else column.set_axis(index)


def _by_rule(
    part: pyarrow.Array, bulk: pyarrow.Array, odd: pyarrow.Array, rule: Callable[[str], str | None]
) -> pyarrow.Array:
    if not pc.any(odd).as_py():
        return bulk
    distinct = part.filter(odd).dictionary_encode()
    ruled = pyarrow.array([rule(text) for text in distinct.dictionary.to_pylist()], pyarrow.large_string())
    return pc.replace_with_mask(bulk, odd, ruled.take(distinct.indices))
