"""SOAP messages as Apache Axis 1.4 reads and writes them (rpc/encoded), with its defects.

Two of them lose text, and are reproduced because clients of the real vendor meet them: a character beyond the Basic
Multilingual Plane (an emoji) is answered as two references to surrogates, which isn't well-formed XML; and a carriage
return is answered unescaped, so that every XML parser reads a line feed instead.
"""

import random
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from lxml import etree

from campaign_sync.errors import CampaignSyncError
from campaign_sync.sandbox.wsdl import ENCODING, SERVICES, SOAP, XSD, XSI, Parameter, Signature, namespace
from campaign_sync.sandbox.xml_text import PLACEHOLDER, encode_rows, escape, extract_rows, in_ascii

Value: TypeAlias = "str | int | bool | datetime | Sequence[Value] | None"
"""The value of a parameter or an answer: a scalar, or rows of scalars."""

HOSTNAME = "sandbox.example.invalid"

_TYPE, _NIL, _ARRAY_TYPE = f"{{{XSI}}}type", f"{{{XSI}}}nil", f"{{{ENCODING}}}arrayType"
_JAVA = {"string": "class java.lang.String"}
_RANGES = {"int": 2**31, "long": 2**63}
_SOAPENC = f' xmlns:soapenc="{ENCODING}"'


class SoapError(CampaignSyncError):
    """A SOAP fault."""

    def __init__(self, text: str, code: str = "soapenv:Server.userException") -> None:
        super().__init__(text)
        self.text, self.code = text, code


@dataclass(frozen=True)
class Request:
    """One call, with its arguments by their names in Java."""

    operation: Signature
    arguments: Mapping[str, Value]


def parse(service: str, body: bytes) -> Request:
    """Parse one call.

    Raises:
        SoapError: Axis would refuse it before it reaches the service.
    """
    apart = extract_rows(body)
    if apart is not None:
        with suppress(SoapError):  # about the rest, not about the call: parse the call as a whole
            request = _parsed(service, apart[0])
            for name, value in request.arguments.items():
                if value == [[PLACEHOLDER]]:
                    return Request(request.operation, {**request.arguments, name: apart[1]})
    return _parsed(service, body)


def _parsed(service: str, body: bytes) -> Request:
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True))
    except etree.XMLSyntaxError as error:
        raise SoapError(f"org.xml.sax.SAXParseException; {error.msg}") from None
    envelope = root.find(f"{{{SOAP}}}Body")
    if envelope is None or len(envelope) == 0:
        raise SoapError("SOAP Body is missing or empty", "soapenv:Client")
    call, references = envelope[0], {element.get("id"): element for element in envelope if element.get("id")}
    operation = SERVICES[service].get(etree.QName(call).localname)
    if operation is None:
        raise SoapError(f"No such operation '{etree.QName(call).localname}'", "soapenv:Client")
    if len(call) > len(operation.parameters):
        raise SoapError(f"No such operation '{operation.name}'", "Server.userException")
    elements = _by_name(operation, call)
    return Request(
        operation, {p.name: _argument(operation, p, elements.get(p.name), references) for p in operation.parameters}
    )


def _by_name(operation: Signature, call: etree._Element) -> dict[str, etree._Element]:
    """Assign elements to parameters by name, in any order, if all names are known; else by position."""
    names = [parameter.name for parameter in operation.parameters]
    known = {name: name for name in names} | {f"in{position}": name for position, name in enumerate(names)}
    given = [known.get(etree.QName(element).localname) for element in call]
    complete = None not in given and len(set(given)) == len(given)
    return dict(zip(given if complete else names, call, strict=False))  # type: ignore[arg-type]


def _argument(
    operation: Signature, parameter: Parameter, element: etree._Element | None, references: Mapping[str, etree._Element]
) -> Value:
    if element is not None and "href" in element.attrib:
        element = _referenced(element, references)
    if element is None or _is_nil(element):
        if parameter.type in ("int", "long", "boolean") or element is None:
            raise SoapError(
                f"Tried to invoke method {operation.name} with {parameter.name}=null.  "
                "The arguments do not match the signature.",
                "soapenv:Server.generalException",
            )
        return None
    if parameter.type == "string[][]":
        return _rows(element, references)
    if parameter.type == "string[]":
        return [item.text or "" if not item.attrib and not len(item) else _text(item, references) for item in element]
    return _scalar(element, parameter.type, references)


def _rows(element: etree._Element, references: Mapping[str, etree._Element]) -> list[Value]:
    """Read the rows of a nested array, which must be declared arrays: by the outer array, or by each of them."""
    outer = "[]" in element.get(_ARRAY_TYPE, "")
    rows: list[Value] = []
    for item in element:
        row = _referenced(item, references) if "href" in item.attrib else item
        kind = row.get(_TYPE, "").rpartition(":")[2]
        if _is_nil(row):
            rows.append(None)
            continue
        if kind not in ("", "Array") and len(row):
            raise _unexpected_child()
        if not outer and kind != "Array" and _ARRAY_TYPE not in row.attrib:
            raise SoapError(f"org.xml.sax.SAXException: No deserializer for {{{XSD}}}anyType")
        rows.append([cell.text or "" if not cell.attrib and not len(cell) else _text(cell, references) for cell in row])
    return rows


