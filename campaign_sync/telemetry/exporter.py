"""The export of a run's spans and counts to a collector. No run fails because of it, and none waits long."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from campaign_sync.config import OtlpSettings, UnavailableError
from campaign_sync.telemetry.instruments import using

if TYPE_CHECKING:
    from campaign_sync.telemetry.otlp import Collector

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 4.0
"""How long the end of a run waits for the collector to take what is left."""


@contextmanager
def exporting(settings: OtlpSettings | None) -> Iterator[None]:
    """Send spans and counts to the collector within the context; do nothing without settings."""
    if settings is None:
        yield
        return
    collector = _collector(settings)
    if collector is None:
        yield
        return
    try:
        with using(collector.instruments):
            yield
    finally:
        _close(collector)


def _collector(settings: OtlpSettings) -> "Collector | None":
    """Return the connection; None where it can't be prepared, for example because of the SDK's own variables."""
    try:
        from campaign_sync.telemetry.otlp import Collector  # the SDK is there only where it is asked for

        return Collector(settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on without
        log.warning(
            "No telemetry goes out (%s); the run goes on without. Check telemetry.otlp and the variables OTEL_*.",
            error if isinstance(error, UnavailableError) else type(error).__name__,
        )
        return None


def _close(collector: "Collector") -> None:
    """Flush both kinds at the same time, in daemon threads: what takes too long is given up."""
    flushing = [threading.Thread(target=flush, daemon=True) for flush in collector.flushes]
    for thread in flushing:
        thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for thread in flushing:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in flushing):
        collector.warning.log_once()
