"""A session with a web API: one login for all threads, and calls that are repeated where that is safe."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from campaign_sync.connection_failure import explain_failure
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.web_api.answer import Answer, Judge, Retry

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0

ANSWER_SECONDS = 120.0
"""How long the server may send nothing."""

PATIENCE_SECONDS = 900.0
"""How long a call waits in all, between its attempts. The quotas of both APIs are counted over five minutes."""

MAX_ANSWER_BYTES = 512 * 1024**2

MOST_FAILURES = 6
"""How often a call is sent in vain where the API doesn't say when to come again: about a minute."""

MOST_UNSENT = 3
"""How often a connection is tried in vain."""

_WORTH_A_MESSAGE_SECONDS = 5.0

_CLOCKS_APART_SECONDS = 0.5
"""Added to a pause that the API asks for: who comes back too early waits longer."""

_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})

_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True)
class _Request:
    method: str
    url: str
    repeatable: bool
    arguments: dict[str, Any] = field(repr=False)
    needs_token: bool = True
    setting: str = "crm.url"
    """Where the host is configured."""


@dataclass
class _Attempts:
    """What a call has been through."""

    made: int = 0
    failed: int = 0
    """Those after which the API asked for no pause."""
    waited: float = 0.0
    renewed: bool = False
    """Whether the last of them had a new token."""


