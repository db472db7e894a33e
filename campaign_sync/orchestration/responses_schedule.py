"""The import of opens, clicks and other responses: its job and its schedule."""

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.message import Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.assets.responses import response_keys
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import BUSY
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.mandator_secrets import lacking_secrets
from campaign_sync.orchestration.names import mandator_value, name_in_dagster
from campaign_sync.orchestration.run_tags import job_tags

RESPONSES_TAG = "campaign_sync/responses"
"""Tag of every run: the mandator. Two of one mandator wait for each other; replacements wait for none."""


def responses_job(mandator: str, settings: MandatorSettings) -> AssetJob | None:
    """Return the job that imports responses and changes no list; None if none are configured."""
    if settings.responses is None:
        return None
    return dg.define_asset_job(
        _job_name(mandator, prefix=settings.prefix),
        selection=dg.AssetSelection.assets(*response_keys(mandator, settings)),
        tags={RESPONSES_TAG: mandator_value(mandator, prefix=settings.prefix), **job_tags(settings)},
        executor_def=dg.in_process_executor,
        description=asset_description(
            settings.language,
            Message(
                "Imports what recipients of {mandator} did with mailings. Lists stay as they are.",
                mandator=settings.display_name(mandator),
            ),
            Message("rows of the vendor's exports, on the page of each kind of response."),
            Message("the run's error says what to correct. The next run fetches the same responses again."),
        ),
    )


def responses_schedule(mandator: str, settings: MandatorSettings) -> dg.ScheduleDefinition | None:
    """Return the schedule of that job; None if none is configured. A tick during a run is skipped."""
    if settings.responses is None or settings.responses.schedule is None:
        return None
    job_name = _job_name(mandator, prefix=settings.prefix)
    own_value = mandator_value(mandator, prefix=settings.prefix)

    @dg.schedule(
        name=f"{job_name}_schedule",
        job_name=job_name,
        cron_schedule=settings.responses.schedule,
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=translate(
            Message(
                "Imports responses to mailings of {mandator}, unless a run already does. No list is changed, so the "
                "last missed tick runs, however late.",
                mandator=settings.display_name(mandator),
            ),
            settings.language,
        ),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        under_way = dg.RunsFilter(tags={RESPONSES_TAG: own_value}, statuses=BUSY)
        if context.instance.get_runs_count(under_way):
            return dg.SkipReason(f"a run of {job_name} is under way or queued")
        if lacking := lacking_secrets(context.instance, mandator, settings):
            return dg.SkipReason(f"{lacking}; the next tick runs again.")
        return dg.RunRequest()

    return schedule


def _job_name(mandator: str, *, prefix: str) -> str:
    return name_in_dagster(mandator, "responses", prefix=prefix)
