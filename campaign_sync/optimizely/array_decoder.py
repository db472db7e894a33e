"""Decoder for the vendor's long arrays: works on bytes, without an object for each element.

Axis writes all elements of an array alike, so the markup between two values is always the same few bytes. They are
replaced by separators. Anything written differently is left to the XML parser (see `soap_encoding`).
"""

import re
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lxml import etree

from campaign_sync.domain.row_digests import CELL_SEPARATOR
from campaign_sync.domain.text_columns import has_forbidden_characters
from campaign_sync.errors import CampaignSyncError

ENCODING = b"http://schemas.xmlsoap.org/soap/encoding/"
INSTANCE = b"http://www.w3.org/2001/XMLSchema-instance"

_CELL, _ROW, _NIL = CELL_SEPARATOR.encode(), b"\x02", b"\x03"
_NOTHING = b' xsi:nil="true"/>'

LONGEST_HEAD = 4096
"""An array begins within this many bytes."""

_DECLARED = rb'(?: xmlns:soapenc="%s")?>' % re.escape(ENCODING)
"""The end of a tag, which may declare the prefix of the SOAP encoding."""

_ROWS = re.compile(
    rb'<([\w.-]+) soapenc:arrayType="(?:soapenc|xsd):string\[\]\[\d+\]" xsi:type="soapenc:Array"'
    + _DECLARED
    + rb'(?=(<\1 soapenc:arrayType="(?:soapenc|xsd):string\[\d+\]" xsi:type="soapenc:Array">)'
    rb'(<\1 xsi:type="(?:soapenc|xsd):string")(?: xsi:nil="true"/)?>)'
)
"""The start of an array of rows and of its first row: element name, row tag, beginning of the cell tag."""

_PREFIXES = (b'xmlns:soapenc="%s"' % ENCODING, b'xmlns:xsi="%s"' % INSTANCE)
_UTF8 = re.compile(rb"<\?xml [^<>?]*encoding=[\"']utf-8[\"'][^<>?]*\?>", re.IGNORECASE)
_OPENED = re.compile(rb"<([\w.:-]+)[ >]")

_VALUES = re.compile(
    rb'<([\w.-]+) soapenc:arrayType="xsd:(\w+)\[\d+\]" xsi:type="soapenc:Array"' + _DECLARED + rb'(?=<\1 href="#)'
)
"""The start of an array of numbers or booleans, whose values Axis writes as `multiRef` elements after it."""

_VALUE = re.compile(
    rb'<multiRef id="\w+(" soapenc:root="0" soapenv:encodingStyle="%s" xsi:type="xsd:(\w+)"' % re.escape(ENCODING)
    + _DECLARED
    + rb")"
)
"""The start of the first such value: everything after its id, and its type."""

_PLAIN = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"+-"
"""The bytes of ids, numbers and booleans."""

_SHORT = 4096
"""Values in fewer bytes, such as booleans, are separated by Python sooner than they are handed over to Arrow."""

STAND_INS = b"\x7f~^|`{}\\[]$%*+=?!@()/,'\""
"""Bytes to put between values while XML is parsed, which can't contain the separators. No reference contains one."""

SURROGATES = re.compile(rb"&#x(d[89ab][0-9a-f]{2});&#x(d[c-f][0-9a-f]{2});", re.IGNORECASE)
"""A character beyond U+FFFF as Axis writes it: two references, one for each half."""


class UnexpectedShapeError(CampaignSyncError):
    """The bytes aren't written the way Axis writes them; the XML parser may still understand them."""


@dataclass(frozen=True)
class JoinedRows:
    """Rows of texts as one UTF-8 text, with separators between values and a mark for each nil."""

    joined: bytes

    def lists(self) -> list[list[str | None]]:
        """Return each row as a list, with None for nil."""
        nil = _NIL.decode()
        rows: list[list[str | None]] = []
        for line in self.joined.decode().split(_ROW.decode()):
            row: list[str | None] = [*line.split(CELL_SEPARATOR)]
            rows.append([None if text == nil else text for text in row] if nil in line else row)
        return rows

    def texts(self) -> list[bytes]:
        """Return each row as one text, its values separated by `CELL_SEPARATOR`; nil becomes an empty text."""
        return self.joined.replace(_NIL, b"").split(_ROW)


@dataclass(frozen=True)
class ParsedRows:
    """Rows of texts that the XML parser has read."""

    rows: list[list[str | None]]

    def lists(self) -> list[list[str | None]]:
        """See `JoinedRows.lists`."""
        return self.rows

    def texts(self) -> list[bytes]:
        """See `JoinedRows.texts`."""
        return [CELL_SEPARATOR.join(text or "" for text in row).encode() for row in self.rows]


