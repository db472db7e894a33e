"""The spans of a run: the run itself, its assets, and their vendor calls. They carry names, counts and codes.

Of an error they carry kind and code. Its message stays out: that is for the run's own log.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.telemetry.instruments import instruments
from campaign_sync.telemetry.metrics import CALL_DURATION, FAILURES

_MANDATOR = contexts.create_key("campaign_sync.mandator")
_ATTEMPT = contexts.create_key("campaign_sync.attempt")
_FAULT_CODES = frozenset({"Client", "Server", "MustUnderstand", "VersionMismatch"})
"""What SOAP 1.1 knows. Only these are exported, with what Axis appends: a code is free text of the vendor."""
_FAULT_ENDINGS = frozenset({"userException", "generalException", "NoService", "Unauthenticated"})


class RunSpan:
    """The span of a run, under which all of its assets hang, whatever thread or context they are executed in."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._span = instruments().tracer.start_span("run", contexts.Context(), attributes={"dagster.run_id": run_id})
        self._context = trace.set_span_in_context(self._span, contexts.Context())
        self._failed: dict[str, bool] = {}
        self._mandators: set[str] = set()
        self._lists: set[str] = set()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make spans within the context children of the run's span."""
        token = contexts.attach(self._context)
        try:
            yield
        finally:
            contexts.detach(token)

    def began(self, asset: AssetName) -> None:
        """Note that an asset has begun; it counts as failed until `ended`."""
        self._mandators.add(asset.mandator)
        if asset.kind is AssetKind.RECIPIENT_LIST:
            self._lists.add(f"{asset.mandator}/{asset.recipient_list}")
        self._failed[str(asset)] = True

    def ended(self, asset: AssetName) -> None:
        """Note that an asset was made."""
        self._failed[str(asset)] = False

    def end(self) -> None:
        """End the span: it has failed if the last attempt at one of its assets has."""
        self._span.set_attribute("campaign_sync.mandator", sorted(self._mandators))
        self._span.set_attribute("campaign_sync.lists", sorted(self._lists))
        failed = any(self._failed.values())
        self._span.set_attribute("campaign_sync.outcome", "failed" if failed else "ok")
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


_runs: dict[str, RunSpan] = {}


@contextmanager
def run_span(run_id: str) -> Iterator[RunSpan]:
    """The span of a run, as long as the context lasts."""
    run = _runs[run_id] = RunSpan(run_id)
    try:
        yield run
    finally:
        _runs.pop(run_id, None)
        run.end()


@contextmanager
def asset_span(run_id: str, asset: AssetName, attempt: int) -> Iterator[None]:
    """The span of an attempt at an asset of a run; an error within it is counted as a failure."""
    name, mandator = str(asset), asset.mandator
    attributes: dict[str, str | int] = {
        "dagster.asset_key": name,
        "campaign_sync.mandator": mandator,
        "campaign_sync.attempt": attempt,
    }
    with nullcontext(_runs[run_id]) if run_id in _runs else run_span(run_id) as run:
        run.began(asset)
        try:
            with run.current(), _valued(_MANDATOR, mandator), _span(name, SpanKind.INTERNAL, attributes):
                yield
        except Exception as error:
            instruments().count(FAILURES, 1, mandator=mandator, asset=name, kind=type(error).__name__)
            raise
        run.ended(asset)


def note_rows(rows: int) -> None:
    """Set on the current asset's span how many rows it has made."""
    trace.get_current_span().set_attribute("campaign_sync.rows", rows)


def note_stopped(checks: Sequence[str]) -> None:
    """Set on the current asset's span which of its checks stop downstream assets."""
    if checks:
        trace.get_current_span().set_attribute("campaign_sync.stopped_by", list(checks))


class CallSpan:
    """The span of a vendor call that has begun."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        """Record the HTTP status of the answer."""
        self._span.set_attribute("http.response.status_code", status)

    def faulted(self, code: str) -> None:
        """Record the code of a SOAP fault."""
        self._span.set_attribute("campaign_sync.fault_code", _known_code(code))


@contextmanager
def call_span(service: str, method: str, rows: int | None, attempt: int) -> Iterator[CallSpan]:
    """The span of one exchange with the vendor, and its duration by method and outcome."""
    name = f"{service}.{method}"
    attributes: dict[str, str | int] = {
        "rpc.system": "soap",
        "rpc.service": service,
        "rpc.method": method,
        "campaign_sync.attempt": attempt,
    }
    if rows is not None:
        attributes["campaign_sync.rows"] = rows
    begun, outcome = time.monotonic(), "ok"
    try:
        with _span(name, SpanKind.CLIENT, attributes) as span:
            yield CallSpan(span)
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        mandator = str(contexts.get_value(_MANDATOR) or "")  # none where a run logs out
        seconds = time.monotonic() - begun
        instruments().observe(CALL_DURATION, seconds, mandator=mandator, method=name, outcome=outcome)


@contextmanager
def attempted(number: int) -> Iterator[None]:
    """Calls within the context are of this attempt, the first being 1."""
    with _valued(_ATTEMPT, number):
        yield


def attempt_number() -> int:
    """The attempt that calls are of now."""
    number = contexts.get_value(_ATTEMPT)
    return number if isinstance(number, int) else 1


@contextmanager
def _valued(key: str, value: object) -> Iterator[None]:
    token = contexts.attach(contexts.set_value(key, value))
    try:
        yield
    finally:
        contexts.detach(token)


@contextmanager
def _span(name: str, kind: SpanKind, attributes: dict[str, str | int]) -> Iterator[Span]:
    tracer = instruments().tracer
    with tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("campaign_sync.outcome", "failed")
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        span.set_attribute("campaign_sync.outcome", "ok")


def _known_code(code: str) -> str:
    name, _, ending = code.rpartition(":")[2].partition(".")
    if name not in _FAULT_CODES:
        return "other"
    return f"{name}.{ending}" if ending in _FAULT_ENDINGS else name
