"""Reads the vendor's long answers in bulk, as bytes, without an object for each element.

Axis writes all elements of an array alike, so that what stands between any two values is the same few bytes every time.
Here these become separators. Whatever isn't written in just that way is left to the XML parser (see `wire`).
"""

import re
from collections import Counter
from dataclasses import dataclass

from campaign_sync.domain.row_digests import CELL_SEPARATOR
from campaign_sync.domain.text import XML_FORBIDDEN, holds_forbidden

ENCODING = b"http://schemas.xmlsoap.org/soap/encoding/"
INSTANCE = b"http://www.w3.org/2001/XMLSchema-instance"

_CELL, _ROW, _NIL, _AMPERSAND = CELL_SEPARATOR.encode(), b"\x02", b"\x03", b"\x04"
_NOTHING = b' xsi:nil="true"/>'

LONGEST_HEAD = 4096
"""Within so many bytes an array begins."""

_DECLARED = rb'(?: xmlns:soapenc="%s")?>' % re.escape(ENCODING)
"""The end of a tag, in which the encoding's prefix may be declared."""

_ROWS = re.compile(
    rb'<([\w.-]+) soapenc:arrayType="(?:soapenc|xsd):string\[\]\[\d+\]" xsi:type="soapenc:Array"'
    + _DECLARED
    + rb'(?=(<\1 soapenc:arrayType="(?:soapenc|xsd):string\[\d+\]" xsi:type="soapenc:Array">)'
    rb'(<\1 xsi:type="(?:soapenc|xsd):string")(?: xsi:nil="true"/)?>)'
)
"""The beginning of an array of rows and of its first row: the elements' name, a row's tag, a cell's tag's beginning."""

_PREFIXES = (b'xmlns:soapenc="%s"' % ENCODING, b'xmlns:xsi="%s"' % INSTANCE)
_UTF8 = re.compile(rb"<\?xml [^<>?]*encoding=[\"']utf-8[\"'][^<>?]*\?>", re.IGNORECASE)
_OPENED = re.compile(rb"<([\w.:-]+)[ >]")

_VALUES = re.compile(
    rb'<([\w.-]+) soapenc:arrayType="xsd:(\w+)\[\d+\]" xsi:type="soapenc:Array"' + _DECLARED + rb'(?=<\1 href="#)'
)
"""The beginning of an array of numbers or booleans, which Axis writes apart from where they belong."""

_VALUE = re.compile(
    rb'<multiRef id="\w+(" soapenc:root="0" soapenv:encodingStyle="%s" xsi:type="xsd:(\w+)"' % re.escape(ENCODING)
    + _DECLARED
    + rb")"
)
"""The beginning of the first such value: all that follows its id, and its type."""

_PLAIN = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"+-"
"""What ids, numbers and truths are made of."""

_REFERENCE = re.compile(rb"&[^&;<]{1,8};")
_SAMPLE_BYTES = 20_000
_BYTES_PER_STOP = 200
"""Stopping at one reference takes as long as looking through so many bytes."""

