"""The comparison of lists with their proofs shortly before their deadline: its job and its sensor."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.cron import next_tick
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG
from campaign_sync.orchestration.descriptions import asset_description

BEFORE_DEADLINE = timedelta(minutes=30)
"""How long before a deadline lists are checked."""


def list_drift_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job that compares the lists with their proofs. It changes nothing."""
    return dg.define_asset_job(
        _job_name(mandator),
        selection=dg.AssetSelection.assets(asset_key(mandator, AssetKind.LIST_DRIFT)),
        tags={MANDATOR_TAG: mandator},
        executor_def=dg.in_process_executor,
        description=asset_description(
            f"Checks whether the recipient lists of {settings.display_name(mandator)} still hold whom they were "
            "proven to hold. Lists stay as they are.",
            "on the page of list_drift.",
            "the run's error says what to correct; then start the job again.",
        ),
    )


def list_drift_sensor(configuration: Configuration, mandator: str) -> dg.SensorDefinition | None:
    """Return the sensor that starts the job half an hour before each deadline; None if none is configured."""
    settings = configuration.mandators[mandator]
    deadline = settings.deadline
    if deadline is None:
        return None

    @dg.sensor(
        name=f"{mandator}_list_drift_sensor",
        job_name=_job_name(mandator),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Half an hour before the lists of {settings.display_name(mandator)} must be there, checks whether "
        "they still hold whom they were proven to hold.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        due = next_tick(deadline, settings.zone, now)
        if due - now > BEFORE_DEADLINE:
            return dg.SkipReason(f"the next deadline is at {due.astimezone(settings.zone):%Y-%m-%d %H:%M %Z}")
        if context.cursor == due.isoformat():
            return dg.SkipReason("the lists were checked for this deadline")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=due.isoformat())], cursor=due.isoformat())

    return sensor


def _job_name(mandator: str) -> str:
    return f"{mandator}_list_drift"
