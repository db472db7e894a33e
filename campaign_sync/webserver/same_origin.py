"""Middleware that lets only Dagster's own pages, and programs other than browsers, use its webserver.

Dagster executes a mutation that comes as a plain GET or from a form of any website, and records asset events for a bare
POST. A browser sends such requests for every page that it shows, with the reader's login to the proxy, if there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

HOSTS_VARIABLE = "CAMPAIGN_SYNC_UI_HOSTS"
"""Environment variable with the names under which people open the UI through a proxy, as in the header Host."""

_POLICY_VIOLATION = 1008
_OWN_SITES = {"same-origin", "none"}
"""`Sec-Fetch-Site` of a request by a page of the same origin, and of one that a person typed."""


@dataclass(frozen=True)
class AllowedHosts:
    """The values of the header `Host` that are accepted."""

    names: frozenset[str]
    """The configured names: lower case, with the port if browsers send it."""
    loopback_only: bool
    """Whether only names of this machine are accepted besides: websites can point other names to it by DNS."""

    def refusal(self, host: str) -> str | None:
        """Return why a request for `host` is refused; None if it is accepted."""
        if not self.loopback_only or host in self.names or _is_loopback(host):
            return None
        return (
            "The name in the header Host isn't one of this server's. If a proxy leads here, set "
            f"{HOSTS_VARIABLE} to the name under which people reach it."
        )


def allowed_hosts(bound_to: str, environment: Mapping[str, str]) -> AllowedHosts:
    """Return the accepted hosts of a server that listens on `bound_to`.

    On other addresses than loopback all names are accepted, as a proxy or the network controls access there.
    """
    names = {name.strip().lower() for name in environment.get(HOSTS_VARIABLE, "").split(",")} - {""}
    return AllowedHosts(frozenset(names), loopback_only=_is_loopback(bound_to))


@dataclass(frozen=True)
class SameOriginOnly:
    """ASGI middleware that answers 403 to every request that another website could have caused.

    - GET and HEAD: pages and files. Another site may link to a page, but not embed or fetch anything.
    - POST: only `application/json`, which no other site can send without asking first (CORS), and is never granted.
    - `/graphql`: besides POST, the page GraphiQL, without a query in its URL. WebSockets from the own origin only.

    Requests with neither `Origin` nor `Sec-Fetch-Site` come from programs such as curl or dagster-graphql.
    """

    app: ASGIApp
    hosts: AllowedHosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request or a WebSocket."""
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, _unframed(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION, refusal)(scope, receive, send)
        else:
            await PlainTextResponse(refusal, 403, {"X-Content-Type-Options": "nosniff"})(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        return (
            self.hosts.refusal(host)
            or self._foreign_origin(headers, host)
            or _foreign_site(scope, headers)
            or (_unsafe_form(scope, headers) if scope["type"] == "http" else None)
        )

    def _foreign_origin(self, headers: Headers, host: str) -> str | None:
        if all(_netloc(origin) in {host, *self.hosts.names} for origin in headers.getlist("origin")):
            return None
        return (
            "The header Origin names another website. If it is your proxy's name, let the proxy pass on the header "
            f"Host as it came, or set {HOSTS_VARIABLE} to that name."
        )


def _foreign_site(scope: Scope, headers: Headers) -> str | None:
    if all(site in _OWN_SITES for site in headers.getlist("sec-fetch-site")):
        return None
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if scope["type"] == "http" and scope["method"] == "GET" and is_link and not _is_graphql(scope):
        return None
    return "The header Sec-Fetch-Site says that another website caused this request."


def _unsafe_form(scope: Scope, headers: Headers) -> str | None:
    """Return why a request is refused that any website could send in this form; None if it is accepted."""
    method = scope["method"]
    if method == "POST":
        types = [value.partition(";")[0].strip().lower() for value in headers.getlist("content-type")]
        return None if types == ["application/json"] else "A POST must have Content-Type: application/json."
    if method not in ("GET", "HEAD"):
        return "Only GET, HEAD and POST are answered."
    if _is_graphql(scope) and (scope["query_string"] or "text/html" not in headers.get("accept", "")):
        return "Send GraphQL by POST, with Content-Type: application/json."
    return None


def _is_graphql(scope: Scope) -> bool:
    """Return whether the path, decoded as by Dagster, is that of GraphQL, with any prefix."""
    path: str = scope["path"]
    return path.rstrip("/").endswith("/graphql")


def _unframed(send: Send) -> Send:
    """Forbid other sites to show a page in a frame, where they could redirect clicks to it."""

    async def send_unframed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return send_unframed


def _netloc(origin: str) -> str:
    """Return host and port of an `Origin`; an empty string if it has none, as in `null`."""
    try:
        return urlsplit(origin).netloc.lower() if origin.startswith(("http://", "https://")) else ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, names this machine."""
    try:
        name = (urlsplit(f"//{host}").hostname or "") if host != "::1" else host
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
