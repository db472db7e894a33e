"""A minimal SOAP client, so that tests see the messages themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests
from lxml import etree

from campaign_sync.sandbox.wsdl import ENCODING, SERVICES, SOAP, XSD, XSI, namespace
from campaign_sync_tests.waiting import PATIENCE


class FaultError(Exception):
    """A SOAP fault, with HTTP status 500."""


@dataclass(frozen=True)
class Client:
    url: str
    session_id: str = ""

    def login(self, mandator_id: int, username: str, password: str) -> "Client":
        return Client(self.url, self.call("Session", "login", mandator_id, username, password, session=False))

    def call(self, service: str, operation: str, *arguments: Any, session: bool = True) -> Any:
        """Call with positional arguments in their declared types."""
        values = (self.session_id, *arguments) if session else arguments
        kinds = [parameter.type for parameter in SERVICES[service][operation].parameters]
        elements = (element(f"in{i}", kind, value) for i, (kind, value) in enumerate(zip(kinds, values, strict=True)))
        return read(self.send(service, envelope(service, operation, "".join(elements))))

    def send(self, service: str, body: str) -> bytes:
        """Send bytes as they are; the answer's bytes come back, or the fault is raised."""
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        answer = requests.post(f"{self.url}/Rpc{service}", data=body.encode(), headers=headers, timeout=PATIENCE)
        if answer.status_code == 500:
            raise FaultError(etree.fromstring(answer.content).findtext(".//faultstring"))
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/xml;charset=utf-8"
        return answer.content

    def add_all(
        self, list_id: int, ids: Sequence[str | None], names: Sequence[str] = (), rows: Sequence[Any] | None = None
    ) -> list[int]:
        codes: list[int] = self.call(
            "Recipient", "addAll3", list_id, 0, ids, ids, names, [[]] * len(ids) if rows is None else rows
        )
        return codes


def envelope(service: str, operation: str, content: str, siblings: str = "") -> str:
    return (
        f'<e:Envelope xmlns:e="{SOAP}" xmlns:xsd="{XSD}" xmlns:xsi="{XSI}" xmlns:soapenc="{ENCODING}"><e:Body>'
        f'<m:{operation} xmlns:m="{namespace(service)}">{content}</m:{operation}>{siblings}</e:Body></e:Envelope>'
    )


def element(name: str, kind: str, value: Any) -> str:
    if value is None:
        return f'<{name} xsi:nil="true"/>'
    if kind.endswith("[]"):
        item = kind.removesuffix("[]")
        items = "".join(element("item", item, element_value) for element_value in value)
        return f'<{name} xsi:type="soapenc:Array" soapenc:arrayType="xsd:{item}[{len(value)}]">{items}</{name}>'
    text = str(value).lower() if isinstance(value, bool) else str(value)
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<{name} xsi:type="xsd:{kind}">{escaped}</{name}>'


def read(answer: bytes) -> Any:
    """Return the value of an answer, with references resolved; None for void."""
    body = etree.fromstring(answer)[0]
    references = {part.get("id"): part for part in body if part.get("id")}
    return _value(body[0][0], references) if len(body[0]) else None


def _value(part: Any, references: dict[str, Any]) -> Any:
    if "href" in part.attrib:
        part = references[part.get("href")[1:]]
    if part.get(f"{{{XSI}}}nil") == "true":
        return None
    if part.get(f"{{{ENCODING}}}arrayType"):
        return [_value(item, references) for item in part]
    kind, text = part.get(f"{{{XSI}}}type").rpartition(":")[2], part.text or ""
    return int(text) if kind in ("int", "long") else text == "true" if kind == "boolean" else text
