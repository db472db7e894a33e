"""A vendor that answers at once: it reads only the operation's name, and accepts everything."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from campaign_sync.sandbox import axis_messages
from campaign_sync.sandbox.wsdl import SERVICES, Parameter, Signature, wsdl
from campaign_sync_tests.benchmarks.people import CONTRACT

LIST, MANDATOR, BATCH_ROWS = 100000000011, 8100, 1000

_FLAT = "addAll3Flat"
SERVICES["Recipient"][_FLAT] = Signature(
    _FLAT,
    (*SERVICES["Recipient"]["addAll3"].parameters[:-1], Parameter("flatAttributeValues", "string[]")),
    "int[]",
)
"""The vendor's variant for clients that can't nest arrays, such as zeep; the product doesn't use it."""

_ANSWERS: dict[str, axis_messages.Value] = {
    "login": "session",
    "getAllIds": [LIST],
    "getAttributeNames": list(CONTRACT.list_attributes),
    "addAll3": [0] * BATCH_ROWS,
    _FLAT: [0] * BATCH_ROWS,
    "getCount": 0,
}
_PATH = re.compile(rb"(GET|POST) \S*/Rpc(\w+)(\?wsdl)?")
_OPERATION = re.compile(rb"<(?:[\w-]+:)?Body>\s*<(?:[\w-]+:)?(\w+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@contextmanager
def serve() -> Iterator[str]:
    """Run it in its own process; yield the base URL."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _answers() -> dict[tuple[str, str], bytes]:
    return {
        (service, name): _http(axis_messages.answer(service, operation, _ANSWERS.get(name)))
        for service, operations in SERVICES.items()
        for name, operation in operations.items()
        if operation.returns is None or name in _ANSWERS
    }


def _http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml;charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _converse(connection: socket.socket, answers: dict[tuple[str, str], bytes]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        _answer_all(connection, answers)


def _answer_all(connection: socket.socket, answers: dict[tuple[str, str], bytes]) -> None:
    room = memoryview(bytearray(1024**2))
    while True:
        filled = 0
        while b"\r\n\r\n" not in bytes(room[:filled]):
            received = connection.recv_into(room[filled:])
            if not received:
                return
            filled += received
        head, _, start = bytes(room[:filled]).partition(b"\r\n\r\n")
        asked, length = _PATH.match(head), _LENGTH.search(head)
        assert asked
        service = asked[2].decode()
        left = (int(length[1]) if length else 0) - len(start)
        while left > 0:
            received = connection.recv_into(room, min(left, len(room)))
            if len(start) < 4096:
                start += bytes(room[: min(received, 4096)])
            left -= received
        if asked[3]:
            connection.sendall(_http(wsdl(service)))
        else:
            operation = _OPERATION.search(start)
            assert operation
            connection.sendall(answers[service, operation[1].decode()])


def main() -> None:
    """Listen until the end."""
    answers = _answers()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/soap11\n")
        sys.stdout.flush()
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_converse, args=(connection, answers), daemon=True).start()


if __name__ == "__main__":
    main()