def _text(element: etree._Element, references: Mapping[str, etree._Element]) -> str | None:
    if "href" in element.attrib:
        element = _referenced(element, references)
    if len(element):
        raise _unexpected_child()
    return None if _is_nil(element) else element.text or ""


def _scalar(element: etree._Element, kind: str, references: Mapping[str, etree._Element]) -> Value:
    given = element.get(_TYPE, "").rpartition(":")[2] or kind
    if given != kind:
        raise SoapError(f"org.xml.sax.SAXException: Bad types ({_JAVA.get(given, given)} -> {_JAVA.get(kind, kind)})")
    text = _text(element, references) or ""
    if kind == "string":
        return text
    if kind == "boolean":
        return text.strip() in ("true", "1")
    if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) or not -_RANGES[kind] <= int(text) < _RANGES[kind]:
        raise SoapError(f'java.lang.NumberFormatException: For input string: "{text}"')
    return int(text)


def _referenced(element: etree._Element, references: Mapping[str, etree._Element]) -> etree._Element:
    target = references.get(element.get("href", "").removeprefix("#"))
    if target is None:
        raise SoapError(f"org.xml.sax.SAXException: No element with id {element.get('href')}")
    return target


def _is_nil(element: etree._Element) -> bool:
    return element.get(_NIL) in ("true", "1")


def _unexpected_child() -> SoapError:
    return SoapError(
        "org.xml.sax.SAXException: SimpleDeserializer encountered a child element, which is NOT expected, "
        "in something it was trying to deserialize."
    )


def answer(service: str, operation: Signature, value: Value) -> bytes:
    """Encode the answer to one call; `value` is what the operation returns, in the form of its type."""
    response = f'ns1:{operation.name}Response soapenv:encodingStyle="{ENCODING}" xmlns:ns1="{namespace(service)}"'
    if operation.returns is None:
        return _envelope(f"<{response}/>")
    references = _References()
    returned = _render(f"{operation.name}Return", operation.returns, value, references)
    return _envelope(f"<{response}>{returned}</ns1:{operation.name}Response>{references.render()}")


def fault(problem: SoapError) -> bytes:
    """Encode a fault, which is sent with HTTP status 500."""
    return _envelope(
        f"<soapenv:Fault><faultcode>{problem.code}</faultcode><faultstring>{escape(problem.text)}</faultstring>"
        f'<detail><ns1:hostname xmlns:ns1="http://xml.apache.org/axis/">{HOSTNAME}</ns1:hostname></detail></soapenv:Fault>'
    )


class _References:
    """The `multiRef` elements of numbers and booleans: after the result, in any order, equal ones possibly shared."""

    def __init__(self) -> None:
        self._elements: list[str] = []
        self._booleans: dict[Value, int] = {}

    def add(self, kind: str, value: Value) -> int:
        """Add a value and return the number of its reference. Booleans are shared, as Java has only two of them."""
        number = self._booleans.setdefault(value, len(self._elements)) if kind == "boolean" else len(self._elements)
        if number == len(self._elements):
            text = str(value).lower() if kind == "boolean" else value
            self._elements.append(
                f'<multiRef id="id{number}" soapenc:root="0" soapenv:encodingStyle="{ENCODING}" xsi:type="xsd:{kind}" '
                f"{_SOAPENC.strip()}>{text}</multiRef>"
            )
        return number

    def render(self) -> str:
        random.Random(len(self._elements)).shuffle(self._elements)  # noqa: S311 - the order means nothing
        return "".join(self._elements)


def _render(name: str, kind: str, value: Value, references: _References, soapenc: str = _SOAPENC) -> str:
    """Encode one element; the outermost declares the encoding's prefix."""
    if value is None:
        if kind == "dateTime":
            return f'<{name} xsi:type="xsd:dateTime" xsi:nil="true"/>'
        xsi_type = "Array" if kind.endswith("[]") else "string"
        return f'<{name} xsi:type="soapenc:{xsi_type}" xsi:nil="true"{soapenc}/>'
    if isinstance(value, str):
        return f'<{name} xsi:type="soapenc:string"{soapenc}>{escape(value)}</{name}>'
    if isinstance(value, datetime):  # the only value besides text that isn't a reference
        text = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f'<{name} xsi:type="xsd:dateTime">{text}</{name}>'
    if isinstance(value, int):
        return f'<{name} href="#id{references.add(kind, value)}"/>'
    item = kind.removesuffix("[]")
    items = (encode_rows(name, value) if kind == "string[][]" else None) or "".join(
        [_render(name, item, element, references, "") for element in value]
    )
    prefix = "soapenc" if item.startswith("string") else "xsd"
    # soapenc:string[][2] is an array of two arrays
    array_type = f"{prefix}:{item}[{len(value)}]"
    return f'<{name} soapenc:arrayType="{array_type}" xsi:type="soapenc:Array"{soapenc}>{items}</{name}>'


def _envelope(content: str) -> bytes:
    document = (
        f'<?xml version="1.0" encoding="utf-8"?><soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:xsd="{XSD}" '
        f'xmlns:xsi="{XSI}"><soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>'
    )
    return in_ascii(document).encode("ascii")
