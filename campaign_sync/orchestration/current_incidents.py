"""What is wrong now, for a command: found as the alarm sensor finds it. Nothing is recorded or sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.incident import Incident, Subject, compare_incidents, described_now
from campaign_sync.domain.readiness import Attempt
from campaign_sync.orchestration.assets.mandator import mandator_assets
from campaign_sync.orchestration.configuration_sensor import configuration_sensor
from campaign_sync.orchestration.incident_check import DagsterReader, detect_incidents
from campaign_sync.orchestration.mandator_jobs import MandatorJobs
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.orchestration.run_failures import MonitoredAssets
from campaign_sync.orchestration.sensor_activity import SensorActivity, sensor_activities
from campaign_sync.orchestration.sensors import all_sensors
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView


@dataclass(frozen=True)
class CurrentIncidents:
    """What is wrong with each mandator as of one moment."""

    open: Mapping[str, Mapping[Subject, Incident]]
    """The incidents that are open; what the sensor would make of them now."""
    undetected: Mapping[str, Exception]
    """Mandators whose incidents couldn't be detected."""
    attempts: Mapping[str, Mapping[str, Attempt]]
    """The newest run that was to replace each list."""
    view: StateView
    """The state that they were detected from."""
    sensors: Sequence[SensorActivity]
    """When each sensor ticked last; empty if Dagster's instance knows of no tick of any."""


def find_current_incidents(
    configuration: Configuration, instance: dg.DagsterInstance, state: State, now: datetime
) -> CurrentIncidents:
    """Return what is wrong now. Records nothing.

    Raises:
        StateError: the state database can't be used.
    """
    assets = {mandator: mandator_assets(configuration, mandator, now) for mandator in configuration.mandators}
    monitored = {mandator: MonitoredAssets.of(mandator, assets[mandator]) for mandator in assets}
    dagster = DagsterReader(monitored.values()).read(instance, now)
    attempts = {
        mandator: newest_attempts(
            instance,
            mandator,
            list(settings.lists),
            dagster.history,
            dagster.checks.planned_in,
            prefix=configuration.prefix,
        )
        for mandator, settings in configuration.mandators.items()
    }
    view = state.view()  # after Dagster's runs: see `StateView`
    results = detect_incidents(configuration, monitored, dagster, state, view, now, in_service=False)
    open_now, undetected = {}, {}
    for mandator, result in results.items():
        known = view.open_incidents(mandator)
        if isinstance(result, Exception):
            open_now[mandator], undetected[mandator] = dict(known), result
        else:
            still_open = compare_incidents(known, result.incidents, result.in_progress).apply(known)
            open_now[mandator] = described_now(still_open, result.incidents)
    jobs = {mandator: MandatorJobs.of(configuration, mandator) for mandator in assets}
    sensors = [*all_sensors(configuration, assets, jobs), configuration_sensor(configuration)]
    return CurrentIncidents(open_now, undetected, attempts, view, sensor_activities(instance, sensors))
