"""Patterns are searched for in whole columns, and first in the bytes of many texts at once."""

import itertools
import re
from collections.abc import Callable

import pandas as pd
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain import arrow_text
from campaign_sync.domain.arrow_text import match_texts, text_column
from campaign_sync.domain.text import MOJIBAKE, NOT_UTF8
from campaign_sync.domain.text_columns import has_not_utf8, may_have_mojibake

UGLY = st.text(
    st.sampled_from("Ã¤\x83\x80â\u20ac\ufffd\uffff\ufffea ’ł\xac") | st.characters(codec="utf-8"), max_size=6
)
COLUMNS = st.lists(st.none() | UGLY, max_size=12)


@given(texts=COLUMNS, first=st.integers(0, 12), parts=st.lists(st.integers(0, 12), max_size=3))
@pytest.mark.parametrize(
    ("pattern", "may_match"),
    [(MOJIBAKE.pattern, may_have_mojibake), (NOT_UTF8, has_not_utf8)],
    ids=["mojibake", "mark"],
)
def test_a_pattern_matches_where_its_regular_expression_does(
    pattern: str, may_match: Callable[[bytes], bool], texts: list[str | None], first: int, parts: list[int]
) -> None:
    """However the column is sliced and cut into chunks."""
    whole = pyarrow.array(texts, pyarrow.large_string())
    cuts = [0, *sorted(min(part, len(texts)) for part in parts), len(texts)]
    chunks = [whole[start:end] for start, end in itertools.pairwise(cuts)]
    column = text_column(pyarrow.chunked_array(chunks, pyarrow.large_string()))[first:]
    expected = [bool(text and re.search(pattern, text)) for text in texts[first:]]
    assert match_texts(column, pattern, may_match).tolist() == expected
    assert match_texts(column, pattern, may_match).index.equals(column.index)


def test_many_texts_are_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_text, "_CHUNK_ROWS", 2)
    column = pd.Series(["a", "b", "c", "KÃ¶ln", "d"], dtype="str")
    searched: list[bytes] = []

    def may_match(utf8: bytes) -> bool:
        searched.append(utf8)
        return may_have_mojibake(utf8)

    assert match_texts(column, MOJIBAKE.pattern, may_match).tolist() == [False, False, False, True, False]
    assert searched == [b"ab", "cKÃ¶ln".encode(), b"d"]
