from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.row_digests import KnownRows, column_chunks, digests_of, fingerprint, row_digests

COLUMNS = ["a", "b", "c"]
texts = st.sampled_from(["", "a", "ab", "ä", "😀", " "])
cells = st.lists(st.tuples(texts | st.none(), texts, texts), max_size=4)
rows = st.lists(st.binary(max_size=2), max_size=30)


def frame(found: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=COLUMNS, dtype="str")


@given(cells, cells)
def test_two_frames_have_one_fingerprint_exactly_when_they_hold_the_same_rows(one: list[Any], other: list[Any]) -> None:
    def multiset(found: list[Any]) -> list[tuple[str, ...]]:
        return sorted(tuple(cell or "" for cell in row) for row in found)

    first, second = (fingerprint(row_digests(frame(found), COLUMNS)) for found in (one, other))
    assert (first == second) is (multiset(one) == multiset(other))


@given(cells)
def test_a_row_has_the_same_digest_wherever_it_was_read(found: list[Any]) -> None:
    read = ["\x01".join(cell or "" for cell in row).encode() for row in found]
    assert row_digests(frame(found), COLUMNS).tolist() == digests_of(read).tolist()


@given(rows, rows)
def test_known_rows_tell_of_each_row_whether_it_is_one_of_them(some: list[bytes], others: list[bytes]) -> None:
    assert KnownRows(digests_of(some)).contains(digests_of(others)).tolist() == [each in some for each in others]


def test_a_digest_that_ends_with_nulls_is_told_from_others() -> None:
    ends = [b"x" * 31 + b"\x00", b"y" * 30 + b"\x00\x00", b"y" * 31 + b"\x00"]
    digests = np.frombuffer(b"".join(ends), dtype="S32")
    assert KnownRows(digests[:2]).contains(digests).tolist() == [True, True, False]
    assert fingerprint(digests[:2]) != fingerprint(digests[[0, 2]])


def test_chunks_of_a_frame_that_was_cut_have_its_rows_and_no_others() -> None:
    whole = frame([(str(n), None, "x") for n in range(10)])
    cut = whole[whole["a"] != "3"].iloc[1:]
    chunks = list(column_chunks(cut, ["a", "b"], 3))
    assert [chunk[0].to_pylist() for chunk in chunks] == [["1", "2", "4"], ["5", "6", "7"], ["8", "9"]]
    assert {value for chunk in chunks for value in chunk[1].to_pylist()} == {None}
