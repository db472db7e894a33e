"""Digests and fingerprints of rows."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.row_digests import (
    KnownRows,
    column_chunks,
    digests_of,
    fingerprint,
    frame_digest,
    row_digests,
)

COLUMNS = ["a", "b", "c"]
texts = st.sampled_from(["", "a", "ab", "ä", "😀", " "])
cells = st.lists(st.tuples(texts | st.none(), texts, texts), max_size=4)
rows = st.lists(st.binary(max_size=2), max_size=30)


def frame(rows: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS, dtype="str")


@given(cells, cells)
def test_two_frames_have_the_same_fingerprint_exactly_if_they_have_the_same_rows(
    first: list[Any], second: list[Any]
) -> None:
    def multiset(rows: list[Any]) -> list[tuple[str, ...]]:
        return sorted(tuple(cell or "" for cell in row) for row in rows)

    fingerprints = {fingerprint(row_digests(frame(rows), COLUMNS)) for rows in (first, second)}
    assert (len(fingerprints) == 1) is (multiset(first) == multiset(second))


@given(cells, cells)
def test_two_frames_have_the_same_digest_exactly_if_they_have_the_same_rows_in_the_same_order(
    first: list[Any], second: list[Any]
) -> None:
    assert (frame_digest(frame(first), COLUMNS) == frame_digest(frame(second), COLUMNS)) is (
        [[cell or "" for cell in row] for row in first] == [[cell or "" for cell in row] for row in second]
    )


def test_the_digest_of_a_frame_is_that_of_its_text() -> None:
    many = frame([(str(n), None, "ä") for n in range(20_001)])
    text = "".join(f"{n}\x01\x01ä\x01\x02" for n in range(20_001))
    assert frame_digest(many[many["a"] != ""], COLUMNS) == hashlib.sha256(text.encode()).hexdigest()


@given(cells)
def test_a_row_has_the_same_digest_from_a_frame_and_from_text(rows: list[Any]) -> None:
    lines = ["\x01".join(cell or "" for cell in row).encode() for row in rows]
    assert row_digests(frame(rows), COLUMNS).tolist() == digests_of(lines).tolist()


@given(rows, rows)
def test_known_rows_contain_exactly_their_rows(known: list[bytes], others: list[bytes]) -> None:
    assert KnownRows(digests_of(known)).contains(digests_of(others)).tolist() == [row in known for row in others]


def test_digests_that_end_with_null_bytes_are_distinguished() -> None:
    ends = [b"x" * 31 + b"\x00", b"y" * 30 + b"\x00\x00", b"y" * 31 + b"\x00"]
    digests = np.frombuffer(b"".join(ends), dtype="S32")
    assert KnownRows(digests[:2]).contains(digests).tolist() == [True, True, False]
    assert fingerprint(digests[:2]) != fingerprint(digests[[0, 2]])


def test_chunks_of_a_filtered_frame_have_exactly_its_rows() -> None:
    whole = frame([(str(n), None, "x") for n in range(10)])
    cut = whole[whole["a"] != "3"].iloc[1:]
    chunks = list(column_chunks(cut, ["a", "b"], 3))
    assert [chunk[0].to_pylist() for chunk in chunks] == [["1", "2", "4"], ["5", "6", "7"], ["8", "9"]]
    assert {value for chunk in chunks for value in chunk[1].to_pylist()} == {None}
