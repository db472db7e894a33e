"""Handing a run to the daemon of the instance, which queues and launches it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.mandator_cursors import parse_cursors
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.repair_hindrances import REPAIR_SENSOR
from campaign_sync.orchestration.served_configuration import configuration_mark
from campaign_sync.storage.state import State

if TYPE_CHECKING:
    from campaign_sync.orchestration.dagster_workspace import ServedSensor

_WAITED_FOR = {"dagster/priority": "1"}
"""Tags of a run that a person waits for: it leaves the queue before those that schedules and sensors have put there."""

DAEMON_TIMEOUT = timedelta(seconds=60)
"""Without a heartbeat of a daemon for this time, none is up."""


class SubmissionError(CampaignSyncError):
    """The daemon can't be given a run. The message says why, that nothing was started, and the remedy."""


def is_daemon_up(instance: dg.DagsterInstance) -> bool:
    """Return whether a daemon of this instance has given a heartbeat within `DAEMON_TIMEOUT`."""
    oldest = datetime.now(UTC) - DAEMON_TIMEOUT
    return any(beat.timestamp > oldest.timestamp() for beat in instance.get_daemon_heartbeats().values())


def submit_daily_run(
    instance: dg.DagsterInstance,
    configuration: Configuration,
    state: State,
    mandator: str,
    assets: Sequence[dg.AssetKey],
    run_id: str,
    tags: Mapping[str, str],
) -> None:
    """Queue a run of some assets of a mandator's daily job.

    Raises:
        SubmissionError: the instance has no queue, no code location serves this configuration, or it doesn't answer.
    """
    if not isinstance(instance.run_coordinator, dg.QueuedRunCoordinator):
        raise SubmissionError(
            "this Dagster instance has no queue, so nothing was started; use the QueuedRunCoordinator in its "
            "dagster.yaml, which is the default, or start the job in Dagster's UI"
        )
    try:
        from campaign_sync.orchestration.dagster_workspace import submit_run  # only here: importing it takes long
    except ImportError as error:
        raise SubmissionError(f"nothing was started: {error}") from None
    sensor = _serving_sensor(instance, configuration, mandator, state)
    job_name = daily_job_name(mandator, prefix=configuration.prefix)
    try:
        submit_run(instance, sensor.repository, job_name, assets, run_id, {**_WAITED_FOR, **tags})
    except dg.DagsterError as error:
        raise SubmissionError(
            f"the code location {sensor.location_name} didn't plan the run, so nothing was started: "
            f"{type(error).__name__}. See in Dagster's UI, on the page Deployment, whether it is loaded; restart its "
            "code server, or stop the daemon and try again a minute later: without a daemon this command executes "
            "the run itself"
        ) from None


def _serving_sensor(
    instance: dg.DagsterInstance, configuration: Configuration, mandator: str, state: State
) -> "ServedSensor":
    """Return the repair sensor of the code location that serves this mandator from the same configuration.

    Raises:
        SubmissionError: there is none.
    """
    from campaign_sync.orchestration.dagster_workspace import served_sensors

    expected = configuration_mark(configuration, mandator, state)
    name = name_in_dagster(REPAIR_SENSOR, prefix=configuration.prefix)
    sensors = served_sensors(instance, name)
    for sensor in sensors:
        if (parse_cursors(sensor.cursor, {mandator}) or {}).get(mandator) == expected:
            return sensor
    if not sensors:
        raise SubmissionError(
            "a daemon is up on this Dagster instance, but it serves no code location of campaign_sync, so nothing was "
            "started. If it was started a moment ago, try again in a minute; else see that its workspace names "
            "campaign_sync.definitions, and that the sensor "
            f"{name} runs (page Automation)"
        )
    newest = sensors[0]
    raise SubmissionError(
        f"the code location {newest.location_name} of the daemon serves another configuration than this command "
        f"(as of {newest.ticked_at:%Y-%m-%d %H:%M:%S} UTC), so nothing was started: another state database or "
        f"optimizely.base_url, or other lists of {mandator}. Use the CAMPAIGN_SYNC_CONFIG and the environment of the "
        "daemon's code location; if the file was changed since, reload the code location (page Deployment) and try "
        "again in a minute"
    )
