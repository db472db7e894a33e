"""The comparison of lists with their proofs shortly before their deadline: its job and its sensor."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.cron import next_tick
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.descriptions import asset_description, display_names
from campaign_sync.orchestration.mandator_ticks import MandatorTick, evaluate_mandators
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.run_tags import queued_job_tags

BEFORE_DEADLINE = timedelta(minutes=30)
"""How long before a deadline lists are checked."""


def list_drift_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job that compares the lists with their proofs. It changes nothing."""
    return dg.define_asset_job(
        _job_name(mandator, prefix=settings.prefix),
        selection=dg.AssetSelection.assets(asset_key(mandator, AssetKind.LIST_DRIFT, prefix=settings.prefix)),
        tags=queued_job_tags(mandator, settings),
        executor_def=dg.in_process_executor,
        description=asset_description(
            settings.language,
            Message(
                "Checks whether the recipient lists of {mandator} still hold whom they were proven to hold. Lists "
                "stay as they are.",
                mandator=settings.display_name(mandator),
            ),
            Message("on the page of list_drift."),
            Message("the run's error says what to correct; then start the job again."),
        ),
    )


def list_drift_sensor(configuration: Configuration, jobs: Mapping[str, AssetJob]) -> dg.SensorDefinition | None:
    """Return the sensor that starts the jobs half an hour before each deadline.

    Args:
        configuration: all mandators.
        jobs: that of each mandator with a deadline; without any there is no sensor.
    """
    if not jobs:
        return None

    @dg.sensor(
        name=name_in_dagster("campaign_sync_list_drift", prefix=configuration.prefix),
        jobs=list(jobs.values()),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Half an hour before the lists of a mandator must be there, checks whether they still hold whom "
                "they were proven to hold ({mandators}).",
                mandators=display_names(configuration, jobs),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        return evaluate_mandators(
            context, jobs, lambda mandator, cursor: _tick(mandator, configuration.mandators[mandator], cursor, now)
        )

    return sensor


def _tick(mandator: str, settings: MandatorSettings, cursor: str | None, now: datetime) -> MandatorTick:
    """Return the run that is due before the next deadline; `cursor` is the last one that had its run."""
    if settings.deadline is None:
        return MandatorTick("there is no deadline")
    due = next_tick(settings.deadline, settings.zone, now)
    if due - now > BEFORE_DEADLINE:
        return MandatorTick(f"the next deadline is at {due.astimezone(settings.zone):%Y-%m-%d %H:%M %Z}", cursor)
    if cursor == due.isoformat():
        return MandatorTick("the lists were checked for this deadline", cursor)
    request = dg.RunRequest(
        job_name=_job_name(mandator, prefix=settings.prefix), run_key=f"{mandator}:{due.isoformat()}"
    )
    return MandatorTick(cursor=due.isoformat(), requests=(request,))


def _job_name(mandator: str, *, prefix: str) -> str:
    return name_in_dagster(mandator, "list_drift", prefix=prefix)
