"""Rows as Parquet in memory, and frames whose columns share their memory."""

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import ParquetFile

from campaign_sync.domain import parquet_rows, shared_texts
from campaign_sync.domain.arrow_text import to_arrow
from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.domain.shared_texts import filter_rows

texts = st.sampled_from(["", "a", "ä"]) | st.none()
column = st.lists(texts, min_size=1, max_size=9)
kept = st.lists(st.booleans(), min_size=9, max_size=9)


@pytest.fixture(autouse=True, scope="module")
def many_rows() -> Iterator[None]:
    """Let three rows be many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_rows, "_FEW_ROWS", 2)
        patch.setattr(shared_texts, "_CONSTANT_CHUNK_ROWS", 3)
        yield


def people(first: list[str | None], second: list[str | None]) -> pd.DataFrame:
    """Return rows with equal, constant and other columns."""
    length = min(len(first), len(second))
    return pd.DataFrame(
        {
            "first": pd.Series(first[:length], dtype="str"),
            "again": pd.Series(first[:length], dtype="str"),
            "second": pd.Series(second[:length], dtype="str"),
            "same": pd.Series("contact", index=range(length), dtype="str"),
            "none": pd.Series(pd.NA, index=range(length), dtype="str"),
            "at": pd.Series(pd.Timestamp("2026-03-01", tz="UTC"), index=range(length)).dt.as_unit("us"),
        }
    )


@given(column, column, st.integers(1, 9))
def test_rows_are_read_as_they_were_written(first: list[str | None], second: list[str | None], size: int) -> None:
    frame = people(first, second)
    parts = (frame.iloc[start : start + size].astype({"first": "object"}) for start in range(0, len(frame), size))
    rows = ParquetRows.of(parts, frame.head(0))
    pd.testing.assert_frame_equal(rows.frame(), frame)
    pd.testing.assert_frame_equal(rows[["at", "first"]], frame[["at", "first"]])
    pd.testing.assert_series_equal(rows["second"], frame["second"])
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(rows.content)), frame)
    pd.testing.assert_frame_equal(ParquetRows(frame.to_parquet(index=False)).frame(), frame)
    assert len(rows) == len(frame)
    assert "again" in rows
    assert "third" not in rows
    with pytest.raises(ValueError, match="no column third"):
        rows.frame(["first", "third"])


def test_there_may_be_no_rows() -> None:
    frame = people(["a"], ["b"]).head(0)
    pd.testing.assert_frame_equal(ParquetRows.of([], frame).frame(), frame)


@given(column, column, kept, st.booleans())
def test_rows_are_filtered_as_pandas_does(
    first: list[str | None], second: list[str | None], chosen: list[bool], is_shifted: bool
) -> None:
    frame = people(first, second)
    frame.index += int(is_shifted)
    mask = np.array(chosen[: len(frame)])
    before = frame.copy()
    pd.testing.assert_frame_equal(filter_rows(frame, mask), frame[mask].reset_index(drop=True))
    pd.testing.assert_frame_equal(frame, before)


def test_equal_columns_and_repeated_texts_are_in_memory_once() -> None:
    frame = ParquetRows(people(["a", "b", None] * 3, ["c"] * 9).to_parquet(index=False)).frame()
    buffers = {
        name: {buffer.address for chunk in to_arrow(frame[name]).chunks for buffer in chunk.buffers() if buffer}
        for name in ("first", "again", "same")
    }
    assert buffers["first"] == buffers["again"]
    assert len(buffers["same"]) <= 3


def test_repeated_texts_alone_have_a_dictionary_and_no_column_names_its_least_value() -> None:
    frame = people([f"n{row}" for row in range(9)], [*"ababababa"])
    written = ParquetFile(io.BytesIO(ParquetRows.of([frame], frame.head(0)).content)).metadata.row_group(0)
    columns = [written.column(number) for number in range(written.num_columns)]
    assert [column.path_in_schema for column in columns if column.has_dictionary_page] == [
        "second",
        "same",
        "none",
        "at",
    ]
    assert not any(column.is_stats_set for column in columns)
