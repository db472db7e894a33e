"""Texts in XML: as Axis writes them, and long arrays of rows read and written at once.

A million rows are some ten million elements. Where they are all written alike, it is enough to split and to join.
"""

import re
import secrets
from collections.abc import Sequence
from typing import Any

_CELL, _ROW, _NIL = "\x01", "\x02", "\x03"  # XML can't carry them, so no text that came by wire holds them
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NESTED = re.compile(
    rb"<(?P<array>[\w.-]+)(?: [^<>]*)?>(?P<opening><(?P<row>[\w.-]+)(?: [^<>]*[^<>/])?>)<(?P<cell>[\w.-]+)/?>"
)
_UTF_8 = re.compile(
    rb"(?:<\?xml(?: version=[\"']1\.0[\"'])?(?: encoding=[\"']utf-8[\"'])?\s*\?>)?\s*<[^?]", re.IGNORECASE
)
_SIMPLE = bytes([*b"\t\n", *range(0x20, 0x100)])
"""All bytes but those that XML forbids, and the carriage return, of which a parser makes something else."""

STAND_IN = secrets.token_hex(16)
"""Stands where rows were taken out. Nobody else can have written it."""


def escape(text: str) -> str:
    """Text as it stands between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def in_ascii(text: str) -> str:
    """Text in which everything beyond ASCII is a reference, or two of them, one for each half."""
    if text.isascii():
        return text
    return _ASTRAL.sub(_surrogates, text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def rows_apart(body: bytes) -> tuple[bytes, list[list[str]]] | None:
    """Rows of texts, and the call without them: `STAND_IN` is the only text of the only row that is left there.

    None unless rows are written like the first one, and their cells hold nothing but text that is as it seems. Then a
    parser has to find out what the call is.
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
    left = f"<{cell}>{STAND_IN}</{cell}></{row}>".encode()
    return body[:begin] + left + body[end:], rows


def written_rows(name: str, rows: Sequence[Any]) -> str | None:
    """An element for each row, with an element for each text; None unless they are lists of as many texts or nils."""
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
