"""All sensors: one for each purpose, which serves every mandator for which it is switched on and configured."""

from collections.abc import Mapping, Sequence

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.orchestration.alert_sensor import alarm_sensor
from campaign_sync.orchestration.crm_export_sensor import crm_export_sensor
from campaign_sync.orchestration.drift_sensor import list_drift_sensor
from campaign_sync.orchestration.feedback_schedules import feedback_watch
from campaign_sync.orchestration.mandator_jobs import MandatorJobs
from campaign_sync.orchestration.metrics_sensor import metrics_sensor
from campaign_sync.orchestration.repair_sensor import repair_sensor
from campaign_sync.orchestration.report_sensor import report_sensor
from campaign_sync.orchestration.retention_watch import retention_watch


def all_sensors(
    configuration: Configuration,
    assets: Mapping[str, Sequence[dg.AssetsDefinition]],
    jobs: Mapping[str, MandatorJobs],
) -> list[dg.SensorDefinition]:
    """Return the sensors that serve these mandators.

    Args:
        configuration: all mandators.
        assets: of each mandator that is served.
        jobs: of each of them.
    """
    settings = {mandator: configuration.mandators[mandator] for mandator in assets}
    monitored = {name: assets[name] for name in assets if settings[name].automation.alarms}
    watched = [name for name in assets if settings[name].automation.feedback_watch]
    sensors = [
        alarm_sensor(configuration, monitored),
        repair_sensor(configuration, {name: jobs[name].daily for name in jobs}),
        report_sensor(configuration, {name: job for name in jobs if (job := jobs[name].report)}),
        list_drift_sensor(configuration, {name: jobs[name].list_drift for name in jobs if settings[name].deadline}),
        feedback_watch(configuration, watched),
        crm_export_sensor(configuration, {name: jobs[name].daily for name in jobs if settings[name].crm_export}),
        retention_watch(configuration),
        metrics_sensor(configuration),
    ]
    return [sensor for sensor in sensors if sensor]
