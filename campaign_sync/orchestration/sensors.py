"""The sensors of a mandator: those that are switched on and configured."""

from collections.abc import Sequence

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.orchestration.alert_sensor import alarm_sensor
from campaign_sync.orchestration.crm_export_sensor import crm_export_sensor
from campaign_sync.orchestration.drift_sensor import list_drift_sensor
from campaign_sync.orchestration.feedback_schedules import feedback_watch
from campaign_sync.orchestration.repair_sensor import unfinished_replace_sensor
from campaign_sync.orchestration.report_sensor import report_sensor


def mandator_sensors(
    configuration: Configuration, mandator: str, assets: Sequence[dg.AssetsDefinition]
) -> list[dg.SensorDefinition]:
    """Return the sensors of `mandator`, a key of the configuration, which has these assets."""
    switches = configuration.mandators[mandator].automation
    sensors = [
        unfinished_replace_sensor(configuration, mandator) if switches.repair else None,
        feedback_watch(configuration, mandator) if switches.feedback_watch else None,
        crm_export_sensor(configuration, mandator),
        alarm_sensor(configuration, mandator, assets) if switches.alarms else None,
        list_drift_sensor(configuration, mandator),
        report_sensor(configuration, mandator),
    ]
    return [sensor for sensor in sensors if sensor]
