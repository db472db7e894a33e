"""Values of a database as frames of text."""

from datetime import UTC, date, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.text_frame import text_frame
from campaign_sync.domain.instant import parse_instant
from campaign_sync.domain.text import NOT_UTF8, vendor_text

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
OTHERS = st.booleans() | st.integers() | st.floats(allow_infinity=False) | st.dates() | TEXTS.map(str.encode)
MOMENTS = st.datetimes() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]))


def frame(*columns: list[object]) -> pd.DataFrame:
    """The first column is of texts, the second one of moments."""
    return text_frame(columns, ["text", "at"], ["contact.text", "contact.at"], "at")


@given(st.lists(st.none() | TEXTS) | st.lists(st.none() | TEXTS | OTHERS))
def test_values_of_any_kind_become_what_the_vendor_writes(values: list[object]) -> None:
    expected = pd.Series([vendor_text(value) for value in values], dtype="str", name="text")
    pd.testing.assert_series_equal(frame(values, [None] * len(values))["text"], expected)


@given(st.lists(st.none() | MOMENTS | st.sampled_from(["2026-03-01", 1, Decimal(1), date(2026, 3, 1)])))
def test_moments_of_any_zone_become_utc_and_what_is_none_is_missing(moments: list[object]) -> None:
    column = frame([None] * len(moments), list(moments))["at"]
    assert column.dtype == "datetime64[us, UTC]"
    assert [None if pd.isna(at) else at.to_pydatetime() for at in column] == [parse_instant(at) for at in moments]


def test_bytes_are_text_where_they_are_utf8_and_other_buffers_are_none() -> None:
    assert frame(["a", "ä".encode()], [None, None])["text"].tolist() == ["a", "ä"]
    assert frame(["a", "bä".encode("latin-1")], [None, None])["text"].tolist() == ["a", f"b{NOT_UTF8}"]
    with pytest.raises(CrmError, match=r"contact\.id holds text that isn't UTF-8 .* in 1 of 2 rows read"):
        text_frame([["a", "ä".encode("latin-1")]], ["entity_id"], ["contact.id"], "at")
    with pytest.raises(CrmError, match=r"contact\.text: a value of type memoryview has no text form; give its text"):
        frame(["a", memoryview(b"a")], [None, None])
