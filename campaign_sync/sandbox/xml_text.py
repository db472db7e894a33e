"""Text in XML as Axis writes it, and bulk decoding and encoding of long arrays of rows.

A million rows have about ten million elements. If all have the same markup, splitting and joining is enough.
"""

import re
import secrets
from collections.abc import Sequence
from typing import Any

_CELL, _ROW, _NIL = "\x01", "\x02", "\x03"  # XML can't carry them, so no received text holds them
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NESTED = re.compile(
    rb"<(?P<array>[\w.-]+)(?: [^<>]*)?>(?P<opening><(?P<row>[\w.-]+)(?: [^<>]*[^<>/])?>)<(?P<cell>[\w.-]+)/?>"
)
_UTF_8 = re.compile(
    rb"(?:<\?xml(?: version=[\"']1\.0[\"'])?(?: encoding=[\"']utf-8[\"'])?\s*\?>)?\s*<[^?]", re.IGNORECASE
)
_SIMPLE = bytes([*b"\t\n", *range(0x20, 0x100)])
"""All bytes except those that XML forbids and the carriage return, which a parser changes."""

PLACEHOLDER = secrets.token_hex(16)
"""The placeholder for extracted rows. It is random, so no call can hold it."""


def escape(text: str) -> str:
    """Escape text for use between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def in_ascii(text: str) -> str:
    """Turn characters beyond ASCII into references; beyond U+FFFF into two, one per surrogate."""
    if text.isascii():
        return text
    return _ASTRAL.sub(_surrogates, text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def extract_rows(body: bytes) -> tuple[bytes, list[list[str]]] | None:
    """Extract the rows of texts from a call; return it with one row, whose only text is `PLACEHOLDER`, and the rows.

    Return None unless all rows have the markup of the first one and their cells hold plain text; then the XML parser
    has to read the whole call.
    """
    start = _NESTED.search(body)
    if start is None or b"<!" in body[: start.end()] or not _UTF_8.match(body):
        return None
    begin, end = start.end("opening"), body.rfind(b"</%b>" % start["array"])
    inside = body[begin : max(end, begin)]
    if inside.translate(None, _SIMPLE) or b"]]>" in inside:
        return None
    try:
        text, opening, row, cell = (part.decode() for part in (inside, start["opening"], start["row"], start["cell"]))
    except UnicodeDecodeError:
        return None
    text = text.replace(f"<{cell}/>", f"<{cell}></{cell}>").replace("&gt;", ">").replace("&#13;", "\r")
    text = text.replace(f"</{cell}></{row}>{opening}<{cell}>", _ROW).replace(f"</{cell}><{cell}>", _CELL)
    text = text.removeprefix(f"<{cell}>").removesuffix(f"</{cell}></{row}>")
    references = text.count("&lt;") + text.count("&amp;")
    if "<" in text or text.count("&") != references or "\ufffe" in text or "\uffff" in text:
        return None
    rows = [line.split(_CELL) for line in text.replace("&lt;", "<").replace("&amp;", "&").split(_ROW)]
    left = f"<{cell}>{PLACEHOLDER}</{cell}></{row}>".encode()
    return body[:begin] + left + body[end:], rows


def encode_rows(name: str, rows: Sequence[Any]) -> str | None:
    """Encode rows as elements; None unless they are lists of the same number of texts or nils."""
    width = len(rows[0]) if rows and isinstance(rows[0], list) else 0
    if width == 0 or not all(isinstance(row, list) and len(row) == width for row in rows):
        return None
    try:
        text = _ROW.join([_CELL.join([_NIL if cell is None else cell for cell in row]) for row in rows])
    except TypeError:
        return None
    nils = sum(row.count(None) for row in rows)
    if [text.count(mark) for mark in (_CELL, _ROW, _NIL)] != [len(rows) * (width - 1), len(rows) - 1, nils]:
        return None
    opening, closing = f'<{name} soapenc:arrayType="soapenc:string[{width}]" xsi:type="soapenc:Array">', f"</{name}>"
    cell, nil = f'<{name} xsi:type="soapenc:string">', f'<{name} xsi:type="soapenc:string" xsi:nil="true"/>'
    text = in_ascii(escape(text)).replace(_CELL, closing + cell).replace(_ROW, closing + closing + opening + cell)
    text = f"{opening}{cell}{text}{closing}{closing}"
    return text.replace(f"{cell}{_NIL}{closing}", nil) if nils else text


def _surrogates(match: re.Match[str]) -> str:
    offset = ord(match[0]) - 0x10000
    return f"&#x{0xD800 + (offset >> 10):X};&#x{0xDC00 + (offset & 0x3FF):X};"