@dataclass(frozen=True)
class RowForm:
    """The markup of the rows of one answer."""

    head: bytes
    """Everything before the first row."""
    name: bytes
    row: bytes
    """The tag that begins a row."""
    cell: bytes
    """The beginning of the tag that begins a cell."""

    @classmethod
    def at(cls, start: bytes) -> "RowForm | None":
        """Return the markup of an answer from its first bytes; None if it isn't that of Axis."""
        match = _ROWS.search(start)
        if match is None:
            return None
        head = start[: match.end()]
        utf8 = _UTF8.match(head) or not head.startswith(b"<?xml")
        known = all(prefix in head for prefix in _PREFIXES)
        return cls(head, *match.groups()) if utf8 and known and b"</" not in head else None

    @property
    def row_end(self) -> bytes:
        """The end tag of a row, which follows the end tag of its last cell."""
        return b"</%s>" % self.name

    @property
    def between_rows(self) -> bytes:
        """The end of a row and the start of the next."""
        return self.row_end + self.row

    def alone(self, rows: bytes | bytearray) -> bytes:
        """Return a complete answer that holds only these rows."""
        return self.head + rows + b"".join(b"</%s>" % name for name in reversed(_OPENED.findall(self.head)))

    def read(self, rows: bytes | bytearray) -> JoinedRows:
        """Decode whole rows.

        Raises:
            UnexpectedShapeError: they aren't written the way Axis writes them.
        """
        cell, end = self.cell + b">", self.row_end
        marks = _unused_bytes(rows)
        between = (end + cell, marks[:1]), (end + end + self.row + cell, marks[1:2])
        text = _replaced(rows, *between)
        if _NOTHING in text:
            text = _replaced(text, (self.cell + _NOTHING, cell + marks[2:] + end), *between)
        first, last = self.row + cell, end + end
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            raise UnexpectedShapeError
        text = text[len(first) : -len(last)]
        if b"<" in text or b">" in text or has_forbidden_characters(text):
            raise UnexpectedShapeError
        resolved = _resolved(text, marks)
        return JoinedRows(resolved.translate(bytes.maketrans(marks, _CELL + _ROW + _NIL)))


def _unused_bytes(rows: bytes | bytearray) -> bytes:
    """Return three bytes that rows don't contain: they stand for the separators while the rows are decoded."""
    unused = bytes(islice((byte for byte in STAND_INS if byte not in rows), 3))
    if len(unused) < 3:
        raise UnexpectedShapeError
    return unused


def _replaced(text: bytes | bytearray, *replacements: tuple[bytes, bytes]) -> bytes:
    """Replace long patterns, one after the other. Arrow takes half as long as Python, and other threads go on."""
    ends = pa.py_buffer(np.array([0, len(text)], np.int64))
    replaced = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(text)])
    for pattern, replacement in replacements:
        replaced = pc.replace_substring(replaced, pattern=pattern, replacement=replacement)
    result: bytes = replaced[0].as_py()
    return result


def values(content: bytes) -> tuple[bytes, list[str]] | None:
    """Return an answer without the values of its array of numbers or booleans, and these values.

    None if it isn't such an array, or isn't written the way Axis writes it.
    """
    array, value = _VALUES.search(content, 0, LONGEST_HEAD), content.find(b"<multiRef ")
    first = _VALUE.match(content, value) if array and value > 0 else None
    items_end, values_end = content.find(b'"/></', 0, value), content.rfind(b"</multiRef>")
    if array is None or first is None or array[2] != first[2] or min(items_end, values_end) < 0:
        return None
    if not all(prefix in content[: array.end()] for prefix in _PREFIXES):
        return None
    references = _separated(content[array.end() : items_end], b'<%s href="#' % array[1], b'"/>')
    elements, attributes = content[value:values_end], first[1]
    if len(elements) < _SHORT:
        elements = elements.replace(attributes, _CELL)
    else:
        elements = _replaced(elements, (attributes, _CELL))
    written = _separated(elements, b'<multiRef id="', b"</multiRef>", 2)
    by_id = dict(zip(written[::2], written[1::2], strict=True))
    try:
        read = [*map(by_id.__getitem__, references)]
    except KeyError:
        return None
    if not read or _CELL in content or _ROW in content:
        return None
    rest = (
        content[: array.end()] + content[items_end + len(b'"/>') : value] + content[values_end + len(b"</multiRef>") :]
    )
    return rest, read


def _separated(written: bytes, before: bytes, after: bytes, parts: int = 1) -> list[str]:
    """Return the texts between `before` and `after`; an empty list unless they consist of `_PLAIN` bytes only.

    Args:
        written: the texts; it lacks the last `after`.
        before: the markup before each text.
        after: the markup after each text.
        parts: how many texts each of them consists of, with `_CELL` between them; all are returned.
    """
    plain = written.removeprefix(before).replace(after + before, _ROW)
    row = _CELL * (parts - 1)
    separators = plain.translate(None, _PLAIN)
    if not written.startswith(before) or separators != row + (_ROW + row) * separators.count(_ROW):
        return []
    return plain.replace(_ROW, _CELL).decode().split(CELL_SEPARATOR)


def _resolved(text: bytes, marks: bytes) -> bytes:
    """Return a text with all character references resolved, by the XML parser.

    Args:
        text: without markup.
        marks: bytes that no reference may mean.
    """
    try:
        text.decode()
    except UnicodeDecodeError:
        raise UnexpectedShapeError from None
    if b"&" not in text:
        return text
    written = text.replace(b"\r", b"&#13;")  # a parser turns a bare one into a line feed
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        element = etree.fromstring(b"<t>%s</t>" % SURROGATES.sub(joined_surrogates, written), parser)
    except etree.XMLSyntaxError:
        raise UnexpectedShapeError from None
    resolved = (element.text or "").encode()
    if len(element) or any(_count(resolved, mark) != _count(text, mark) for mark in marks):
        raise UnexpectedShapeError
    return resolved


def joined_surrogates(halves: re.Match[bytes]) -> bytes:
    """Return the reference to a character of which `SURROGATES` has matched both halves."""
    high, low = int(halves[1], 16), int(halves[2], 16)
    return b"&#x%x;" % (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _count(text: bytes, byte: int) -> int:
    """Count a frequent byte, in a tenth of the time of `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == byte))
