"""Text that can be sent to the vendor and read back unchanged."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import map_texts
from campaign_sync.domain.message import Message

XML_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 can't contain, not even escaped. They include lone surrogates."""

_ALLOWED_CONTROLS = (b"\t", b"\n", b"\r")
_FIRST_PRINTABLE = 0x20
_NONCHARACTERS = ("\ufffe".encode(), "\uffff".encode())
_BEGINS_NONCHARACTERS = b"\xef"
"""Searched first, because few texts contain it."""

MOJIBAKE = re.compile(
    "Ã[\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|â\u20ac|\ufffd"
)
"""UTF-8 text that was decoded as latin-1 or cp1252 (`MÃ¼ller`), or has lost a character."""

_MOJIBAKE_BEGINNINGS = ((b"\x83", "Ã".encode()), (b"\xac", "â\u20ac".encode()), (b"\xef", "\ufffd".encode()))
"""How mojibake begins, with a byte of it that few texts contain: a search for one byte is a hundred times faster."""

_BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}]"

_CHANGED = rf"[\r\x{{300}}-\x{{10FFFF}}]|\A{_BLANK}|{_BLANK}\z"
"""For Arrow: the parts of a text that `normalize_text` changes. Below U+0300 everything is composed."""

NOT_UTF8 = "\uffff"
"""Marks bytes of a text that aren't UTF-8. No valid text contains it: it is one of `XML_FORBIDDEN`."""

_NOT_UTF8_MARK = NOT_UTF8.encode()

_BAD_BYTES = re.compile("[\udc80-\udcff]+")


def decode_marked(value: bytes) -> str:
    """Return the text, with `NOT_UTF8` in place of bytes that aren't UTF-8."""
    return _BAD_BYTES.sub(NOT_UTF8, value.decode(errors="surrogateescape"))


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


def normalize_text(value: str) -> str:
    """Return the composed form (NFC) without surrounding blanks, so that equal names compare equal.

    Line breaks become line feeds, as the vendor returns a carriage return as one, which would seem a change.
    """
    return unicodedata.normalize("NFC", value).replace("\r\n", "\n").replace("\r", "\n").strip()


def fold_case(text: str) -> str:
    """Return a text in the form in which case doesn't count, composed (NFC). It may have more characters: ß is ss."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def format_row_count(rows: int) -> Message:
    """Return a number of rows as text: `1 row`, `2 rows`."""
    return Message("{rows} row", rows=rows) if rows == 1 else Message("{rows} rows", rows=rows)


def name_spellings(names: Iterable[str]) -> dict[str, str]:
    """Return the spelling of each name by its normalized form.

    The normalized spelling itself has precedence over others; without it, an ambiguous name is left out.
    """
    by_normalized: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        by_normalized[normalize_text(name)].add(name)
    return {
        normalized: normalized if normalized in spelled else next(iter(spelled))
        for normalized, spelled in by_normalized.items()
        if normalized in spelled or len(spelled) == 1
    }


def normalized_texts(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return `normalize_text` of every text; missing values stay missing."""
    return map_texts(
        column,
        vectorized=lambda texts: texts,
        needs_rule=lambda texts: pc.match_substring_regex(texts, _CHANGED),
        rule=normalize_text,
    )


def vendor_text(value: object) -> str | None:
    """Return `value` as the vendor writes such values in text; None for None and NaN.

    Whole numbers have no separators, decimals a point, truth values are `true` and `false`, dates and times
    `YYYY-MM-DDTHH:MM:SS+hh:mm` (a time without a zone counts as UTC). Source: the vendor's SOAP 1.1 compatibility page.

    Raises:
        UnicodeDecodeError: `value` is bytes that aren't UTF-8.
        TypeError: `value` is of a kind that has no text form.
    """
    match value:
        case None:
            return None
        case str():
            return value
        case bytes():
            return value.decode("utf-8")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() | Decimal():
            return _number_text(Decimal(str(value)))
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat(timespec="seconds")
        case date():
            return f"{value.isoformat()}T00:00:00+00:00"
        case _:
            raise TypeError(f"a value of type {type(value).__name__} has no text form")


def _number_text(number: Decimal) -> str | None:
    if number.is_nan():
        return None
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
