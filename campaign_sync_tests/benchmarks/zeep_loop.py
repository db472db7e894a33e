"""The afternoon's loop with zeep: `python -m campaign_sync_tests.benchmarks.zeep_loop FILE CRM URL LIST`.

The same query, batches and number of connections. zeep can't write the nested arrays of `addAll3`, so the rows are put
into its message by lxml, which is faster than what zeep would do (`addAll3Flat`, which `codec` and `push` measure).
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import zeep
from lxml import etree

from campaign_sync_tests.benchmarks.afternoon import ATTRIBUTES, BATCH, CONNECTIONS, Row, Steps, select

_SCHEMA, _INSTANCE = "http://www.w3.org/2001/XMLSchema", "http://www.w3.org/2001/XMLSchema-instance"
_ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
_NAMESPACES = {"xsd": _SCHEMA, "xsi": _INSTANCE, "soapenc": _ENCODING}


class Documents(zeep.Transport):
    """Loads the encoding's schema from a file, with arrays as a group, as in the original: zeep writes no others."""

    def load(self, url: str) -> bytes:
        """Load the document at a URL."""
        if url.rstrip("/") != _ENCODING.rstrip("/"):
            content: bytes = super().load(url)  # type: ignore[no-untyped-call]
            return content
        document = files("campaign_sync.optimizely").joinpath("soapenc.xsd").read_text(encoding="utf-8")
        start, end = document.find("<xs:sequence>"), document.find("</xs:sequence>") + len("</xs:sequence>")
        group = f'<xs:group name="Array">{document[start:end]}</xs:group>'
        used = f'{document[:start]}<xs:group ref="tns:Array" minOccurs="0"/>{document[end:]}'
        return used.replace('<xs:complexType name="Array">', f'{group}<xs:complexType name="Array">').encode()


def zeep_client(base_url: str, service: str = "Recipient") -> tuple[Any, Any]:
    """Return zeep's client and service."""
    client = zeep.Client(f"{base_url}/Rpc{service}?wsdl", transport=Documents())  # type: ignore[no-untyped-call]
    (binding,) = client.wsdl.bindings
    return client, client.create_service(binding, f"{base_url}/Rpc{service}")  # type: ignore[no-untyped-call]


class _ZeepList:
    def __init__(self, base_url: str, list_id: int) -> None:
        _, session = zeep_client(base_url, "Session")
        self._client, self._service = zeep_client(base_url)
        self._url, self._list_id = f"{base_url}/RpcRecipient", list_id
        self._session = session.login(8100, "api-user", "correct horse")
        (name,) = self._client.wsdl.bindings
        self._binding = self._client.wsdl.bindings[name]
        namespace = name[1:].partition("}")[0]
        self._array, self._rows = (
            self._client.get_type(f"{{{namespace}}}{array}")
            for array in ("ArrayOf_xsd_string", "ArrayOfArrayOf_xsd_string")
        )

    def clear(self) -> None:
        self._service.clear(self._session, self._list_id)

    def add(self, rows: Sequence[tuple[str, Row]]) -> None:
        ids = [address for address, _ in rows]
        arrays = [self._array(texts) for texts in (ids, ids, ATTRIBUTES)]
        message = self._client.create_message(
            self._service, "addAll3", self._session, self._list_id, 0, *arrays, self._rows([""])
        )
        types = {f"{{{_INSTANCE}}}type": "soapenc:Array", f"{{{_ENCODING}}}arrayType": f"xsd:string[][{len(rows)}]"}
        placeholder = message.find(".//in6")
        values = etree.Element("in6", types, nsmap=_NAMESPACES)
        placeholder.getparent().replace(placeholder, values)
        for _, row in rows:
            element = etree.SubElement(values, "i")
            for text in row:
                etree.SubElement(element, "i").text = text
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        answer = self._client.transport.post_xml(self._url, message, headers)
        codes = self._binding.process_reply(self._client, self._binding.get("addAll3"), answer)
        if codes != [0] * len(rows):
            raise RuntimeError(f"{len(rows)} rows, codes {set(codes)}")


def main() -> None:
    """Replace the list, and write what it took."""
    file, crm, base_url, list_id = sys.argv[1:]
    steps = Steps()
    steps.end("start")
    rows = list(select(crm).items())
    steps.end("select")
    recipients = _ZeepList(base_url, int(list_id))
    recipients.clear()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(recipients.add, [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]))
    steps.end("fill")
    steps.write(file, len(rows), zeep.__version__)


if __name__ == "__main__":
    main()
