"""The daily report: its job, and the sensor that starts it when the daily run has ended, in success or not."""

from collections.abc import Sequence

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.assets.report import OF_RUN_TAG, REPORT_TAG
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.run_attempts import ENDED

NEWEST_RUNS = 20
"""How many of the newest ended runs are examined: after a long pause only the last report matters."""


def report_job(configuration: Configuration, mandator: str) -> AssetJob | None:
    """Return the job that writes the report and changes nothing else; None if no language is configured.

    It isn't tagged with its mandator: no run has to wait for a report, nor a report for a run.
    """
    if not configuration.reports.languages:
        return None
    return dg.define_asset_job(
        _job_name(mandator),
        selection=dg.AssetSelection.assets(asset_key(mandator, AssetKind.REPORT)),
        executor_def=dg.in_process_executor,
        description=asset_description(
            f"Writes the report on {configuration.mandators[mandator].display_name(mandator)}, as its lists are now.",
            "on the page of the asset.",
            "the lists aren't concerned; start it again, its error says what to do.",
        ),
    )


def report_sensor(configuration: Configuration, mandator: str) -> dg.SensorDefinition | None:
    """Return the sensor that starts the report once a run of the daily job or of a list has ended, in success or not.

    None if no language is configured. It isn't a run status sensor of Dagster: these take one status each, and several
    runs that end between two ticks need one report only.
    """
    if not configuration.reports.languages:
        return None

    @dg.sensor(
        name=f"{mandator}_report_sensor",
        job_name=_job_name(mandator),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Writes the report on {configuration.mandators[mandator].display_name(mandator)} as soon "
        "as its daily run, or one that was to replace a list, has ended, in success or not.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        daily = dg.RunsFilter(job_name=daily_job_name(mandator), statuses=list(ENDED))
        records = [
            *context.instance.get_run_records(daily, limit=NEWEST_RUNS),
            *_newest_of_lists(context.instance, configuration, mandator),
        ]
        ended = max(records, key=lambda record: record.end_time or 0, default=None)
        if ended is None:
            return dg.SkipReason(f"{daily_job_name(mandator)} has never ended yet")
        run = ended.dagster_run
        if run.run_id == context.cursor or REPORT_TAG in run.tags:
            return dg.SkipReason("the newest run has its report")
        request = dg.RunRequest(run_key=run.run_id, tags={OF_RUN_TAG: run.run_id})
        return dg.SensorResult(run_requests=[request], cursor=run.run_id)

    return sensor


def _newest_of_lists(
    instance: dg.DagsterInstance, configuration: Configuration, mandator: str
) -> Sequence[dg.RunRecord]:
    """Return the newest runs of single lists, as people start them in the UI: a list may be incomplete since then."""
    keys = [asset_key(mandator, AssetKind.RECIPIENT_LIST, name) for name in configuration.mandators[mandator].lists]
    run_ids = {record.asset_entry.last_run_id for record in instance.get_asset_records(keys)}
    known = sorted(run_id for run_id in run_ids if run_id)
    return instance.get_run_records(dg.RunsFilter(run_ids=known, statuses=list(ENDED))) if known else []


def _job_name(mandator: str) -> str:
    return f"{mandator}_report"
