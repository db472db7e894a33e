"""The sensor that updates the file of metrics, also while no run is under way."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.message import Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.storage.state import State


def metrics_sensor(configuration: Configuration) -> dg.SensorDefinition | None:
    """Return the sensor that writes `telemetry.prometheus_file` every two minutes; None if no file is configured."""
    path = configuration.telemetry.prometheus_file
    if path is None:
        return None
    from campaign_sync.telemetry.textfile import write_text_file  # Prometheus' package is for this file alone

    @dg.sensor(
        name=name_in_dagster("campaign_sync_metrics", prefix=configuration.prefix),
        minimum_interval_seconds=120,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message("Writes the file of metrics for Prometheus: the state of all lists and of all feedback."),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        with State(configuration.storage.state_url.get_secret_value()) as state:
            samples = state.gauges.all(configuration, datetime.now(UTC))
        write_text_file(Path(path), samples)
        return dg.SkipReason(f"{len(samples)} values were written")

    return sensor
