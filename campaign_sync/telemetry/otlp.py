"""The way to a collector of OpenTelemetry, OTLP over HTTP. The only module that needs the extra `telemetry`."""

import logging
import os
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from campaign_sync.config import OtlpSettings
from campaign_sync.telemetry.instruments import Instruments

EXPORT_SECONDS = 3.0
"""How long one delivery may take."""

_DELTAS: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
"""A run is a process that soon ends, so it exports what it added; totals would start again with every run."""

log = logging.getLogger(__name__)


class ExportWarning:
    """A warning that the collector doesn't accept what it is sent, logged once however often that happens."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc
        self._logged = False
        self._lock = threading.Lock()

    def log_once(self) -> None:
        """Log the warning unless it has been logged."""
        with self._lock:
            logged, self._logged = self._logged, True
        if not logged:
            log.warning(
                "The collector at %s doesn't take this run's telemetry, or not all of it; the run goes on without. "
                "Check telemetry.otlp and whether the collector is up.",
                self._host,
            )


class Collector:
    """A connection to the collector, for one run."""

    def __init__(self, settings: OtlpSettings) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it repeats itself; `ExportWarning` doesn't
        self.warning = ExportWarning(settings.endpoint)
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        spans = _Spans(self.warning, f"{settings.endpoint}/v1/traces", headers)
        counts = _Counts(self.warning, f"{settings.endpoint}/v1/metrics", headers)
        # No id of the instance: each run would be one, and every metric multiplied by all the runs there ever were.
        about = Resource({SERVICE_NAME: "campaign_sync", SERVICE_VERSION: version("campaign-sync")})
        resource = about.merge(OTELResourceDetector().detect())
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(spans))
        reader = PeriodicExportingMetricReader(counts)
        meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        self.instruments = Instruments(tracers, meters)
        self.flushes = (tracers.shutdown, meters.shutdown)
        """Each sends what is left of its kind, and ends it."""


class _Spans(OTLPSpanExporter):
    def __init__(self, warning: ExportWarning, endpoint: str, headers: dict[str, str]) -> None:
        super().__init__(endpoint=endpoint, headers=headers, timeout=EXPORT_SECONDS)
        self._warning = warning

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._warning.log_once()
        return result


class _Counts(OTLPMetricExporter):
    def __init__(self, warning: ExportWarning, endpoint: str, headers: dict[str, str]) -> None:
        asked = OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE in os.environ
        temporality = None if asked else _DELTAS
        super().__init__(endpoint=endpoint, headers=headers, timeout=EXPORT_SECONDS, preferred_temporality=temporality)
        self._warning = warning

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = EXPORT_SECONDS * 1000, **kwargs: Any
    ) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **kwargs)
        if result is not MetricExportResult.SUCCESS:
            self._warning.log_once()
        return result
