import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.errors import RefusedError, TransientError
from campaign_sync.optimizely.transport import Transport
from campaign_sync_tests.waiting import PATIENCE

SECRET = b"<in0>00aa11bb22cc33dd</in0><item>anna@example.org</item>"


@contextmanager
def host_with(
    answers: Callable[[BaseHTTPRequestHandler], None], timeout_seconds: float = PATIENCE
) -> Iterator[Transport]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answers(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        base_url = f"http://127.0.0.1:{server.server_port}/soap11"
        transport = Transport(base_url, parallel_calls=1, timeout_seconds=timeout_seconds)
        try:
            yield transport
        finally:
            transport.close()
            server.shutdown()
            thread.join()


def page(status: int, content_type: str = "text/html", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": "9", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"<html/>\n\n")

    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (200, TransientError, "a web page, as proxies and login portals do"),
        (302, RefusedError, "HTTP 302 without SOAP"),
        (403, RefusedError, "allows this machine's address"),
        (404, RefusedError, r"Check optimizely\.base_url"),
        (429, TransientError, "HTTP 429"),
        (503, TransientError, "HTTP 503 without SOAP"),
    ],
)
def test_an_answer_without_soap_says_what_to_check(status: int, kind: type[Exception], says: str) -> None:
    with host_with(page(status, Location="http://127.0.0.1:9/")) as transport:
        error = transport.not_soap(transport.post("Recipient", SECRET))
    with pytest.raises(kind, match=says):
        raise error


def test_calls_differ_in_their_bodies_and_in_the_cookies_of_the_answers_before() -> None:
    calls = list[tuple[str | None, ...]]()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(tuple(handler.headers[name] for name in ("Content-Length", "Cookie", "SOAPAction")))
        page(200, "text/xml", **{"Set-Cookie": f"node=n{len(calls)}; Path=/soap11"})(handler)

    with host_with(answer) as transport:
        replies = [transport.post(service, b"x" * size) for service, size in (("A", 3), ("A", 1), ("B", 2), ("A", 0))]
    assert [reply.content for reply in replies] == [b"<html/>\n\n"] * 4
    sizes_and_cookies = [("3", None), ("1", "node=n1"), ("2", "node=n2"), ("0", "node=n3")]
    assert calls == [(size, cookie, '""') for size, cookie in sizes_and_cookies]


def test_every_call_goes_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list[tuple[str, str | None]]()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        lines.append((handler.requestline, handler.headers["Proxy-Authorization"]))
        page(200)(handler)

    with host_with(answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@{proxy.host}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        transport = Transport("http://vendor.example/soap11", parallel_calls=1, timeout_seconds=PATIENCE)
        for _ in range(2):
            transport.post("Recipient", SECRET)
        transport.close()
    assert lines == [("POST http://vendor.example/soap11/RpcRecipient HTTP/1.1", "Basic dXNlcjpzZWNyZXQ=")] * 2


def test_a_truncated_answer_leaves_the_outcome_unknown() -> None:
    with (
        host_with(page(200, "text/xml", **{"Content-Length": "900"})) as transport,
        pytest.raises(TransientError, match="was lost before the answer was complete") as error,
    ):
        transport.post("Recipient", SECRET)
    assert error.value.outcome_unknown


def test_a_missing_answer_leaves_the_outcome_unknown() -> None:
    released = threading.Event()

    def hold_back(_: BaseHTTPRequestHandler) -> None:
        released.wait()

    with host_with(hold_back, timeout_seconds=0.5) as transport:
        with pytest.raises(TransientError, match=r"no answer within 0\.5 s") as error:
            transport.post("Recipient", SECRET)
        released.set()
    assert error.value.outcome_unknown


def test_a_closed_port_means_that_nothing_was_sent() -> None:
    transport = Transport(f"http://127.0.0.1:{free_port()}/soap11", parallel_calls=1, timeout_seconds=5)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+: it accepts no connection") as error:
        transport.post("Recipient", SECRET)
    assert not error.value.outcome_unknown


def test_an_error_holds_no_envelope() -> None:
    transport = Transport(f"http://127.0.0.1:{free_port()}/soap11", parallel_calls=1, timeout_seconds=5)
    with pytest.raises(TransientError) as error:
        transport.post("Recipient", SECRET)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


def test_nothing_is_fetched_from_another_host() -> None:
    transport = Transport("https://api.example.com/soap11", parallel_calls=1, timeout_seconds=5)
    with pytest.raises(RefusedError, match=r"another host than api\.example\.com"):
        transport.get("http://schemas.example.net/soap/encoding/")


def test_connecting_to_a_closed_port_names_the_host() -> None:
    with (
        pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+"),
        connect(f"http://127.0.0.1:{free_port()}/soap11", 8100, "nord-api", "geheim"),
    ):
        pass
