"""Where spans and counts go: to the collector of the run under way, or to whatever SDK this process has set up.

Without either they go nowhere, and cost next to nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry import metrics, trace

from campaign_sync.telemetry.metrics import COUNTERS, HISTOGRAMS, Metric

DURATION_BOUNDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
"""Upper bounds of the buckets of durations, in seconds."""

_SCOPE = "campaign_sync"


class Instruments:
    """A tracer, and an instrument for each metric."""

    def __init__(self, tracers: trace.TracerProvider, meters: metrics.MeterProvider) -> None:
        meter = meters.get_meter(_SCOPE)
        self.tracer = tracers.get_tracer(_SCOPE)
        self._counters = {metric: meter.create_counter(metric.name, metric.unit, metric.meaning) for metric in COUNTERS}
        self._histograms = {
            metric: meter.create_histogram(
                metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=DURATION_BOUNDS
            )
            for metric in HISTOGRAMS
        }

    def count(self, metric: Metric, amount: int, **labels: str) -> None:
        """Add to a counter."""
        if amount:
            self._counters[metric].add(amount, labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._histograms[metric].record(value, labels)


@lru_cache(maxsize=1)
def _of_this_process() -> Instruments:
    return Instruments(trace.get_tracer_provider(), metrics.get_meter_provider())


_in_use: list[Instruments] = []


def instruments() -> Instruments:
    """The ones to be used now."""
    return _in_use[-1] if _in_use else _of_this_process()


@contextmanager
def using(those: Instruments) -> Iterator[None]:
    """Have `those` used in this process, by whatever thread, as long as the context lasts."""
    _in_use.append(those)
    try:
        yield
    finally:
        _in_use.remove(those)
