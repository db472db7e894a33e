"""The wire format: SOAP 1.1, rpc/encoded, as Apache Axis 1.4 reads and writes it.

zeep can't write nested arrays in this encoding and is slow with long flat ones, so arrays are encoded and decoded here;
other calls are left to zeep (see `service_definition`). Long arrays go in bulk (see `array_encoder` and
`array_decoder`), because a list of 100,000 recipients has about a million cells.
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
from campaign_sync.errors import CampaignSyncError
from campaign_sync.optimizely import array_decoder, array_encoder
from campaign_sync.optimizely.errors import UnsendableError

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
SCHEMA = "http://www.w3.org/2001/XMLSchema"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

_PREFIXES = {SCHEMA: "xsd", ENCODING: "soapenc"}
_NIL, _ARRAY_TYPE = f"{{{INSTANCE}}}nil", f"{{{ENCODING}}}arrayType"

_CARRIAGE_RETURN = {"\r": "&#13;"}
"""A parser turns a bare one into a line feed; a reference keeps it."""

_DEEPEST = 4
"""The deepest nesting of arrays; the vendor's rows are arrays in an array."""

MAX_CHARACTERS = 256 * 1024**2
"""The most characters and elements that the references of one answer may expand to."""

_MOST_FOR_ONE_VALUE = 50
"""The most elements of an answer with a single value."""


class NotSoapError(CampaignSyncError, ValueError):
    """The bytes aren't a complete SOAP envelope."""


class HostileXmlError(NotSoapError):
    """The bytes hold what SOAP forbids and attacks use: a document type, or references without end."""


@dataclass(frozen=True)
class Part:
    """One parameter of an operation in its WSDL: name, type (`xsd:long`), and whether it is an array."""

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
    """The values of an array of numbers or booleans that was decoded in bulk; the result element lacks them."""


def type_name(namespace: str, name: str) -> str:
    """Return the qualified name of an XML Schema or SOAP encoding type, as `xsd:long`."""
    return f"{_PREFIXES.get(namespace, 'xsd')}:{name}"


def envelope(namespace: str, operation: str, arguments: Iterable[bytes]) -> bytes:
    """Encode a request whose arguments are encoded already."""
    head = (
        f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="{ENVELOPE}" xmlns:xsd="{SCHEMA}" '
        f'xmlns:xsi="{INSTANCE}" xmlns:soapenc="{ENCODING}"><e:Body>'
        f'<r:{operation} xmlns:r={quoteattr(namespace)} e:encodingStyle="{ENCODING}">'
    )
    return b"".join([head.encode(), *arguments, f"</r:{operation}></e:Body></e:Envelope>".encode()])


@dataclass(frozen=True)
class Columns:
    """An argument that is an array of rows, as columns."""

    columns: Sequence[array_encoder.Texts]
    rows: int


def argument(part: Part, value: object) -> list[bytes]:
    """Encode one argument, in pieces: a scalar, texts (a list or an Arrow array), or `Columns`.

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
    """Parse an answer.

    Raises:
        HostileXmlError: it has a document type.
        NotSoapError: it isn't a complete SOAP envelope, or is nested deeper than the limit of libxml2.
    """
    decoded = array_decoder.values(content)
    if decoded:  # the rest is the same for all answers of an operation
        answer = _parse_cached(decoded[0])
        if answer.result is not None and answer.result.get(_ARRAY_TYPE) is not None and not len(answer.result):
            return replace(answer, size=len(content), values=decoded[1])
    return _parse(content)


@lru_cache(maxsize=64)
def _parse_cached(content: bytes) -> Answer:
    return _parse(content)


def _parse(content: bytes) -> Answer:
    refuse_document_type(content)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(_repaired(content), parser)
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
    """Raise HostileXmlError if a document has a document type, before any parser reads it.

    Entities are declared there. Within text, the characters would be escaped.
    """
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise HostileXmlError("a document type")


def require_few_elements(answer: Answer) -> None:
    """Raise HostileXmlError unless an answer is a single value: zeep copies everything that it refers to."""
    elements = sum(1 for _ in islice(answer.envelope.iter(), _MOST_FOR_ONE_VALUE + 1))
    if elements > _MOST_FOR_ONE_VALUE or any(len(node) for node in answer.references.values()):
        raise HostileXmlError("more than a single value")


def array(answer: Answer, convert: Callable[[str], Any]) -> list[Any]:
    """Decode the array an operation returned: a list of values (None for nil), or of such lists; empty for nil."""
    if answer.values is not None:
        known = {text: convert(text) for text in set(answer.values)}
        return [known[text] for text in answer.values]
    return [] if answer.result is None else _ValueDecoder(answer, convert).value(answer.result) or []


def rows(answer: Answer) -> list[list[str | None]]:
    """Decode the rows of texts that an operation returned; a nil row becomes an empty one."""
    return [row or [] for row in array(answer, str)]


def scalar(answer: Answer, convert: Callable[[str], Any]) -> Any:
    """Decode the single value an operation returned; None for nil."""
    return None if answer.result is None else _ValueDecoder(answer, convert).value(answer.result)


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


class _ValueDecoder:
    """Decodes values up to a total size: with references, a few bytes can expand to more than the memory holds."""

    def __init__(self, answer: Answer, convert: Callable[[str], Any]) -> None:
        self._references = answer.references
        self._most = max(MAX_CHARACTERS, answer.size)
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
            self._count(len(node))
            return [self.value(child, depth + 1) for child in node]
        text = node.text or ""
        self._count(len(text))
        return self._convert(text)

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > self._most:
            raise HostileXmlError("references without end")


_HALF = re.compile(rb"&#xd[89a-f][0-9a-f]{2};", re.IGNORECASE)


def _repaired(content: bytes) -> bytes:
    """Repair what Axis writes against the rules of XML.

    It writes a character beyond U+FFFF as two references, one for each surrogate; if a text was cut between them, the
    remaining one becomes U+FFFD, so that the other rows stay readable. It writes carriage returns bare, which a parser
    would turn into line feeds.
    """
    whole = array_decoder.SURROGATES.sub(array_decoder.joined_surrogates, content)
    head, opening, body = _HALF.sub(b"&#xFFFD;", whole).partition(b":Body")
    if b"\r" not in body:
        return head + opening + body
    *pieces, rest = body.split(b"<")
    return head + opening + b"<".join([*map(_with_carriage_returns, pieces), rest])


def _with_carriage_returns(piece: bytes) -> bytes:
    """Turn the carriage returns in the text after a tag into references."""
    tag, end, text = piece.rpartition(b">")
    return tag + end + text.replace(b"\r", b"&#13;")
