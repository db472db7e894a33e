"""The vendor's wire: SOAP 1.1, rpc/encoded, as Apache Axis 1.4 reads and writes it.

zeep can't write nested arrays in this encoding and is slow at long flat ones, so arrays are written and read here, in
both directions; ordinary calls stay with zeep (see `contract`). What is long goes in bulk (see `bulk_writing` and
`bulk_reading`), because a list of 100,000 recipients is some million cells.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
from lxml import etree

from campaign_sync.domain.text import XML_FORBIDDEN
from campaign_sync.optimizely import array_decoder, array_encoder
from campaign_sync.optimizely.errors import UnsendableError

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
SCHEMA = "http://www.w3.org/2001/XMLSchema"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

_PREFIXES = {SCHEMA: "xsd", ENCODING: "soapenc"}
_NIL, _ARRAY_TYPE = f"{{{INSTANCE}}}nil", f"{{{ENCODING}}}arrayType"

_CARRIAGE_RETURN = {"\r": "&#13;"}
"""A parser turns a bare one into a line feed; only as a reference does it arrive as itself."""

_DEEPEST = 4
"""So many arrays may stand in one another; the vendor's rows are arrays in an array."""

_MOST_CHARACTERS = 256 * 1024**2
"""So many characters and elements one answer may stand for, if it has fewer: with references that can be."""

_MOST_FOR_ONE_VALUE = 50
"""So many elements an answer of a single value may have."""


class NotSoapError(ValueError):
    """The bytes aren't a complete SOAP envelope."""


class HostileXmlError(NotSoapError):
    """The bytes hold what SOAP forbids and attacks are made of: a document type, or references without end."""


@dataclass(frozen=True)
class Part:
    """One parameter of an operation as its WSDL has it: name, type (`xsd:long`), and whether it is an array."""

    name: str
    type: str
    is_array: bool = False


@dataclass(frozen=True)
class Answer:
    """A parsed envelope: either the fault's text, or the operation's result element and what it refers to."""

    fault: str | None
    envelope: Any = field(repr=False)
    result: Any = field(repr=False)
    references: dict[str, Any] = field(repr=False)
    fault_code: str = ""
    size: int = 0
    """In bytes, as received."""
    values: list[str] | None = field(default=None, repr=False)
    """Of an array of numbers or booleans that was read in bulk; the result element lacks them."""


def type_name(namespace: str, name: str) -> str:
    """`xsd:long` for the type `name` of the XML Schema namespace, and the like for the SOAP encoding's."""
    return f"{_PREFIXES.get(namespace, 'xsd')}:{name}"


def envelope(namespace: str, operation: str, arguments: Iterable[bytes]) -> bytes:
    """A request whose arguments are written already."""
    head = (
        f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="{ENVELOPE}" xmlns:xsd="{SCHEMA}" '
        f'xmlns:xsi="{INSTANCE}" xmlns:soapenc="{ENCODING}"><e:Body>'
        f'<r:{operation} xmlns:r={quoteattr(namespace)} e:encodingStyle="{ENCODING}">'
    )
    return b"".join([head.encode(), *arguments, f"</r:{operation}></e:Body></e:Envelope>".encode()])


@dataclass(frozen=True)
class Columns:
    """A parameter that is an array of rows, column by column."""

    columns: Sequence[array_encoder.Texts]
    rows: int


def argument(part: Part, value: object) -> list[bytes]:
    """One parameter, in pieces: a scalar, texts (a list or an Arrow array), or `Columns`.

    Raises:
        UnsendableError: a text holds a character that XML can't carry.
    """
    if not part.is_array:
        return [_scalar(part, value).encode()]
    if isinstance(value, Columns):
        return _array(part.name, "xsd:string[]", value.rows, array_encoder.rows(value.columns, value.rows))
    if not isinstance(value, Sequence | pa.Array | pa.ChunkedArray) or isinstance(value, str):
        raise TypeError(f"{part.name} takes a list, not a {type(value).__name__}")
    return _array(part.name, "xsd:string", len(value), array_encoder.texts(part.name, value))


def parse(content: bytes) -> Answer:
    """Read an answer.

    Raises:
        HostileXmlError: it has a document type.
        NotSoapError: it isn't a complete SOAP envelope, or its elements stand deeper than libxml2 goes by itself.
    """
    read = array_decoder.values(content)
    if read:  # what remains is the same for all answers of an operation
        answer = _parsed_before(read[0])
        if answer.result is not None and answer.result.get(_ARRAY_TYPE) is not None and not len(answer.result):
            return replace(answer, size=len(content), values=read[1])
    return _parsed(content)


@lru_cache(maxsize=64)
def _parsed_before(content: bytes) -> Answer:
    return _parsed(content)


