"""The session of one mandator: shared by all threads, renewed before it expires, always logged out."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.optimizely.errors import (
    ForeignListError,
    OptimizelyError,
    SessionExpiredError,
    TransientError,
    UnreadableAnswerError,
    from_fault,
)
from campaign_sync.optimizely.row_reader import RowReader, RowSink, SinkT
from campaign_sync.telemetry.spans import attempt_number, call_span

if TYPE_CHECKING:
    from campaign_sync.optimizely.service_definition import ServiceDefinition
    from campaign_sync.optimizely.transport import Transport

LIFETIME_SECONDS = 15 * 60.0
"""The age at which a session is renewed. The vendor ends it after 20 minutes, and doesn't document whether calls
prolong it."""

LOGOUT_TIMEOUT_SECONDS = 10.0
"""The limit for a logout. If it fails, the session expires by itself."""

log = logging.getLogger(__name__)


@dataclass
class _Login:
    session_id: str = field(repr=False)
    since: float
    calls: int = 0
    retired: bool = False


class Session:
    """Calls to all services of one mandator. Safe to use from many threads at once."""

    def __init__(
        self,
        transport: "Transport",
        mandator_id: int,
        username: str,
        password: str,
        limiter: ConcurrencyLimiter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.mandator_id = mandator_id
        self.limiter = limiter
        self._transport = transport
        self._username = username
        self._password = password
        self._clock = clock
        self._definitions: dict[str, ServiceDefinition] = {}
        self._definitions_lock = threading.Lock()
        self._login: _Login | None = None
        self._login_lock = threading.RLock()
        self._own_lists: frozenset[int] | None = None
        self._closed = False

    def open(self) -> None:
        """Log in, so that wrong credentials are reported first.

        Raises:
            CredentialsError: the vendor rejects the user.
            TransientError: the vendor can't be reached.
        """
        self.definition("Session")
        _retried(self._log_in_if_needed)

    def close(self) -> None:
        """Log out. Never raises, so that it can't hide an earlier error."""
        with self._login_lock:
            login, self._login, self._closed = self._login, None, True
        if login is not None:
            self._log_out(login)
        self._transport.close()

    def definition(self, service: str) -> "ServiceDefinition":
        """Return the service's definition; its WSDL is fetched at the first use."""
        from campaign_sync.optimizely.service_definition import ServiceDefinition  # zeep is for calls alone

        with self._definitions_lock:
            if service not in self._definitions:
                self._definitions[service] = _retried(
                    lambda: ServiceDefinition(service, self._transport.base_url, self._transport.get)
                )
            return self._definitions[service]

    def call(
        self,
        service: str,
        operation_name: str,
        *arguments: object,
        repeatable: bool = True,
        rows_asked_for: int = 0,
    ) -> Any:
        """Call an operation; the session id goes before `arguments`.

        Args:
            service: as `RecipientList`.
            operation_name: as in the vendor's documents; case is ignored.
            arguments: scalars, lists of texts, rows of texts.
            repeatable: whether to retry after a `TransientError`: only for reads and idempotent operations.
            rows_asked_for: the number of rows that the answer may hold, if it may hold many.

        Returns:
            What the WSDL declares: None, a scalar, a list or a list of rows, with None for nil.

        Raises:
            OptimizelyError: see `errors`.
        """
        definition = self.definition(service)
        operation = definition.operation(operation_name)
        return self.send(
            service,
            operation_name,
            lambda session_id: definition.request(operation, (session_id, *arguments)),
            repeatable=repeatable,
            rows_asked_for=rows_asked_for,
        )

    def read(
        self,
        service: str,
        operation_name: str,
        *arguments: object,
        rows_asked_for: int,
        new_sink: Callable[[], SinkT],
    ) -> SinkT:
        """Call an operation that returns rows, and pass them to a sink while they arrive. See `call`.

        Each attempt gets a new sink; the one with all rows is returned.
        """
        definition = self.definition(service)
        operation = definition.operation(operation_name)
        sinks: list[SinkT] = []

        def sink() -> SinkT:
            sinks.append(new_sink())
            return sinks[-1]

        self.send(
            service,
            operation_name,
            lambda session_id: definition.request(operation, (session_id, *arguments)),
            rows_asked_for=rows_asked_for,
            new_sink=sink,
        )
        return sinks[-1]

    def send(
        self,
        service: str,
        operation_name: str,
        request: Callable[[str], bytes],
        *,
        repeatable: bool = True,
        rows: int | None = None,
        rows_asked_for: int = 0,
        new_sink: Callable[[], RowSink] | None = None,
    ) -> Any:
        """Call an operation by a request that is encoded once the session id is known. See `call` and `read`.

        `rows` is the number of rows it sends, for telemetry.
        """
        attempts = count(attempt_number())

        def attempt() -> Any:
            return self._in_session(
                lambda session_id: self._exchange(
                    service,
                    operation_name,
                    request(session_id),
                    session_id,
                    rows=rows,
                    attempt=next(attempts),
                    rows_asked_for=rows_asked_for,
                    sink=new_sink() if new_sink else None,
                )
            )

        return _retried(attempt) if repeatable else attempt()

    def own_lists(self, *, fresh: bool = False) -> frozenset[int]:
        """Return the ids of the mandator's recipient lists, fetched once a session, or again if `fresh`."""
        known = self._own_lists
        if known is None or fresh:
            known = self._own_lists = frozenset(self.call("RecipientList", "getAllIds"))
        return known

    def check_list_ownership(self, list_id: int) -> None:
        """Raise ForeignListError unless the list is this mandator's."""
        if list_id not in self.own_lists():
            raise ForeignListError(
                f"recipient list {list_id} isn't one of mandator {self.mandator_id}'s. Check recipient_list_id in the "
                "configuration, and that the list is configured under the right mandator."
            )

    def _in_session(self, exchange: Callable[[str], Any]) -> Any:
        with self._lease() as login:
            try:
                return exchange(login.session_id)
            except SessionExpiredError:
                pass  # the vendor refused before doing anything, so a repeat is safe for every operation
        self._forget(login)
        with self._lease() as login:
            return exchange(login.session_id)

    @contextmanager
    def _lease(self) -> Iterator[_Login]:
        """Yield the current session, which stays logged in until the last lease ends."""
        with self._login_lock:
            login = self._log_in_if_needed()
            login.calls += 1
        try:
            yield login
        except (TransientError, UnreadableAnswerError) as error:
            if error.outcome_unknown:
                self._abandon(login)
            raise
        finally:
            with self._login_lock:
                login.calls -= 1
                idle = login.retired and login.calls == 0
            if idle:
                self._log_out(login)

    def _log_in_if_needed(self) -> _Login:
        with self._login_lock:
            if self._closed:
                raise RuntimeError("the connection to Optimizely Campaign is closed")
            if self._login is not None and self._clock() - self._login.since >= LIFETIME_SECONDS:
                self._retire(self._login)
            if self._login is None:
                self._login = self._log_in()
            return self._login

    def _retire(self, login: _Login) -> None:
        self._login, login.retired = None, True
        if login.calls == 0:
            self._log_out(login)

    def _abandon(self, login: _Login) -> None:
        """End a session after its last lease, so that the vendor refuses a lost call that arrives late."""
        self._forget(login)
        login.retired = True

    def _forget(self, login: _Login) -> None:
        """Drop a session that the vendor has ended, unless another thread has replaced it."""
        with self._login_lock:
            if self._login is login:
                self._login = None

    def _log_in(self) -> _Login:
        definition = self.definition("Session")
        arguments = (self.mandator_id, self._username, self._password)
        request = definition.request(definition.operation("login"), arguments)
        since = self._clock()  # before the call, during which the vendor's clock starts
        try:
            session_id = self._exchange("Session", "login", request, "")
        except (TransientError, UnreadableAnswerError) as error:
            error.outcome_unknown = False  # a session whose id was lost does no harm
            raise
        self._own_lists = None
        return _Login(session_id, since)

    def _log_out(self, login: _Login) -> None:
        try:
            definition = self.definition("Session")
            request = definition.request(definition.operation("logout"), (login.session_id,))
            self._exchange("Session", "logout", request, login.session_id, timeout_seconds=LOGOUT_TIMEOUT_SECONDS)
        except OptimizelyError as error:
            log.warning("Logout failed; the session will expire by itself: %s", error)

    def _exchange(
        self,
        service: str,
        operation_name: str,
        request: bytes,
        session_id: str,
        *,
        timeout_seconds: float | None = None,
        rows: int | None = None,
        attempt: int = 1,
        rows_asked_for: int = 0,
        sink: RowSink | None = None,
    ) -> Any:
        from campaign_sync.optimizely.transport import Reply  # requests is for calls alone

        definition = self.definition(service)
        operation = definition.operation(operation_name)
        reader = RowReader(sink) if sink else None
        with call_span(service, operation.name, rows, attempt) as call, self.limiter.observe(TransientError):
            response = Reply(200, "", b"")  # for NotSoapError from the reader
            try:
                response = self._transport.post(
                    service,
                    request,
                    timeout_seconds=timeout_seconds,
                    rows_asked_for=rows_asked_for,
                    reader=reader,
                )
                call.answered(response.status)
                answer = soap_encoding.parse(response.content)
                if answer.fault is None:
                    result = definition.result(operation, answer)
                    return reader.end(result) if reader else result
            except soap_encoding.HostileXmlError:
                failure = self._transport.hostile()
            except soap_encoding.NotSoapError:
                failure = self._transport.not_soap(response)
            else:
                call.faulted(answer.fault_code)
                failure = from_fault(
                    f"{service}.{operation.name}",
                    answer.fault,
                    mandator_id=self.mandator_id,
                    secrets=(session_id, self._username, self._password),
                )
            raise failure


def _retried(call: Callable[[], Any]) -> Any:
    attempts = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(3),
        wait=wait_exponential(multiplier=0.3, max=5) + wait_random(0, 0.3),
        reraise=True,
    )
    return attempts(call)
