"""`domain.text` applied to columns of many texts."""

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import map_texts
from campaign_sync.domain.text import NOT_UTF8, normalize_text

_ALLOWED_CONTROLS = (b"\t", b"\n", b"\r")

_FIRST_PRINTABLE = 0x20

_NONCHARACTERS = ("\ufffe".encode(), "\uffff".encode())

_BEGINS_NONCHARACTERS = b"\xef"
"""Searched first, because few texts contain it."""

_MOJIBAKE_BEGINNINGS = ((b"\x83", "Ã".encode()), (b"\xac", "â\u20ac".encode()), (b"\xef", "\ufffd".encode()))
"""How mojibake begins, with a byte of it that few texts contain: a search for one byte is a hundred times faster."""

_BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}]"

_CHANGED = rf"[\r\x{{300}}-\x{{10FFFF}}]|\A{_BLANK}|{_BLANK}\z"
"""For Arrow: the parts of a text that `normalize_text` changes. Below U+0300 everything is composed."""

_NOT_UTF8_MARK = NOT_UTF8.encode()


def has_forbidden_characters(utf8: bytes, separators: int = 0) -> bool:
    """Return whether valid UTF-8 contains an `XML_FORBIDDEN` character, besides some controls. For long texts.

    Args:
        utf8: the text.
        separators: how many controls it contains that were put in, and counted, before.
    """
    controls = np.count_nonzero(np.frombuffer(utf8, np.uint8) < _FIRST_PRINTABLE) - separators
    if controls and controls != sum(map(utf8.count, _ALLOWED_CONTROLS)):
        return True
    return _BEGINS_NONCHARACTERS in utf8 and any(noncharacter in utf8 for noncharacter in _NONCHARACTERS)


def may_have_mojibake(utf8: bytes) -> bool:
    """Return whether `MOJIBAKE` may match in one of the texts of this UTF-8. For long texts."""
    return any(rare in utf8 and beginning in utf8 for rare, beginning in _MOJIBAKE_BEGINNINGS)


def has_not_utf8(utf8: bytes) -> bool:
    """Return whether UTF-8 contains `NOT_UTF8`."""
    return _BEGINS_NONCHARACTERS in utf8 and _NOT_UTF8_MARK in utf8


def normalized_texts(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return `normalize_text` of every text; missing values stay missing."""
    return map_texts(
        column,
        vectorized=lambda texts: texts,
        needs_rule=lambda texts: pc.match_substring_regex(texts, _CHANGED),
        rule=normalize_text,
    )
