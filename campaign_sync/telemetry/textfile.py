"""Gauges as a text file that Prometheus' node_exporter picks up (its textfile collector)."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from campaign_sync.telemetry.metrics import GAUGES, GaugeValue

_READABLE_BY_ALL = 0o644


class _GaugeCollector(Collector):
    """Hands values that are already known to `prometheus_client`."""

    def __init__(self, values: Sequence[GaugeValue]) -> None:
        self._values = values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for metric in GAUGES:
            values = [value for value in self._values if value.metric == metric]
            if values:
                family = GaugeMetricFamily(metric.prometheus, metric.meaning, labels=list(values[0].labels))
                for value in values:
                    family.add_metric(list(value.labels.values()), value.value)
                yield family


def text_format(values: Sequence[GaugeValue]) -> bytes:
    """Return the values in Prometheus' text format; gauges without a value are left out."""
    registry = CollectorRegistry()
    registry.register(_GaugeCollector(values))
    return generate_latest(registry)


def write_text_file(path: Path, values: Sequence[GaugeValue]) -> None:
    """Replace the file atomically, so that no reader sees half of it.

    Everybody may read it, whatever the umask is: it contains no personal data, and node_exporter runs as another user.

    Raises:
        OSError: its folder is missing or can't be written to.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text_format(values))
        temporary.chmod(_READABLE_BY_ALL)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
