"""Text that can be sent to the vendor and read back unchanged."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

from campaign_sync.domain.message import Message

XML_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 can't contain, not even escaped. They include lone surrogates."""


MOJIBAKE = re.compile(
    "Ã[\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|â\u20ac|\ufffd"
)
"""UTF-8 text that was decoded as latin-1 or cp1252 (`MÃ¼ller`), or has lost a character."""


NOT_UTF8 = "\uffff"
"""Marks bytes of a text that aren't UTF-8. No valid text contains it: it is one of `XML_FORBIDDEN`."""


_BAD_BYTES = re.compile("[\udc80-\udcff]+")


def decode_marked(value: bytes) -> str:
    """Return the text, with `NOT_UTF8` in place of bytes that aren't UTF-8."""
    return _BAD_BYTES.sub(NOT_UTF8, value.decode(errors="surrogateescape"))


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
