"""The daily report: its job, and the sensor that starts it when the daily run has ended, in success or not."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

import dagster as dg

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_history import AssetHistory
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.assets.report import OF_RUN_TAG, REPORT_TAG
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import GROUPS
from campaign_sync.orchestration.dead_runs import busy_mandators
from campaign_sync.orchestration.descriptions import asset_description, display_names
from campaign_sync.orchestration.mandator_days import completed_day, unfinished_days
from campaign_sync.orchestration.mandator_ticks import MandatorTick, evaluate_mandators
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.repair_hindrances import REPORT_SENSOR, RepairHindrances
from campaign_sync.orchestration.repair_sensor import is_repair_ahead
from campaign_sync.orchestration.run_tags import job_tags
from campaign_sync.storage.state import State


def report_job(configuration: Configuration, mandator: str) -> AssetJob | None:
    """Return the job that writes the report and changes nothing else; None if no language is configured.

    It isn't tagged with its mandator: no run has to wait for a report, nor a report for a run.
    """
    if not configuration.reports.languages:
        return None
    return dg.define_asset_job(
        _job_name(mandator, prefix=configuration.prefix),
        selection=dg.AssetSelection.assets(asset_key(mandator, AssetKind.REPORT, prefix=configuration.prefix)),
        tags=job_tags(configuration.mandators[mandator]),
        executor_def=dg.in_process_executor,
        description=asset_description(
            configuration.language,
            Message(
                "Writes the report on {mandator}, as its lists are now.",
                mandator=configuration.mandators[mandator].display_name(mandator),
            ),
            Message("on the page of the asset."),
            Message("the lists aren't concerned; start it again, its error says what to do."),
        ),
    )


def report_sensor(configuration: Configuration, jobs: Mapping[str, AssetJob]) -> dg.SensorDefinition | None:
    """Return the sensor that starts a mandator's report once a run of its lists has ended, and the mandator is quiet.

    It isn't a run status sensor of Dagster: these take one status each, and several runs that end between two ticks
    need one report only.

    Args:
        configuration: all mandators.
        jobs: the job that writes the report of each mandator; without any there is no sensor.
    """
    if not jobs:
        return None

    @dg.sensor(
        name=name_in_dagster(REPORT_SENSOR, prefix=configuration.prefix),
        jobs=list(jobs.values()),
        minimum_interval_seconds=240,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Writes the report on a mandator once its daily run, or a run that was to replace a list, has "
                "ended, in success or not, and no further run of it is under way or follows without a person; at "
                "the latest when none may begin any more that completes the day ({mandators}).",
                mandators=display_names(configuration, jobs),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        keys = {mandator: _list_keys(mandator, configuration.mandators[mandator]) for mandator in jobs}
        names = {mandator: _job_name(mandator, prefix=configuration.prefix) for mandator in jobs}
        feedback = {
            mandator: asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=configuration.prefix)
            for mandator in jobs
            if configuration.mandators[mandator].groups > 1
        }
        read = [*feedback.values(), *(key for of_mandator in keys.values() for key in of_mandator)]
        history = AssetHistory.read(context.instance, read)
        unsettled = cache(lambda: _unsettled(configuration, context.instance, jobs))
        return evaluate_mandators(
            context,
            jobs,
            lambda mandator, cursor: _tick(
                mandator,
                configuration.mandators[mandator],
                names[mandator],
                _newest(history, keys[mandator], feedback.get(mandator)),
                cursor,
                unsettled,
            ),
        )

    return sensor


def _newest(history: AssetHistory, lists: Sequence[dg.AssetKey], feedback: dg.AssetKey | None) -> dg.RunRecord | None:
    """Return the run of these lists that has ended last, or the one that was to import the feedback for groups."""
    newest = history.newest_ended(lists)
    imported = history.newest_ended([feedback]) if feedback else None
    if imported is None or GROUPS not in imported.dagster_run.tags:
        return newest
    return max((record for record in (newest, imported) if record), key=lambda record: record.end_time or 0)


def _unsettled(configuration: Configuration, instance: dg.DagsterInstance, mandators: Collection[str]) -> set[str]:
    """Return the mandators of which a run is queued or under way, or will be without a person."""
    busy = busy_mandators(instance, mandators, configuration.prefix)
    hindrances = RepairHindrances(configuration, instance)
    with State(configuration.storage.state_url.get_secret_value()) as state:
        days = unfinished_days(configuration, instance, state, set(mandators) - busy, datetime.now(UTC), hindrances)
        view = state.view()  # after Dagster's runs: see `StateView`
    return busy | {
        mandator
        for mandator in mandators
        if mandator not in busy
        and is_repair_ahead(configuration, instance, view, mandator, days.get(mandator), hindrances)
    }


def _tick(
    mandator: str,
    settings: MandatorSettings,
    job_name: str,
    ended: dg.RunRecord | None,
    cursor: str | None,
    unsettled: Callable[[], set[str]],
) -> MandatorTick:
    """Return the report on the newest run that has ended; `cursor` is the run that had the last one.

    A report of each run that ends around an outage would compete with those that repair what it has left. A mandator
    that isn't quiet when its day can't be completed any more, as where imports of feedback follow each other closely,
    gets one report then; and another once it is quiet, if a further run of a list has ended.
    """
    if ended is None:
        return MandatorTick("no run of a list has ended yet", cursor)
    run = ended.dagster_run
    if run.run_id == cursor or REPORT_TAG in run.tags:
        return MandatorTick("the newest run has its report", cursor)
    request = dg.RunRequest(job_name=job_name, run_key=run.run_id, tags={OF_RUN_TAG: run.run_id})
    if mandator not in unsettled():
        return MandatorTick(cursor=run.run_id, requests=(request,))
    day = completed_day(settings, ended, datetime.now(UTC))
    if day is None:
        return MandatorTick("a run is under way, queued or about to be started", cursor)
    return MandatorTick(cursor=cursor, requests=(request._replace(run_key=f"{mandator}:{day}:late"),))


def _list_keys(mandator: str, settings: MandatorSettings) -> list[dg.AssetKey]:
    """Return the lists: the newest run of each is that of the day, or one that was started for it alone."""
    return [asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=settings.prefix) for name in settings.lists]


def _job_name(mandator: str, *, prefix: str) -> str:
    return name_in_dagster(mandator, "report", prefix=prefix)