def _parsed(content: bytes) -> Answer:
    refuse_document_type(content)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(_as_meant(content), parser)
    except etree.XMLSyntaxError:
        root = None
    if root is not None and root.getroottree().docinfo.doctype:  # in an encoding other than UTF-8
        raise HostileXmlError("a document type")
    body = root.find(f"{{{ENVELOPE}}}Body") if root is not None else None
    if body is None or not len(body):
        raise NotSoapError("not a complete SOAP envelope")
    fault = body.find(f"{{{ENVELOPE}}}Fault")
    if fault is not None:
        return Answer(fault.findtext("faultstring") or "", root, None, {}, fault.findtext("faultcode") or "")
    references = {identity: child for child in body if (identity := child.get("id"))}
    return Answer(None, root, body[0][0] if len(body[0]) else None, references, size=len(content))


def refuse_document_type(content: bytes) -> None:
    """Make sure, before any parser sees it, that a document has no document type: entities are declared there.

    Raises:
        HostileXmlError: it has one. In text, the characters would be escaped.
    """
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise HostileXmlError("a document type")


def require_few_elements(answer: Answer) -> None:
    """Make sure that an answer of a single value is nothing more: zeep copies whatever is referred to.

    Raises:
        HostileXmlError: it is more.
    """
    elements = sum(1 for _ in islice(answer.envelope.iter(), _MOST_FOR_ONE_VALUE + 1))
    if elements > _MOST_FOR_ONE_VALUE or any(len(node) for node in answer.references.values()):
        raise HostileXmlError("more than a single value")


def array(answer: Answer, convert: Callable[[str], Any]) -> list[Any]:
    """The array an operation returned: a list of values (None for nil), or of such lists; empty where it is nil."""
    if answer.values is not None:
        known = {text: convert(text) for text in set(answer.values)}
        return [known[text] for text in answer.values]
    return [] if answer.result is None else _Reading(answer, convert).value(answer.result) or []


def rows(answer: Answer) -> list[list[str | None]]:
    """The rows of texts that an operation returned; one without values isn't nil but empty."""
    return [row or [] for row in array(answer, str)]


def scalar(answer: Answer, convert: Callable[[str], Any]) -> Any:
    """The single value an operation returned, None where it is nil."""
    return None if answer.result is None else _Reading(answer, convert).value(answer.result)


def _scalar(part: Part, value: object) -> str:
    if value is None:
        return f'<{part.name} xsi:type="{part.type}" xsi:nil="true"/>'
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if XML_FORBIDDEN.search(text):
        raise UnsendableError(f"{part.name} holds a character that XML can't carry; remove it at the source.")
    return f'<{part.name} xsi:type="{part.type}">{escape(text, _CARRIAGE_RETURN)}</{part.name}>'


def _array(name: str, kind: str, length: int, items: Sequence[bytes]) -> list[bytes]:
    opening = f'<{name} xsi:type="soapenc:Array" soapenc:arrayType="{kind}[{length}]">'
    return [opening.encode(), *items, f"</{name}>".encode()]


class _Reading:
    """Reads values, which may refer to others: a few bytes could stand for more than any memory holds."""

    def __init__(self, answer: Answer, convert: Callable[[str], Any]) -> None:
        self._references = answer.references
        self._most = max(_MOST_CHARACTERS, answer.size)
        self._convert = convert
        self._characters = 0

    def value(self, node: Any, depth: int = 0) -> Any:
        if href := node.get("href"):
            node = self._references[href[1:]]
        if node.get(_NIL) in ("true", "1"):
            return None
        if len(node) or node.get(_ARRAY_TYPE) is not None:
            if depth > _DEEPEST:
                raise HostileXmlError("arrays in arrays without end")
            self._spend(len(node))
            return [self.value(child, depth + 1) for child in node]
        text = node.text or ""
        self._spend(len(text))
        return self._convert(text)

    def _spend(self, characters: int) -> None:
        self._characters += characters
        if self._characters > self._most:
            raise HostileXmlError("references without end")


_SURROGATES = re.compile(rb"&#x(d[89ab][0-9a-f]{2});&#x(d[c-f][0-9a-f]{2});", re.IGNORECASE)

_HALF = re.compile(rb"&#xd[89a-f][0-9a-f]{2};", re.IGNORECASE)


def _as_meant(content: bytes) -> bytes:
    """An answer of Axis as it means it, where it doesn't write XML as it should.

    A character beyond U+FFFF comes as two references, one for each half, which isn't XML; where a text was cut between
    them, the half that is left becomes U+FFFD, so that it doesn't take all other rows with it. A carriage return comes
    bare, so that a parser would make a line feed of it.
    """

    def joined(halves: re.Match[bytes]) -> bytes:
        high, low = int(halves[1], 16), int(halves[2], 16)
        return b"&#x%x;" % (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))

    head, opening, body = _HALF.sub(b"&#xFFFD;", _SURROGATES.sub(joined, content)).partition(b":Body")
    if b"\r" not in body:
        return head + opening + body
    *pieces, rest = body.split(b"<")
    return head + opening + b"<".join([*map(_with_carriage_returns, pieces), rest])


def _with_carriage_returns(piece: bytes) -> bytes:
    """The inside of a tag, its end and the text after it, in which carriage returns become references."""
    tag, end, text = piece.rpartition(b">")
    return tag + end + text.replace(b"\r", b"&#13;")
