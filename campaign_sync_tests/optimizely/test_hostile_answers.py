"""Hostile answers from a socket: they are never expanded, and end in one clear error."""

import gzip
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely import transport as transport_module
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.errors import RefusedError, UnreadableAnswerError
from campaign_sync.optimizely.fault_text import known_words
from campaign_sync.sandbox.wsdl import PartNames
from campaign_sync_tests.optimizely.conftest import LIST, NORD, PASSWORD, USERNAME, Vendor
from campaign_sync_tests.waiting import PATIENCE

ENVELOPE = 'xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
NESTED = '<!ENTITY l0 "lololololo">' + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 20}">' for i in range(1, 9))
LARGE = f'<!ENTITY q "{"q" * 100_000}">'


def soap(content: str, doctype: str = "") -> str:
    return f"{doctype}<e:Envelope {ENVELOPE}><e:Body><r>{content}</r></e:Body></e:Envelope>"


HOSTILE = {
    "billion laughs": soap("<x>&l8;</x>", f"<!DOCTYPE r [{NESTED}]>"),
    "billion laughs in an attribute": soap('<x a="&l8;"/>', f"<!DOCTYPE r [{NESTED}]>"),
    "quadratic blowup": soap(f"<x>{'&q;' * 5000}</x>", f"<!DOCTYPE r [{LARGE}]>"),
    "a file of ours": soap("<x>&f;</x>", '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]>'),
    "a parameter entity": soap("<x/>", '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>'),
    "an outer document type": soap("<x/>", '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd">'),
    "references in a circle": soap('<x href="#a"/>').replace("</e:Body>", '<m id="a"><i href="#a"/></m></e:Body>'),
    "references to references": soap('<x href="#a0"/>').replace(
        "</e:Body>",
        "".join(f'<m id="a{i}">{f"<i href={chr(34)}#a{i + 1}{chr(34)}/>" * 30}</m>' for i in range(9)) + "</e:Body>",
    ),
}


