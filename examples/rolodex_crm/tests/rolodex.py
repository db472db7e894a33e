"""A Rolodex of a few lines, with a real HTTP server, and faults."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Rolodex:
    """The contacts and lists, and the faults that its server has now."""

    def __init__(self) -> None:
        self.contacts: dict[str, dict[str, Any]] = {}
        self.lists: defaultdict[str, list[str]] = defaultdict(list)
        self.loses = self.hangs_up = self.refuses_all = False
        self.refused: set[str] = set()

    def get(self, path: list[str], offset: int, limit: int) -> object:
        """Return what a GET answers; None for 404."""
        match path:
            case ["contacts"]:
                return self._page(list(self.contacts.values()), offset, limit)
            case ["contacts", contact_id]:
                return self.contacts.get(contact_id)
            case ["lists", name, "members"] if name in self.lists:
                return self._page(self.lists[name], offset, limit)
        return None

    def patch(self, contact_id: str, changes: dict[str, Any]) -> int:
        """Change a contact, and return the status."""
        if contact_id not in self.contacts:
            return 404
        if self.refuses_all or contact_id in self.refused:
            return 422
        contact = self.contacts[contact_id]
        contact["consents"].update(changes.pop("consents", {}))
        contact.update(changes)
        return 200

    def _page(self, items: list[Any], offset: int, limit: int) -> object:
        readable = items[:-1] if self.loses else items
        return {"total": len(items), "items": readable[offset : offset + limit]}


@contextmanager
def serving(rolodex: Rolodex) -> Iterator[str]:
    """Serve a Rolodex, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            path = [unquote(part) for part in url.path.strip("/").split("/")]
            answer = rolodex.get(path, query.get("offset", 0), query.get("limit", 100))
            self._send(200 if answer is not None else 404, answer, cut=rolodex.hangs_up and query.get("offset", 0) > 0)

        def do_PATCH(self) -> None:
            changes = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(rolodex.patch(unquote(self.path.rpartition("/")[2]), changes), {})

        def _send(self, status: int, answer: object, *, cut: bool = False) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
