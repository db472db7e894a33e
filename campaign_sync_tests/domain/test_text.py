"""Text for the vendor."""

import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from campaign_sync.domain.text import MOJIBAKE, XML_FORBIDDEN, normalize_text, vendor_text
from campaign_sync.domain.text_columns import has_forbidden_characters, normalized_texts


@given(st.text())
def test_normalized_text_is_composed_trimmed_and_stays_so(text: str) -> None:
    normalized = normalize_text(text)
    assert unicodedata.is_normalized("NFC", normalized)
    assert normalize_text(normalized) == normalized == normalized.strip()


ENCODABLE = st.characters(exclude_categories=["Cs"])
NEAR_BLANKS = st.sampled_from("a Zß\t\r\n\x0b\x1c\x85\xa0\u0300\u0308\u2003\u212b")


@given(st.lists(st.none() | st.text(ENCODABLE) | st.text(NEAR_BLANKS, max_size=4), max_size=20), st.booleans())
def test_a_column_is_normalized_like_single_texts(texts: list[str | None], in_chunks: bool) -> None:
    column = pd.Series(texts, index=range(3, 3 + len(texts)), dtype="str")
    if in_chunks:
        column = pd.concat([column[:2], column[2:]])
    expected = [None if text is None else normalize_text(text) for text in texts]
    pd.testing.assert_series_equal(normalized_texts(column), pd.Series(expected, index=column.index, dtype="str"))


def test_a_column_of_all_characters_is_normalized_like_single_texts() -> None:
    characters = [chr(point) for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    for texts in (characters, [f"a{character}z" for character in characters]):
        assert normalized_texts(pd.Series(texts, dtype="str")).to_list() == [normalize_text(text) for text in texts]


def test_composed_and_decomposed_umlauts_are_the_same_name() -> None:
    assert normalize_text(" Mu\u0308ller ") == normalize_text("Müller") == "Müller"


@given(st.characters())
def test_exactly_the_characters_that_an_xml_parser_refuses_are_forbidden(character: str) -> None:
    try:
        etree.fromstring(f"<x>&#{ord(character)};</x>")
        legal = True
    except etree.XMLSyntaxError:
        legal = False
    # libxml2 lets character references to the two non-characters through; XML 1.0 does not.
    assert bool(XML_FORBIDDEN.search(character)) is (not legal or character in "\ufffe\uffff")


@pytest.mark.parametrize("name", ["Müller", "José", "Øyvind", "Groß", "Łukasz", "“Bo”", "5 € – 6 €"])
@pytest.mark.parametrize("misread", ["latin-1", "cp1252"])
def test_utf8_decoded_with_another_encoding_is_recognized(name: str, misread: str) -> None:
    garbled = name.encode().decode(misread, errors="replace")
    recognized = bool(MOJIBAKE.search(garbled))
    # Only the Western European letters are looked for; others have too many innocent look-alikes.
    assert recognized or name == "Łukasz" or (misread == "latin-1" and name.startswith(("“", "5")))
    assert not MOJIBAKE.search(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("Köln", "Köln"),
        ("Köln".encode(), "Köln"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-7, "-7"),
        (1.5, "1.5"),
        (100.0, "100"),
        (-0.0, "0"),
        (0.1234567, "0.1234567"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (float("nan"), None),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+50"), "1" + "0" * 50),
        (date(2026, 11, 24), "2026-11-24T00:00:00+00:00"),
        (datetime(2026, 11, 24, 1, 2, 3, 456), "2026-11-24T01:02:03+00:00"),  # noqa: DTZ001 - as databases give it
        (datetime(2026, 11, 24, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-11-24T01:02:03+02:00"),
        (datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24T00:00:00+00:00"),
    ],
)
def test_values_are_written_as_the_vendor_writes_them(value: object, text: str | None) -> None:
    assert vendor_text(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9))
def test_a_decimal_keeps_its_value(value: Decimal) -> None:
    text = vendor_text(value)
    assert text is not None
    assert Decimal(text) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_its_value(value: float) -> None:
    text = vendor_text(value)
    assert text is not None
    assert float(text) == value
    assert "e" not in text.lower()


def test_bytes_in_another_encoding_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        vendor_text("Köln".encode("latin-1"))


def test_a_value_without_a_text_form_is_refused_by_its_kind_only() -> None:
    with pytest.raises(TypeError, match="a value of type list has no text form"):
        vendor_text(["anna@example.org"])


@given(st.text(st.sampled_from("\x00\x01\t\n\r\x1f\ufffd\ufffe\uffff\uf8ffa") | st.characters(codec="utf-8")))
def test_long_texts_are_searched_for_the_same_characters(text: str) -> None:
    assert has_forbidden_characters(text.encode()) is bool(XML_FORBIDDEN.search(text))
    separators = text.count("\x01")
    without = text.replace("\x01", "")
    assert has_forbidden_characters(text.encode(), separators) is bool(XML_FORBIDDEN.search(without))