_NAMED = {b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'", b"amp": b"&"}


class UnexpectedShapeError(Exception):
    """Something is written otherwise than Axis does; the XML parser may well understand it."""


@dataclass(frozen=True)
class Rows:
    """Some rows of texts, written as UTF-8, with separators and a mark in place of a value that isn't set."""

    joined: bytes

    def lists(self) -> list[list[str | None]]:
        """Each row as a list, with None for a value that isn't set."""
        nil = _NIL.decode()
        rows: list[list[str | None]] = []
        for line in self.joined.decode().split(_ROW.decode()):
            row: list[str | None] = [*line.split(CELL_SEPARATOR)]
            rows.append([None if text == nil else text for text in row] if nil in line else row)
        return rows

    def texts(self) -> list[bytes]:
        """Each row as one text, its values separated by `CELL_SEPARATOR`; one that isn't set as an empty one."""
        return self.joined.replace(_NIL, b"").split(_ROW)


@dataclass(frozen=True)
class ListedRows:
    """Some rows of texts that the XML parser has read."""

    rows: list[list[str | None]]

    def lists(self) -> list[list[str | None]]:
        """As `Rows.lists`."""
        return self.rows

    def texts(self) -> list[bytes]:
        """As `Rows.texts`."""
        return [CELL_SEPARATOR.join(text or "" for text in row).encode() for row in self.rows]


@dataclass(frozen=True)
class RowForm:
    """How the rows of one answer are written."""

    head: bytes
    """Everything before the first row."""
    name: bytes
    row: bytes
    """The tag that begins a row."""
    cell: bytes
    """The beginning of the tag that begins a value."""

    @classmethod
    def at(cls, start: bytes) -> "RowForm | None":
        """The form of an answer that begins like this; None where it is another than Axis's."""
        found = _ROWS.search(start)
        if found is None:
            return None
        head = start[: found.end()]
        utf8 = _UTF8.match(head) or not head.startswith(b"<?xml")
        known = all(prefix in head for prefix in _PREFIXES)
        return cls(head, *found.groups()) if utf8 and known and b"</" not in head else None

    @property
    def row_end(self) -> bytes:
        """What ends a row, after its last value's own end."""
        return b"</%s>" % self.name

    @property
    def between_rows(self) -> bytes:
        """The end of a row and the beginning of the next."""
        return self.row_end + self.row

    def alone(self, rows: bytes) -> bytes:
        """An answer that consists of some of the rows."""
        return self.head + rows + b"".join(b"</%s>" % name for name in reversed(_OPENED.findall(self.head)))

    def read(self, rows: bytes) -> Rows:
        """Understand whole rows.

        Raises:
            UnusualError: they are written otherwise.
        """
        if any(mark in rows for mark in (_CELL, _ROW, _NIL, _AMPERSAND)):
            raise UnexpectedShapeError
        cell, end = self.cell + b">", self.row_end
        if _NOTHING in rows:
            rows = rows.replace(self.cell + _NOTHING, cell + _NIL + end)
        # Split by an expression and joined: bytes.replace would look for what is so long twice.
        rows = _CELL.join(re.split(re.escape(end + cell), rows)).replace(end + end + self.row + cell, _ROW)
        first, last = self.row + cell, end + end
        if len(rows) < len(first) + len(last) or not rows.startswith(first) or not rows.endswith(last):
            raise UnexpectedShapeError
        rows = rows[len(first) : -len(last)]
        if b"<" in rows or b">" in rows or holds_forbidden(rows, _CELL + _ROW + _NIL):
            raise UnexpectedShapeError
        try:
            rows.decode()
        except UnicodeDecodeError:
            raise UnexpectedShapeError from None
        return Rows(_resolved(rows))


def values(content: bytes) -> tuple[bytes, list[str]] | None:
    """The values of an answer that is an array of numbers or booleans, and the answer without them.

    None where it isn't one, or is written otherwise than Axis does.
    """
    array, value = _VALUES.search(content, 0, LONGEST_HEAD), content.find(b"<multiRef ")
    first = _VALUE.match(content, value) if array and value > 0 else None
    items_end, values_end = content.find(b'"/></', 0, value), content.rfind(b"</multiRef>")
    if array is None or first is None or array[2] != first[2] or min(items_end, values_end) < 0:
        return None
    if not all(prefix in content[: array.end()] for prefix in _PREFIXES):
        return None
    references = _separated(content[array.end() : items_end], b'<%s href="#' % array[1], b'"/>')
    found = _separated(content[value:values_end].replace(first[1], _CELL), b'<multiRef id="', b"</multiRef>")
    try:
        where = dict(each.split(_CELL.decode()) for each in found)
        read = [where[reference] for reference in references]
    except (KeyError, ValueError):
        return None
    if not read or _CELL in content or _ROW in content:
        return None
    rest = (
        content[: array.end()] + content[items_end + len(b'"/>') : value] + content[values_end + len(b"</multiRef>") :]
    )
    return rest, read


def _separated(written: bytes, before: bytes, after: bytes) -> list[str]:
    """What stands between the same bytes each time, of plain characters only; nothing where it isn't so.

    The last one's end isn't part of `written`.
    """
    plain = written.removeprefix(before).replace(after + before, _ROW)
    if not written.startswith(before) or plain.translate(None, _PLAIN + _CELL + _ROW):
        return []
    return plain.decode().split(_ROW.decode())


def _resolved(text: bytes) -> bytes:
    """The text with all references replaced by what they stand for."""
    if b"&" not in text:
        return text
    for reference in _frequent_references(text):
        text = text.replace(reference, _meaning(reference[1:-1]).replace(b"&", _AMPERSAND))
    first, *others = text.split(b"&")
    meanings: dict[bytes, bytes] = {}
    pieces = [first]
    for each in others:
        name, end, after = each.partition(b";")
        if not end:
            raise UnexpectedShapeError
        meaning = meanings.get(name)
        if meaning is None:
            meaning = meanings[name] = _meaning(name)
        pieces += meaning, after
    text = b"".join(pieces).replace(_AMPERSAND, b"&")
    try:
        text.decode()
    except UnicodeDecodeError:  # Axis writes a character beyond U+FFFF as two references, one for each half
        try:
            halves = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
            text = halves.decode("utf-16-le").encode()
        except UnicodeError:
            raise UnexpectedShapeError from None
    return text


def _frequent_references(text: bytes) -> list[bytes]:
    """Those for which looking through all of the text at once takes less than stopping at each."""
    sample = text[:_SAMPLE_BYTES]
    found = Counter(_REFERENCE.findall(sample))
    return [reference for reference, times in found.items() if times * _BYTES_PER_STOP > len(sample)]


def _meaning(name: bytes) -> bytes:
    """What a reference stands for; of half a character, its half."""
    if name in _NAMED:
        return _NAMED[name]
    hexadecimal = name.startswith(b"#x")
    digits = name[2:] if hexadecimal else name[1:]
    if not name.startswith(b"#") or not re.fullmatch(rb"[0-9A-Fa-f]{1,6}" if hexadecimal else rb"[0-9]{1,7}", digits):
        raise UnexpectedShapeError
    number = int(digits, 16 if hexadecimal else 10)
    half = hexadecimal and 0xD800 <= number <= 0xDFFF and len(digits) == 4
    if number > 0x10FFFF or (XML_FORBIDDEN.search(chr(number)) and not half):
        raise UnexpectedShapeError
    return chr(number).encode("utf-8", "surrogatepass")
