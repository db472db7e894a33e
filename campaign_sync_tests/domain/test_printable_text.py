"""Texts from other systems, displayed without control characters."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaign_sync.domain.printable_text import printable, printable_line


@given(st.text(st.characters(exclude_categories=[])))
@example("\x1b]0;title\x07 \x9b31m \u202eevil\u2066 \ud800 \U000e0041")
def test_control_characters_are_escaped(text: str) -> None:
    shown = printable(text)

    shown.encode()
    assert {unicodedata.category(character) for character in shown if character not in "\t\n"} & {"Cc", "Cs"} == set()
    assert not any(unicodedata.bidirectional(character) in {"RLO", "LRO", "RLE", "LRE", "PDF"} for character in shown)
    assert printable(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", ["Käufer & Söhne", "می‌خواهم", "👩‍👧", "a\tb\nc", "Ольга"])
def test_scripts_emoji_and_line_breaks_are_unchanged(text: str) -> None:
    assert printable(text) == text


def test_text_for_a_log_is_a_single_line() -> None:
    assert (
        printable_line("gone\n2026-11-26 ERROR all is well\r\n\x1b[2K") == r"gone 2026-11-26 ERROR all is well \x1b[2K"
    )
