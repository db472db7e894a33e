"""A troublesome network: an HTTP proxy between the product and the sandbox that spoils the requests it is told to."""

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


class Trouble(StrEnum):
    """What can happen to a request. In all but `CUT`, `BAD_GATEWAY`, `LATE` and `SHAM` it is carried out at once."""

    DELAY = "delay"
    """It takes longer."""
    CUT = "cut"
    """The connection breaks before it arrives."""
    SWALLOW = "swallow"
    """The connection breaks before the answer."""
    TRUNCATE = "truncate"
    """The connection breaks in the middle of the answer."""
    SHORTEN = "shorten"
    """Half an answer comes that claims to be whole."""
    BAD_GATEWAY = "bad gateway"
    """It never arrives, and a web page says so, with status 502."""
    PAGE = "page"
    """A web page comes in place of the answer, with status 200."""
    TWICE = "twice"
    """It arrives twice, and the second answer is the one that comes back."""
    LATE = "late"
    """As `BAD_GATEWAY`, but it does arrive in the end: `after` further requests."""
    SHAM = "sham"
    """It never arrives, and an answer says that it was carried out: one without a result, as `clear` has it."""


@dataclass
class Spoiled:
    """Which request is spoiled: the `nth` (from 1) of an operation, and the `times - 1` following ones."""

    operation: str
    trouble: Trouble
    nth: int = 1
    times: int = 1
    after: int = 3


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class _Held:
    request: _Request
    after: int


@dataclass
class Proxy:
    """Forwards to `upstream` (host:port). Requests that are `spoil`ed meet their trouble, each once."""

    upstream: str
    seen: Counter[str] = field(default_factory=Counter)
    """How many requests came, by operation."""
    met: list[Trouble] = field(default_factory=list)
    """What really happened, in that order."""
    base_url: str = ""
    _spoiled: list[Spoiled] = field(default_factory=list)
    _rewritten: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    _before: dict[str, Callable[[], object]] = field(default_factory=dict)
    _held: list[_Held] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spoil(self, operation: str, trouble: Trouble, nth: int = 1, times: int = 1, after: int = 3) -> None:
        """Have trouble with the `nth` request of an operation from now on, and with `times - 1` after it."""
        self._spoiled.append(Spoiled(operation, trouble, self.seen[operation] + nth, times, after))

    def rewrite(self, operation: str, change: Callable[[bytes], bytes]) -> None:
        """Have every answer to an operation changed from now on."""
        self._rewritten[operation] = change

    def before(self, operation: str, act: Callable[[], object]) -> None:
        """Have something happen at the vendor whenever a request of an operation comes, before it is carried out."""
        self._before[operation] = act

    def deliver_late_ones(self) -> None:
        """Let everything arrive that is still under way."""
        with self._lock:
            due, self._held = self._held, []
        for held in due:
            self.forward(held.request)

    def next_trouble(self, request: _Request) -> Trouble | None:
        """Count a request and tell what shall happen to it. First, late ones arrive whose time has come."""
        operation = _operation(request.body)
        with self._lock:
            due = [held for held in self._held if held.after == 0]
            self._held = [held for held in self._held if held.after > 0]
            for held in self._held:
                held.after -= 1
            self.seen[operation] += 1
            number = self.seen[operation]
            found = next(
                (s for s in self._spoiled if s.operation == operation and s.nth <= number < s.nth + s.times), None
            )
            if found:
                self.met.append(found.trouble)
            if found and found.trouble is Trouble.LATE:
                self._held.append(_Held(request, found.after))
        for held in due:
            self.forward(held.request)
        self._before.get(operation, lambda: None)()
        return found.trouble if found else None

    def forward(self, request: _Request) -> tuple[int, str, bytes]:
        """Status, content type and body of the vendor's answer."""
        connection = http.client.HTTPConnection(self.upstream, timeout=PATIENCE)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            response = connection.getresponse()
            change = self._rewritten.get(_operation(request.body), bytes)
            return response.status, response.getheader("Content-Type", "text/xml"), change(response.read())
        finally:
            connection.close()


@contextmanager
def proxied(base_url: str) -> Iterator[Proxy]:
    """A proxy before `base_url` as long as the context lasts; its own `base_url` is what the client is to be told."""
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
        """Clients that went away are what this is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy_: Proxy

    def do_GET(self) -> None:
        """Contracts pass untroubled."""
        self._answer(*self.proxy_.forward(_Request("GET", self.path, {}, b"")))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in ("Content-Type", "SOAPAction") if name in self.headers}
        request = _Request("POST", self.path, headers, body)
        trouble = self.proxy_.next_trouble(request)
        if trouble is Trouble.CUT:
            self._hang_up()
            return
        if trouble in (Trouble.BAD_GATEWAY, Trouble.LATE):
            self._answer(502, "text/html", _PAGE)
            return
        if trouble is Trouble.SHAM:
            self._answer(200, "text/xml; charset=utf-8", _without_result(_operation(body)))
            return
        if trouble is Trouble.DELAY:
            time.sleep(0.05)
        if trouble is Trouble.TWICE:
            self.proxy_.forward(request)
        status, content_type, answer = self.proxy_.forward(request)
        if trouble is Trouble.SWALLOW:
            self._hang_up()
        elif trouble is Trouble.TRUNCATE:
            self._answer(status, content_type, answer[: len(answer) // 2], claimed=len(answer))
            self._hang_up()
        elif trouble is Trouble.SHORTEN:
            self._answer(status, content_type, answer[: len(answer) // 2])
        elif trouble is Trouble.PAGE:
            self._answer(200, "text/html", _PAGE)
        else:
            self._answer(status, content_type, answer)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, content_type: str, body: bytes, claimed: int | None = None) -> None:
        length = len(body) if claimed is None else claimed
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _without_result(operation: str) -> bytes:
    """What the vendor answers once it has carried out an operation of `Recipient` that returns nothing."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        f'<ns1:{operation}Response xmlns:ns1="urn:api.broadmail.de/soap11/RpcRecipient"/>'
        "</soapenv:Body></soapenv:Envelope>"
    ).encode()


def _operation(body: bytes) -> str:
    found = _OPERATION.search(body)
    return found[1].decode() if found else ""