class ApiSession:
    """Calls a web API. Safe to use from many threads at once.

    Args:
        title: the CRM's name for messages.
        base_url: the API's address. Tokens and people's data go to its host only.
        login: logs in with `call_without_token`, and returns a token. Called again when a token has expired.
        judge: says which answers mean that the same call may succeed later, and which are errors.
        headers: sent with every call.
        ca_file: a PEM file with the only CAs to trust; by default those that browsers trust.
        wait: waits for a number of seconds.
    """

    def __init__(
        self,
        title: str,
        base_url: str,
        login: "Callable[[ApiSession], str]",
        judge: Judge,
        *,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.title = title
        self.calls = 0
        """How many calls were sent so far, logins included."""
        self._base_url = base_url.rstrip("/")
        self._login, self._judge, self._wait = login, judge, wait
        self._headers = dict(headers or {})
        self._ca_file = ca_file
        self._http = requests.Session()
        self._token: str | None = None
        self._token_lock, self._lock = Lock(), Lock()
        self._resume_at = 0.0

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """Call the API, and return an answer that the judge has nothing against.

        Args:
            method: of HTTP.
            path: below the API's address, beginning with a slash; or a URL that the API gave, at the same host.
            query: what follows the path.
            headers: beside those of the session.
            json: the content, as JSON.
            data: the content, instead of JSON.
            repeatable: whether the call may be sent again if it is unknown whether it had an effect. By default those
                whose method says so.

        Raises:
            CrmError: there is no answer, or none that the judge accepts, however often it was tried.
        """
        arguments = {"params": query, "headers": {**self._headers, **(headers or {})}, "json": json, "data": data}
        may_repeat = method in _REPEATABLE if repeatable is None else repeatable
        return self._exchange(_Request(method, self._url(path), may_repeat, arguments), self._judge)

    def call_without_token(self, method: str, url: str, *, data: Mapping[str, str], setting: str = "crm.url") -> Answer:
        """Call any URL without a token, with a form; for logging in. It is repeated where there is no answer.

        Args:
            method: of HTTP.
            url: what is called.
            data: the form.
            setting: where the URL's host is configured, for messages.

        Raises:
            CrmError: as `call`.
        """
        request = _Request(
            method, url, repeatable=True, arguments={"data": dict(data)}, needs_token=False, setting=setting
        )
        return self._exchange(request, lambda _: None)

    def _exchange(self, request: _Request, judge: Judge) -> Answer:
        attempts = _Attempts()
        while True:
            token = self._current_token() if request.needs_token else None
            outcome = self._attempt(request, token, judge)
            if isinstance(outcome, Answer):
                return outcome
            if outcome.renew_token:
                self._renew(token, attempts)
            else:
                attempts.renewed = False  # during a long pause, a token may end again
            self._pause(outcome, attempts)

    def _attempt(self, request: _Request, token: str | None, judge: Judge) -> Answer | Retry:
        """Send a request once.

        Raises:
            CrmError: trying again doesn't help, or isn't safe.
        """
        self._keep_to_pause()
        received = self._send(request, token)
        if isinstance(received, Retry):
            if not request.repeatable and not isinstance(received, _Unsent):
                raise CrmError(received.reason)
            return received
        verdict = judge(received)
        if isinstance(verdict, CrmError):
            raise verdict
        if verdict is not None:
            return verdict
        return self._checked(received, request)

    def _checked(self, answer: Answer, request: _Request) -> Answer | Retry:
        if 300 <= answer.status < 400:
            raise CrmSetupError(
                f"{self.title} redirects to another address, where nothing is sent; correct crm.url, which names the "
                "server itself"
            )
        if answer.status >= 500 or answer.status in (requests.codes.request_timeout, requests.codes.too_many_requests):
            retry = Retry(f"{self.title} answers with status {answer.status}; try again later", answer.retry_after)
            if request.repeatable or answer.status == requests.codes.too_many_requests:
                return retry
            raise CrmError(retry.reason)
        return answer

    def _send(self, request: _Request, token: str | None) -> Answer | Retry:
        with self._lock:
            self.calls += 1
        try:
            with self._http.request(
                request.method,
                request.url,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
                stream=True,
                verify=self._ca_file or True,
                auth=_authorized_by(token),
                **request.arguments,
            ) as response:
                return Answer(response.status_code, response.headers, self._content(response))
        except requests.RequestException as error:
            return _unanswered(request, error)
        except HTTPError as error:
            return _unanswered(request, requests.RequestException(error))
        except OSError:  # raised by requests before it connects
            pass
        # Outside of `except`, because the caught exception holds what was sent.
        raise CrmSetupError(f"{self._ca_file or 'the CAs of this machine'} can't be read; correct crm.ca_file")

    def _content(self, response: requests.Response) -> bytes:
        pieces, size = [], 0
        for piece in response.iter_content(_PIECE_BYTES):
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise CrmSetupError(
                    f"{self.title} answered with more than {MAX_ANSWER_BYTES // 1024**2} MiB, which no answer should "
                    "be; check crm.url and the proxies on the way"
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _current_token(self) -> str:
        with self._token_lock:
            if self._token is None:
                self._token = self._login(self)
            return self._token

    def _renew(self, token: str | None, attempts: _Attempts) -> None:
        """Forget a token, unless another thread has renewed it already."""
        if attempts.renewed:
            raise CrmSetupError(
                f"{self.title} refuses a token that it has just given; check that the user of crm.client_id may use "
                "the API"
            )
        attempts.renewed = True
        with self._token_lock:
            if self._token == token:
                self._token = None

    def _keep_to_pause(self) -> None:
        """Wait until the end of a pause that the API asked another thread for."""
        with self._lock:
            seconds = self._resume_at - time.monotonic()
        if seconds > 0:
            self._wait(seconds)

    def _pause(self, retry: Retry, attempts: _Attempts) -> None:
        """Wait before the next attempt.

        Raises:
            CrmError: that would be an attempt too many, or take longer than the whole patience.
        """
        attempts.made += 1
        if retry.renew_token and retry.after is None:
            return
        if retry.after is None:
            attempts.failed += 1
        seconds = 2.0**attempts.failed if retry.after is None else retry.after + _CLOCKS_APART_SECONDS
        attempts.waited += seconds
        most = MOST_UNSENT if isinstance(retry, _Unsent) else MOST_FAILURES
        if attempts.failed >= most or attempts.waited > PATIENCE_SECONDS:
            raise CrmError(f"{retry.reason} ({attempts.made} calls in vain)")
        if seconds > _WORTH_A_MESSAGE_SECONDS:
            _log.info("%s: %s; the next attempt follows in %.0f s", self.title, retry.reason, seconds)
        if retry.after is not None:
            with self._lock:
                self._resume_at = max(self._resume_at, time.monotonic() + retry.after)
        self._wait(seconds)

    def _url(self, path: str) -> str:
        if path.startswith("/"):
            return self._base_url + path
        given, own = urlsplit(path), urlsplit(self._base_url)
        if (given.scheme, given.netloc) != (own.scheme, own.netloc):
            raise CrmSetupError(
                f"{self.title} refers to another host than crm.url names; nothing is sent there. Name the host that "
                "it refers to in crm.url"
            )
        return path


class _Unsent(Retry):
    """The server can't have received anything."""


def _unanswered(request: _Request, error: requests.RequestException) -> Retry:
    failure = explain_failure(error, url_setting=request.setting, ca_setting="crm.ca_file", seconds=ANSWER_SECONDS)
    reason = f"{urlsplit(request.url).hostname}: {failure.problem}"
    return _Unsent(reason) if failure.unsent else Retry(reason)


def _authorized_by(token: str | None) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Return what adds a token to a request, and keeps requests from adding what a .netrc has for the host."""

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorize
