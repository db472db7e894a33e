"""`domain.text` applied to columns of many texts."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import map_texts, utf8_bytes
from campaign_sync.domain.text import NOT_UTF8, normalize_text

_ALLOWED_CONTROLS = (b"\t", b"\n", b"\r")

_FIRST_PRINTABLE = 0x20

_NONCHARACTERS = ("\ufffe".encode(), "\uffff".encode())

_BEGINS_NONCHARACTERS = b"\xef"
"""Searched first, because few texts contain it."""

_MOJIBAKE_BEGINNINGS = ((b"\x83", "Ã".encode()), (b"\xac", "â\u20ac".encode()), (b"\xef", "\ufffd".encode()))
"""How mojibake begins, with a byte of it that few texts contain: a search for one byte is a hundred times faster."""

_Mask = npt.NDArray[np.bool_]


def _byte_set(members: bytes) -> _Mask:
    return np.isin(np.arange(256), list(members))


_BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}]"

_CHANGED = rf"[\r\x{{300}}-\x{{10FFFF}}]|\A{_BLANK}|{_BLANK}\z"
"""For Arrow: the parts of a text that `normalize_text` changes. Below U+0300 everything is composed."""

_COMBINING = 0xCC
"""The first byte of U+0300. Later characters begin with it or a larger one; no earlier one has such a byte."""

_BLANK_BEGINNINGS = _byte_set(b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \xc2")
"""The bytes with which a text may begin that `_CHANGED` finds a blank at the beginning of."""

_BLANK_ENDS = _byte_set(b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0")
"""The bytes with which a text may end that `_CHANGED` finds a blank at the end of."""

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
        needs_rule=_are_changed,
        rule=normalize_text,
    )


def _are_changed(texts: pyarrow.Array) -> pyarrow.Array:
    """Return which texts `normalize_text` may change. Most are left alone by their bytes, without the expression."""
    changed = _may_be_changed(texts)
    doubtful = np.flatnonzero(changed)
    if len(doubtful):
        matched = pc.match_substring_regex(texts.take(pyarrow.array(doubtful)), _CHANGED)
        changed[doubtful] = pc.fill_null(matched, False).to_numpy(zero_copy_only=False)
    return pyarrow.array(changed)


def _may_be_changed(texts: pyarrow.Array) -> _Mask:
    """Return in which texts `_CHANGED` may match, by bytes that few texts contain."""
    utf8, starts = utf8_bytes(texts)
    begin, end = starts[:-1], starts[1:]
    may_be = np.zeros(len(texts), dtype=bool)
    written = np.flatnonzero(begin < end)
    may_be[written] = _BLANK_BEGINNINGS[utf8[begin[written]]] | _BLANK_ENDS[utf8[end[written] - 1]]
    rare = np.flatnonzero((utf8 >= _COMBINING) | (utf8 == ord("\r")))
    may_be[np.searchsorted(end, rare, side="right")] = True
    return may_be
