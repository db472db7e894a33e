"""HTTP to one vendor host; problems are `TransientError`, `RefusedError` or `UnreadableAnswerError`."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import HTTPError

from campaign_sync.connection_failure import explain_failure
from campaign_sync.optimizely.errors import (
    OptimizelyError,
    RefusedError,
    TransientError,
    UnreadableAnswerError,
)
from campaign_sync.optimizely.row_reader import RowReader

MAX_ANSWER_BYTES = 256 * 1024**2
"""The largest answer, uncompressed, unless the number of requested rows allows a larger one."""

_BYTES_PER_ROW = 128 * 1024
"""The largest row: 15 attributes of 4,000 characters, some of them in two bytes, and the markup around them."""

_MOST_BYTES = 2 * 1024**3 - 1
"""The most bytes of an answer held at once, whatever its rows: the limit of the parser."""

_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    content: bytes = field(repr=False)


class _OneHostAdapter(HTTPAdapter):
    """An adapter whose calls all go to one host with the same settings: it looks for their pool only once."""

    _connections: ConnectionPool | None = None

    def get_connection_with_tls_context(self, *call: Any, **settings: Any) -> ConnectionPool:
        """Return the pool of connections to the host, or to the proxy before it."""
        connections = self._connections
        if connections is None:
            connections = self._connections = super().get_connection_with_tls_context(*call, **settings)
        return connections

    def close(self) -> None:
        """Close the connections; a later call would open others."""
        self._connections = None
        super().close()


class Transport:
    """A pool of connections to the host of `base_url`; safe to use from many threads at once.

    `ca_file` names a PEM file with the only CAs to trust; by default those that browsers trust.
    """

    def __init__(self, base_url: str, *, parallel_calls: int, timeout_seconds: float, ca_file: str | None = None):
        self.base_url = base_url.rstrip("/")
        self.host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        self._timeout_seconds = timeout_seconds
        self._ca_file = ca_file
        self._http = requests.Session()
        adapter = _OneHostAdapter(pool_connections=1, pool_maxsize=parallel_calls + 1, pool_block=False)
        self._http.mount("http://", adapter)
        self._http.mount("https://", adapter)
        # Proxies and CAs from the environment, read once: requests does so for every call, which takes as long as the
        # call itself.
        self._environment = self._http.merge_environment_settings(self.base_url, {}, True, ca_file, None)
        self._prepared: dict[tuple[str, str], requests.PreparedRequest] = {}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, url: str) -> bytes:
        """Fetch a document from this host.

        Raises:
            RefusedError: the URL is at another host, or the document doesn't exist.
            TransientError: the host can't be reached, or fails.
            UnreadableAnswerError: the document is too large.
        """
        wanted, own = urlsplit(url), urlsplit(self.base_url)
        if (wanted.scheme, wanted.netloc.rpartition("@")[2]) != (own.scheme, self.host):
            raise RefusedError(f"a WSDL refers to another host than {self.host}; nothing is fetched from there.")
        response = self._exchange("GET", url, None, self._timeout_seconds, MAX_ANSWER_BYTES)
        if response.status != requests.codes.ok:
            raise self._without_soap(response)
        return response.content

    def post(
        self,
        service: str,
        envelope: bytes,
        *,
        timeout_seconds: float | None = None,
        rows_asked_for: int = 0,
        reader: RowReader | None = None,
    ) -> Reply:
        """Post an envelope and return the answer, whatever its status. Its size limit grows with the requested rows.

        If there is a `reader`, it reads the answer while it arrives, and the reply holds only the rest.

        Raises:
            TransientError: there is no answer, or it is cut off.
            UnreadableAnswerError: the answer is too large.
            NotSoapError: see `RowReader.feed`.
        """
        url = f"{self.base_url}/Rpc{service}"
        most_bytes = max(MAX_ANSWER_BYTES, rows_asked_for * _BYTES_PER_ROW)
        seconds = timeout_seconds or self._timeout_seconds
        return self._exchange("POST", url, envelope, seconds, most_bytes, reader)

    def not_soap(self, response: Reply) -> OptimizelyError:
        """Return the error for an answer to `post` without a SOAP envelope."""
        if response.status != requests.codes.ok:
            return self._without_soap(response)
        html = "html" in response.content_type.lower()
        what = "a web page, as proxies and login portals do" if html else "incomplete SOAP or none at all"
        return TransientError(
            f"{self.host} answered with {what}. Check optimizely.base_url and the proxies on the way; if both are "
            "correct, try again.",
            outcome_unknown=True,
        )

    def hostile(self) -> OptimizelyError:
        """Return the error for an answer to `post` with XML that SOAP forbids and attacks use."""
        return UnreadableAnswerError(
            f"{self.host} answered with a document type (DTD) or references without end, which SOAP forbids and "
            "attacks use; find out which server answered before you send anything to it again.",
            outcome_unknown=True,
        )

    def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        timeout_seconds: float,
        most_bytes: int,
        reader: RowReader | None = None,
    ) -> Reply:
        request = self._request(method, url, body)
        failure: OptimizelyError
        # No redirects: credentials and people's data go to the configured host or nowhere.
        try:
            with self._http.send(
                request, timeout=timeout_seconds, allow_redirects=False, **self._environment
            ) as response:
                content = self._read(response, most_bytes, reader, changing=body is not None)
                return Reply(response.status_code, response.headers.get("Content-Type", ""), content)
        except requests.RequestException as error:
            failure = self._unreachable(error, timeout_seconds, changing=body is not None)
        except HTTPError as error:
            failure = self._unreachable(requests.RequestException(error), timeout_seconds, changing=body is not None)
        except OSError:  # raised by requests before it connects, if the CA file was removed since the start
            where = f"{self._ca_file} (optimizely.ca_file)" if self._ca_file else "the file in REQUESTS_CA_BUNDLE"
            failure = RefusedError(f"{where} can't be read any more; put it back.")
        raise failure  # outside of `except`, because the caught exception holds the envelope

    def _request(self, method: str, url: str, body: bytes | None) -> requests.PreparedRequest:
        """Return a request. Those to the same URL differ in body and cookies: preparing all else is half of a call."""
        prepared = self._prepared.get((method, url))
        if prepared is None:
            headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'} if body is not None else {}
            prepared = requests.Request(method, url, {**self._http.headers, **headers}).prepare()
            self._prepared[method, url] = prepared
        request = prepared.copy()
        if body is not None:
            request.body, request.headers["Content-Length"] = body, str(len(body))
        if self._http.cookies:
            request.prepare_cookies(self._http.cookies)
        return request

    def _read(self, response: requests.Response, most_bytes: int, reader: RowReader | None, *, changing: bool) -> bytes:
        """Read the answer, uncompressed, up to its size limit; return the rest of it if there is a reader."""
        pieces: list[bytes] = []
        size = held = 0
        for piece in response.iter_content(_PIECE_BYTES):
            size += len(piece)
            if reader is None:
                pieces.append(piece)
                held = size
            else:
                reader.feed(piece)
                held = reader.held
            if size > most_bytes or held > _MOST_BYTES:
                raise UnreadableAnswerError(
                    f"{self.host} answered with more than {min(most_bytes, _MOST_BYTES) // 1024**2} MiB, which no "
                    "answer of the vendor's should be; check optimizely.base_url and the proxies on the way.",
                    outcome_unknown=changing,
                )
        return b"".join(pieces) if reader is None else reader.rest()

    def _unreachable(
        self, error: requests.RequestException, timeout_seconds: float, *, changing: bool
    ) -> TransientError:
        failure = explain_failure(
            error, url_setting="optimizely.base_url", ca_setting="optimizely.ca_file", seconds=timeout_seconds
        )
        return TransientError(f"{self.host}: {failure.problem}.", outcome_unknown=changing and not failure.unsent)

    def _without_soap(self, response: Reply) -> OptimizelyError:
        status = response.status
        if status in (requests.codes.too_many_requests, requests.codes.request_timeout) or status >= 500:
            return TransientError(
                f"{self.host} answered HTTP {status} without SOAP: it, or a proxy before it, has a problem. "
                "Try again later.",
                outcome_unknown=status != requests.codes.too_many_requests,
            )
        return RefusedError(
            f"{self.host} answered HTTP {status} without SOAP. Check optimizely.base_url (it ends in /soap11), the "
            "proxies on the way, and that the vendor allows this machine's address."
        )
