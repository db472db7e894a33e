"""A collector of OpenTelemetry: takes OTLP over HTTP and keeps it, as it came and as what it means."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


@dataclass(frozen=True)
class ReceivedSpan:
    """A span without its times."""

    trace: bytes
    id: bytes
    parent: bytes
    name: str
    failed: bool
    events: int
    status_message: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One value of a counter, or the number of values in a histogram."""

    metric: str
    value: float
    attributes: dict[str, Any]
    is_delta: bool
    bounds: tuple[float, ...] = ()


@dataclass
class Received:
    """All that came."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[ReceivedSpan]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def parent(self, span: ReceivedSpan) -> ReceivedSpan:
        """Return the parent of a span."""
        return next(other for other in self.spans if other.id == span.parent)

    def sum(self, metric: str, **attributes: str) -> float:
        """Return what a counter has counted under these attributes."""
        return sum(
            point.value
            for point in self.points
            if point.metric == metric and attributes.items() <= point.attributes.items()
        )

    def take(self, path: str, body: bytes) -> None:
        """Record a request."""
        if path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(_attributes(of_resource.resource.attributes))
                for scope in of_resource.scope_spans:
                    self.spans += [_span(span) for span in scope.spans]
        else:
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(_attributes(measured.resource.attributes))
                for counts in measured.scope_metrics:
                    for metric in counts.metrics:
                        self.points += _points(metric)


def _span(span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.name,
        span.status.code == 2,
        len(span.events),
        span.status.message,
        _attributes(span.attributes),
    )


def _points(metric: Any) -> list[Point]:
    sums = [
        Point(metric.name, point.as_int, _attributes(point.attributes), metric.sum.aggregation_temporality == _DELTA)
        for point in metric.sum.data_points
    ]
    is_delta = metric.histogram.aggregation_temporality == _DELTA
    return sums + [
        Point(metric.name, point.count, _attributes(point.attributes), is_delta, tuple(point.explicit_bounds))
        for point in metric.histogram.data_points
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(element) for element in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def collector() -> Iterator[Received]:
    """Run a collector."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                received.bodies.append(body)
                received.headers.append({name.lower(): value for name, value in self.headers.items()})
                received.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
