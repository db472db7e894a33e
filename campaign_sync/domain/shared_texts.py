"""Frames whose columns share their memory: a text that is in every row is there once, equal columns are one."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import text_column, to_arrow

_CONSTANT_CHUNK_ROWS = 65_536
"""Rows per chunk of a column with the same text in every row."""


def constant_texts(text: str | None, rows: int) -> "pd.Series[str]":
    """Return a column with the same text in every row. All chunks share their memory."""
    chunk = pyarrow.repeat(pyarrow.scalar(text, pyarrow.large_string()), min(rows, _CONSTANT_CHUNK_ROWS))
    chunks = [chunk] * (rows // _CONSTANT_CHUNK_ROWS) + [chunk[: rows % _CONSTANT_CHUNK_ROWS]]
    return text_column(pyarrow.chunked_array(chunks, pyarrow.large_string()))


class SharedTexts:
    """Makes columns of one frame share their memory; pass it all of them, one after the other."""

    def __init__(self) -> None:
        self._columns: dict[int, list[pd.Series[str]]] = {}

    def share(self, column: "pd.Series[str]") -> "pd.Series[str]":
        """Return an equal column with the index 0, 1, …, which takes less memory where that is possible."""
        texts = to_arrow(column)
        if len(texts) > _CONSTANT_CHUNK_ROWS and _is_constant(texts):
            return constant_texts(texts[0].as_py(), len(texts))
        alike = self._columns.setdefault(texts.nbytes, [])
        for known in alike:
            if to_arrow(known).equals(texts):
                return known
        alike.append(text_column(texts))
        return alike[-1]


def filter_rows(frame: pd.DataFrame, kept: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Return some rows of a frame, in the index 0, 1, …; the frame itself if it has that index and all are kept.

    What has no other reference is given up column by column, so that there are never two whole frames.
    """
    if kept.all() and frame.index.equals(pd.RangeIndex(len(frame))):
        return frame
    rest, shared, columns = frame.copy(deep=False), SharedTexts(), {}
    del frame
    mask = pyarrow.array(kept)
    for name in rest.columns.tolist():
        column = rest.pop(name)
        columns[name] = (
            shared.share(text_column(to_arrow(column).filter(mask)))
            if column.dtype == "str"
            else column[kept].reset_index(drop=True)
        )
        del column
    return pd.DataFrame(columns)


def _is_constant(texts: pyarrow.ChunkedArray) -> bool:
    first = texts[0]
    if not first.is_valid:
        return bool(texts.null_count == len(texts))
    return bool(texts[-1] == first) and not texts.null_count and pc.all(pc.equal(texts, first)).as_py()
