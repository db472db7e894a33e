"""Decoder for the vendor's long arrays: works on bytes, without an object for each element.

Axis writes all elements of an array alike, so the markup between two values is always the same few bytes. They are
replaced by separators. Anything written differently is left to the XML parser (see `soap_encoding`).
"""

import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.row_digests import CELL_SEPARATOR
from campaign_sync.domain.text import XML_FORBIDDEN
from campaign_sync.domain.text_columns import has_forbidden_characters
from campaign_sync.errors import CampaignSyncError

ENCODING = b"http://schemas.xmlsoap.org/soap/encoding/"
INSTANCE = b"http://www.w3.org/2001/XMLSchema-instance"

_CELL, _ROW, _NIL, _AMPERSAND = CELL_SEPARATOR.encode(), b"\x02", b"\x03", b"\x04"
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

_REFERENCE = re.compile(rb"&[^&;<]{1,8};")
_SAMPLE_BYTES = 20_000
_BYTES_PER_STOP = 200
"""Handling one reference takes as long as scanning this many bytes."""

_NAMED = {b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'", b"amp": b"&"}


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

    def alone(self, rows: bytes) -> bytes:
        """Return a complete answer that holds only these rows."""
        return self.head + rows + b"".join(b"</%s>" % name for name in reversed(_OPENED.findall(self.head)))

    def read(self, rows: bytes) -> JoinedRows:
        """Decode whole rows.

        Raises:
            UnexpectedShapeError: they aren't written the way Axis writes them.
        """
        if has_forbidden_characters(rows):  # such as one of the marks that are put in below
            raise UnexpectedShapeError
        cell, end = self.cell + b">", self.row_end
        between = (end + cell, _CELL), (end + end + self.row + cell, _ROW)
        rows = _replaced(rows, *between)
        if _NOTHING in rows:
            rows = _replaced(rows, (self.cell + _NOTHING, cell + _NIL + end), *between)
        first, last = self.row + cell, end + end
        if len(rows) < len(first) + len(last) or not rows.startswith(first) or not rows.endswith(last):
            raise UnexpectedShapeError
        rows = rows[len(first) : -len(last)]
        if b"<" in rows or b">" in rows:
            raise UnexpectedShapeError
        try:
            rows.decode()
        except UnicodeDecodeError:
            raise UnexpectedShapeError from None
        return JoinedRows(_resolved(rows))


def _replaced(text: bytes, *replacements: tuple[bytes, bytes]) -> bytes:
    """Replace long patterns, one after the other. Arrow takes half as long as Python, and other threads go on."""
    replaced = pa.scalar(text, pa.large_binary())
    for pattern, replacement in replacements:
        replaced = pc.replace_substring(replaced, pattern=pattern, replacement=replacement)
    result: bytes = replaced.as_py()
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
    written = _separated(content[value:values_end].replace(first[1], _CELL), b'<multiRef id="', b"</multiRef>", 2)
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


def _resolved(text: bytes) -> bytes:
    """Return the text with all character references resolved."""
    if b"&" not in text:
        return text
    for reference in _frequent_references(text):
        text = text.replace(reference, _meaning(reference[1:-1]).replace(b"&", _AMPERSAND))
    first, *others = text.split(b"&")
    meanings: dict[bytes, bytes] = {}
    pieces = [first]
    for piece in others:
        name, end, after = piece.partition(b";")
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
    """Return the references so frequent that one `bytes.replace` is faster than handling each occurrence."""
    sample = text[:_SAMPLE_BYTES]
    occurrences = Counter(_REFERENCE.findall(sample))
    return [reference for reference, times in occurrences.items() if times * _BYTES_PER_STOP > len(sample)]


def _meaning(name: bytes) -> bytes:
    """Return the character of a reference, or the surrogate if it names half a character."""
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
