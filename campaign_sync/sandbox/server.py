"""The HTTP server of the sandbox: SOAP by POST, WSDLs at `?wsdl`."""

import gzip
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any

from campaign_sync.sandbox.axis_messages import SoapError, fault
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.sandbox.web_services import ConnectionDroppedError, handle
from campaign_sync.sandbox.wsdl import SERVICES, PartNames, wsdl

_PATH = "/soap11/Rpc"


@contextmanager
def serve(
    state: VendorState,
    host: str = "127.0.0.1",
    port: int = 0,
    part_names: PartNames = "in0",
    *,
    gzips_answers: bool = False,
) -> Iterator[str]:
    """Serve a simulated vendor in the background while the context lasts.

    Args:
        state: the vendor's state; the caller closes it.
        host: the interface to listen on.
        port: the port; 0 picks a free one.
        part_names: how the WSDLs name parameters. Calls may always use either kind of names.
        gzips_answers: gzip answers to clients that accept it, as a proxy before the vendor might.

    Yields:
        The base URL, to which `/Rpc<Service>` is appended.

    Raises:
        OSError: the port isn't available.
    """
    with _Server((host, port), partial(_Handler, state, part_names, gzips_answers)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox")
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}/soap11"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    """Finishes pending answers when it ends, and closes idle connections."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in self._open.copy():
            try:
                connection.shutdown(socket.SHUT_RD)
            except OSError:  # closed by its thread
                continue
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that close the connection; report anything else, which is a bug."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(
        self,
        state: VendorState,
        part_names: PartNames,
        gzips_answers: bool,
        request: Any,
        address: Any,
        server: BaseServer,
    ) -> None:
        self._vendor, self._part_names, self._gzips_answers = state, part_names, gzips_answers
        super().__init__(request, address, server)

    def do_GET(self) -> None:
        service = self._service()
        if service is None:
            self._answer(HTTPStatus.NOT_FOUND, b"No such service", "text/plain")
        elif self.path.lower().endswith("?wsdl"):
            self._answer(HTTPStatus.OK, wsdl(service, self._part_names))
        else:
            self._answer(HTTPStatus.OK, b"<h1>This is an AXIS service</h1>", "text/html")

    def do_POST(self) -> None:
        service, body = self._service(), self._body()
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, b"No such content coding", "text/plain")
            return
        if service is None:
            missing = SoapError(
                "The AXIS engine could not find a target service to invoke!", "soapenv:Server.NoService"
            )
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, fault(missing))
            return
        try:
            self._answer(HTTPStatus.OK, handle(self._vendor, service, body))
        except SoapError as problem:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, fault(problem))
        except ConnectionDroppedError as hung_up:
            if whole := hung_up.unfinished:
                self._answer(HTTPStatus.OK, whole, cut_off=True)
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Log nothing: calls are recorded in the state, without personal data."""

    def _service(self) -> str | None:
        name = self.path.partition("?")[0].removeprefix(_PATH)
        return name if self.path.startswith(_PATH) and name in SERVICES else None

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/xml", *, cut_off: bool = False
    ) -> None:
        """Send an answer, or half of it with the headers of the whole."""
        headers = [f"Content-Type: {content_type};charset=utf-8"]
        if self._gzips_answers and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            headers += ["Content-Encoding: gzip", "Vary: Accept-Encoding"]
        headers.append(f"Content-Length: {len(body)}")
        # One write: with two, the second packet would wait for the acknowledgement of the first.
        head = "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *headers, "", ""])
        self.wfile.write(head.encode() + (body[: len(body) // 2] if cut_off else body))
