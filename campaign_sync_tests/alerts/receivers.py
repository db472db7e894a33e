"""Receivers of alerts: a mail server and a web server on 127.0.0.1 that keep what they get."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from campaign_sync_tests.stack import free_port


@dataclass
class Mailbox:
    """A mail server and all mails it accepted."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refuses: bool = False
    unknown: str = ""
    """An address that has no mailbox."""
    farewell: str = "221 bye"

    async def handle_QUIT(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """Answer the farewell."""
        return self.farewell

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the mail."""
        if self.refuses:
            return "451 try again later"
        if self.unknown in envelope.rcpt_tos:
            return "550 no such mailbox"
        content = envelope.content
        assert isinstance(content, bytes)
        mail = BytesParser(_class=EmailMessage, policy=default).parsebytes(content)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 accepted"

    @property
    def subjects(self) -> list[str]:
        """The subjects of the mails, without the prefix."""
        return [str(mail["Subject"]).strip().removeprefix("[campaign_sync] ") for mail in self.mails]


@contextmanager
def mail_server(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, login: tuple[str, str] | None = None
) -> Iterator[Mailbox]:
    """Run a mail server; with a context, it requires STARTTLS, or TLS from the first byte if `implicit`."""
    mailbox = Mailbox(port=free_port())

    def authenticated(*arguments: Any) -> AuthResult:
        given = arguments[-1]
        assert isinstance(given, LoginPassword)
        return AuthResult(success=(given.login.decode(), given.password.decode()) == login, handled=False)

    settings: dict[str, Any] = {"authenticator": authenticated, "auth_required": True} if login else {}
    if tls and not implicit:
        settings |= {"tls_context": tls, "require_starttls": True}
    if login and implicit:
        settings |= {"auth_require_tls": False}  # aiosmtpd doesn't notice that the whole connection is encrypted
    if implicit:
        settings |= {"ssl_context": tls}
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, **settings)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@dataclass
class Inbox:
    """A web server, all JSON it accepted, and the paths that it was asked for."""

    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    gets: list[str] = field(default_factory=list)
    status: int = 200
    location: str = ""
    """The target of a redirect."""


@contextmanager
def web_server() -> Iterator[Inbox]:
    """Run a web server that accepts JSON and heartbeats."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if inbox.status < 300:
                inbox.posts.append(json.loads(body))
            self._answer()

        def do_GET(self) -> None:
            if inbox.status < 300:
                inbox.gets.append(self.path)
            self._answer()

        def _answer(self) -> None:
            self.send_response(inbox.status)
            if inbox.location:
                self.send_header("Location", inbox.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    inbox.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