@contextmanager
def attacker(vendor: Vendor, operation: str, answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve an attacker between us and the vendor, who answers one operation (or `?wsdl`) in its place."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mine = operation in self.path
            self.pass_on(None if mine else requests.get(f"{vendor.url}{self.path}", timeout=PATIENCE))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            mine = f":{operation} ".encode() in body
            self.pass_on(None if mine else requests.post(f"{vendor.url}{self.path}", body, timeout=PATIENCE))

        def pass_on(self, given: requests.Response | None) -> None:
            if given is None:
                answer(self)
            else:
                send(given.content, given.status_code)(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def send(content: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "text/xml", "Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer with two gigabytes, until the client hangs up."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(2 * 1024**3))
    handler.end_headers()
    try:
        for _ in range(2 * 1024):
            handler.wfile.write(b"x" * 1024**2)
    except OSError:
        pass


@contextmanager
def cheaply() -> Iterator[None]:
    """Assert that the block takes little CPU time and memory."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


@pytest.fixture
def part_names() -> PartNames:
    return "in0"


@pytest.mark.parametrize(
    ("operation", "attack"),
    [
        ("clear", "billion laughs"),
        *(("getAllIds", attack) for attack in HOSTILE),
        ("getCount", "references in a circle"),
        ("getCount", "references to references"),
    ],
)
def test_an_expanding_answer_is_one_clear_error(vendor: Vendor, operation: str, attack: str) -> None:
    with (
        cheaply(),
        attacker(vendor, operation, send(HOSTILE[attack].encode())) as url,
        connect(url, NORD, USERNAME, PASSWORD) as optimizely,
    ):
        calls: dict[str, Callable[[], object]] = {
            "clear": lambda: optimizely.recipients.clear(LIST),
            "getAllIds": optimizely.recipient_lists.all_ids,
            "getCount": lambda: optimizely.recipients.count(LIST),
        }
        with pytest.raises(UnreadableAnswerError) as caught:
            calls[operation]()
    assert caught.value.outcome_unknown
    assert "document type (DTD) or references without end" in str(caught.value)
    assert "root:" not in str(caught.value)


def test_a_document_type_in_another_encoding_is_refused() -> None:
    for name in ("billion laughs in an attribute", "a file of ours", "an outer document type"):
        with cheaply(), pytest.raises(soap_encoding.NotSoapError):
            soap_encoding.parse(f'<?xml version="1.0" encoding="UTF-16"?>{HOSTILE[name]}'.encode("utf-16"))


def test_elements_nested_too_deeply_are_refused() -> None:
    with cheaply(), pytest.raises(soap_encoding.NotSoapError):
        soap_encoding.parse(soap("<x>" * 100_000 + "</x>" * 100_000).encode())


def test_millions_of_carriage_returns_are_read() -> None:
    with cheaply():
        assert (
            soap_encoding.scalar(soap_encoding.parse(soap(f"<x>{chr(13) * 3_000_000}</x>").encode()), len) == 3_000_000
        )


def test_of_a_very_long_fault_only_the_length_is_shown() -> None:
    with cheaply():
        assert known_words("a" * 3_000_000, []) == "its text has 3000000 characters"


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzipped"])
def test_an_answer_without_end_is_read_up_to_a_limit(
    vendor: Vendor, gzipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "MAX_ANSWER_BYTES", 8 * 1024**2)
    bomb = send(gzip.compress(bytes(64 * 1024**2), 9), Content_Encoding="gzip")
    with (
        cheaply(),
        attacker(vendor, "clear", bomb if gzipped else endless) as url,
        connect(url, NORD, USERNAME, PASSWORD) as optimizely,
        pytest.raises(UnreadableAnswerError, match="answered with more than 8 MiB") as caught,
    ):
        optimizely.recipients.clear(LIST)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize(
    "document",
    [
        f"<!DOCTYPE r [{NESTED}]><definitions>&l8;</definitions>".encode(),
        b'<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><definitions>&f;</definitions>',
        f'<!DOCTYPE r [{NESTED}]><definitions a="&l8;"/>'.encode("utf-16"),
    ],
    ids=["billion laughs", "a file of ours", "in UTF-16"],
)
def test_a_wsdl_with_entities_is_refused(vendor: Vendor, document: bytes) -> None:
    with (
        cheaply(),
        attacker(vendor, "?wsdl", send(document)) as url,
        pytest.raises(RefusedError, match="isn't the description of a SOAP service") as caught,
        connect(url, NORD, USERNAME, PASSWORD),
    ):
        pass
    assert not caught.value.outcome_unknown


def test_a_wsdl_with_endless_imports_is_refused(vendor: Vendor) -> None:
    asked: list[str] = []

    def another(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        more = f'<import namespace="urn:{len(asked)}" location="{handler.path}{len(asked)}"/>'
        send(f'<definitions xmlns="http://schemas.xmlsoap.org/wsdl/">{more}</definitions>'.encode())(handler)

    with (
        attacker(vendor, "?wsdl", another) as url,
        pytest.raises(RefusedError, match="isn't the description"),
        connect(url, NORD, USERNAME, PASSWORD),
    ):
        pass
    assert len(asked) <= 20


def test_a_large_answer_is_read() -> None:
    row = f"<i>{'<i>some value of some sixty characters, as attributes have them</i>' * 15}</i>"
    rows = soap_encoding.array(soap_encoding.parse(soap(f"<x>{row * 12_000}</x>").encode()), str)
    assert (len(rows), len(rows[0])) == (12_000, 15)


def test_the_limit_of_a_page_grows_with_its_rows(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_ANSWER_BYTES", 64 * 1024)
    monkeypatch.setattr(soap_encoding, "MAX_CHARACTERS", 64 * 1024)
    row = "<i>" + f"<i>{chr(228) * 4000}</i>" * 15 + "</i>"
    with (
        attacker(vendor, "getAllAdvanced", send(soap(f"<x>{row * 20}</x>").encode())) as url,
        connect(url, NORD, USERNAME, PASSWORD) as optimizely,
    ):
        assert len(optimizely.recipients.page(LIST, ["a"] * 15, None, 0, 20)) == 20
        with pytest.raises(UnreadableAnswerError):
            optimizely.recipients.page(LIST, ["a"] * 15, None, 0, 10)


def test_other_operations_are_passed_on(vendor: Vendor) -> None:
    with attacker(vendor, "nothing", endless) as url, connect(url, NORD, USERNAME, PASSWORD) as optimizely:
        assert optimizely.recipients.count(LIST) == 0
