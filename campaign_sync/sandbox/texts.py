"""Texts in XML: as Axis writes them, and long arrays of rows read and written at once.

A million rows are some ten million elements. Where they are all written alike, it is enough to split and to join.
"""

import re
from collections.abc import Sequence
from typing import Any

from lxml import etree

_CELL, _ROW, _NIL = "\x01", "\x02", "\x03"  # XML can't carry them, so no text that came by wire holds them
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def escape(text: str) -> str:
    """Text as it stands between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def in_ascii(text: str) -> str:
    """Text in which everything beyond ASCII is a reference, or two of them, one for each half."""
    if text.isascii():
        return text
    return _ASTRAL.sub(_surrogates, text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def rows_alike(array: etree._Element) -> list[list[str]] | None:
    """The texts in an array of arrays; None where a row isn't written like the first one, or holds more than texts."""
    if not len(array) or not len(array[0]):
        return None
    row, cell = array[0].tag, array[0][0].tag
    text = etree.tostring(array, encoding="unicode", with_tail=False)
    start = text.index(">") + 1
    end = text.index(">", start) + 1
    opening = text[start:end]
    text = text[end : text.rindex("<")].replace(f"<{cell}/>", f"<{cell}></{cell}>")
    text = text.replace(f"</{cell}></{row}>{opening}<{cell}>", _ROW).replace(f"</{cell}><{cell}>", _CELL)
    text = text.removeprefix(f"<{cell}>").removesuffix(f"</{cell}></{row}>")
    text = text.replace("&gt;", ">").replace("&#13;", "\r")
    if "<" in text or text.count("&") != text.count("&lt;") + text.count("&amp;"):
        return None
    text = text.replace("&lt;", "<").replace("&amp;", "&")
    return [line.split(_CELL) for line in text.split(_ROW)]


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
