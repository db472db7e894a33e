"""An unreliable network: an HTTP proxy between the product and the sandbox that injects the faults a test asks for."""

import http.client
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from campaign_sync_tests.waiting import PATIENCE

_OPERATION = re.compile(rb"<(?:[\w.-]+:)?Body\b[^>]*>\s*<(?:[\w.-]+:)?(\w+)")

_PAGE = b"<html><body><h1>Please log in</h1><p>Your session at this proxy has ended."


class NetworkFault(StrEnum):
    """What can happen to a request.

    The vendor carries it out at once, except in `LOST_REQUEST`, `BAD_GATEWAY`, `LATE` and `FALSE_SUCCESS`.
    """

    DELAY = "delay"
    """It takes longer."""
    LOST_REQUEST = "lost request"
    """The connection breaks before the request arrives."""
    LOST_ANSWER = "lost answer"
    """The connection breaks before the answer."""
    TRUNCATED_ANSWER = "truncated answer"
    """The connection breaks in the middle of the answer."""
    SHORTENED_ANSWER = "shortened answer"
    """Half of the answer comes, with a content length as if it were complete."""
    BAD_GATEWAY = "bad gateway"
    """The request never arrives, and a web page with status 502 says so."""
    PAGE = "page"
    """A web page with status 200 comes instead of the answer."""
    DUPLICATE = "duplicate"
    """The request arrives twice, and the second answer is returned."""
    LATE = "late"
    """As `BAD_GATEWAY`, but the request does arrive later: after `after` further requests."""
    FALSE_SUCCESS = "false success"
    """The request never arrives, and an answer without a result, as `clear` has it, says that it was carried out."""


@dataclass
class PlannedFault:
    """A fault of the `nth` request of an operation, from 1, and of the `times - 1` requests after it."""

    operation: str
    fault: NetworkFault
    nth: int = 1
    times: int = 1
    after: int = 3

    def covers(self, number: int) -> bool:
        """Return whether the fault is of this request of the operation."""
        return self.nth <= number < self.nth + self.times


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class _DelayedRequest:
    request: _Request
    after: int


@dataclass
class Proxy:
    """Forwards to `upstream` (host:port), and injects each planned fault once."""

    upstream: str
    seen: Counter[str] = field(default_factory=Counter)
    """How many requests came, by operation."""
    occurred: list[NetworkFault] = field(default_factory=list)
    """The faults that were injected so far, in order."""
    base_url: str = ""
    _planned: list[PlannedFault] = field(default_factory=list)
    _rewritten: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    _before: dict[str, Callable[[], object]] = field(default_factory=dict)
    _delayed: list[_DelayedRequest] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def inject(self, operation: str, fault: NetworkFault, nth: int = 1, times: int = 1, after: int = 3) -> None:
        """Plan a fault for the `nth` request of an operation from now on, and for `times - 1` requests after it."""
        self._planned.append(PlannedFault(operation, fault, self.seen[operation] + nth, times, after))

    def rewrite(self, operation: str, change: Callable[[bytes], bytes]) -> None:
        """Change every answer to an operation from now on."""
        self._rewritten[operation] = change

    def before(self, operation: str, act: Callable[[], object]) -> None:
        """Call `act` for every request of an operation, before it is carried out."""
        self._before[operation] = act

    def deliver_delayed_requests(self) -> None:
        """Forward all requests that are still delayed."""
        with self._lock:
            due, self._delayed = self._delayed, []
        for delayed in due:
            self.forward(delayed.request)

    def next_fault(self, request: _Request) -> NetworkFault | None:
        """Count a request and return its fault, if any. Delayed requests that are due are forwarded first."""
        operation = operation_of(request.body)
        with self._lock:
            due = [delayed for delayed in self._delayed if delayed.after == 0]
            self._delayed = [delayed for delayed in self._delayed if delayed.after > 0]
            for delayed in self._delayed:
                delayed.after -= 1
            self.seen[operation] += 1
            number = self.seen[operation]
            planned = next(
                (plan for plan in self._planned if plan.operation == operation and plan.covers(number)), None
            )
            if planned:
                self.occurred.append(planned.fault)
            if planned and planned.fault is NetworkFault.LATE:
                self._delayed.append(_DelayedRequest(request, planned.after))
        for delayed in due:
            self.forward(delayed.request)
        self._before.get(operation, lambda: None)()
        return planned.fault if planned else None

    def forward(self, request: _Request) -> tuple[int, str, bytes]:
        """Forward a request, and return the status, content type and body of the vendor's answer."""
        connection = http.client.HTTPConnection(self.upstream, timeout=PATIENCE)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            response = connection.getresponse()
            change = self._rewritten.get(operation_of(request.body), bytes)
            return response.status, response.getheader("Content-Type", "text/xml"), change(response.read())
        finally:
            connection.close()


@contextmanager
def proxied(base_url: str) -> Iterator[Proxy]:
    """Yield a proxy in front of `base_url`. Clients use the proxy's own `base_url`."""
    parts = urlsplit(base_url)
    proxy = Proxy(parts.netloc)

    class Handler(_Handler):
        proxy_ = proxy

    with _Server(("127.0.0.1", 0), Handler) as server:
        proxy.base_url = f"http://127.0.0.1:{server.server_port}{parts.path}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="proxy")
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that have disconnected: the faults make them do that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy_: Proxy

    def do_GET(self) -> None:
        """Forward a request for a WSDL, without any fault."""
        self._answer(*self.proxy_.forward(_Request("GET", self.path, {}, b"")))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in ("Content-Type", "SOAPAction") if name in self.headers}
        request = _Request("POST", self.path, headers, body)
        fault = self.proxy_.next_fault(request)
        if fault is NetworkFault.LOST_REQUEST:
            self._disconnect()
            return
        if fault in (NetworkFault.BAD_GATEWAY, NetworkFault.LATE):
            self._answer(502, "text/html", _PAGE)
            return
        if fault is NetworkFault.FALSE_SUCCESS:
            self._answer(200, "text/xml; charset=utf-8", _without_result(operation_of(body)))
            return
        if fault is NetworkFault.DELAY:
            time.sleep(0.05)
        if fault is NetworkFault.DUPLICATE:
            self.proxy_.forward(request)
        status, content_type, answer = self.proxy_.forward(request)
        if fault is NetworkFault.LOST_ANSWER:
            self._disconnect()
        elif fault is NetworkFault.TRUNCATED_ANSWER:
            self._answer(status, content_type, answer[: len(answer) // 2], claimed=len(answer))
            self._disconnect()
        elif fault is NetworkFault.SHORTENED_ANSWER:
            self._answer(status, content_type, answer[: len(answer) // 2])
        elif fault is NetworkFault.PAGE:
            self._answer(200, "text/html", _PAGE)
        else:
            self._answer(status, content_type, answer)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def _answer(self, status: int, content_type: str, body: bytes, claimed: int | None = None) -> None:
        length = len(body) if claimed is None else claimed
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def _disconnect(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _without_result(operation: str) -> bytes:
    """Return the vendor's answer to an operation of `Recipient` that returns nothing."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        f'<ns1:{operation}Response xmlns:ns1="urn:api.broadmail.de/soap11/RpcRecipient"/>'
        "</soapenv:Body></soapenv:Envelope>"
    ).encode()


def operation_of(body: bytes) -> str:
    """Return the operation of a SOAP request, or an empty text."""
    match = _OPERATION.search(body)
    return match[1].decode() if match else ""
