"""The daily replacement of all lists of a mandator: its job and its schedule."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.message import Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import feedback_keys, replacement_keys
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.mandator_secrets import lacking_secrets
from campaign_sync.orchestration.names import MANDATOR_TAG as MANDATOR_TAG
from campaign_sync.orchestration.names import mandator_tags, name_in_dagster
from campaign_sync.orchestration.run_tags import queued_job_tags

STALE_AFTER = timedelta(hours=2)
"""A tick this late is skipped: a replacement planned for the night must not meet the morning's mailing."""

PLANNED_FOR = "campaign_sync/planned_for"
"""Tag of the runs that a schedule or the CRM's export started: the planned time that they are for."""

GROUPS = "campaign_sync/groups"
"""Tag of the runs that import the feedback alone: into how many groups the lists are then divided."""

GROUP = "campaign_sync/group"
"""Tag of the run of a group: its number."""

GROUP_OF = "campaign_sync/group_of"
"""Tag of the run of a group: the value of `PLANNED_FOR` of its day."""

BUSY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Statuses of a run that is queued or under way."""


def daily_job_name(mandator: str, *, prefix: str = "") -> str:
    """Return the name of the job that replaces all lists of a mandator."""
    return name_in_dagster(mandator, "daily_replace", prefix=prefix)


def planned_for(tick: datetime, zone: ZoneInfo) -> str:
    """Return the value of `PLANNED_FOR` for a tick of the schedule, like 2026-10-25T04:30+01:00."""
    return tick.astimezone(UTC).astimezone(zone).isoformat(timespec="minutes")  # by way of UTC, which knows no fold


def planned_run(mandator: str, settings: MandatorSettings, day: str, run_key: str | None = None) -> dg.RunRequest:
    """Return the run that begins a day: of everything, or of the feedback alone where groups of lists follow it.

    Args:
        mandator: a key of the configuration.
        settings: its settings.
        day: the value of `PLANNED_FOR`.
        run_key: by which Dagster starts it once only.
    """
    tags = {PLANNED_FOR: day}
    job_name = daily_job_name(mandator, prefix=settings.prefix)
    if settings.groups == 1:
        return dg.RunRequest(job_name=job_name, run_key=run_key, tags=tags)
    return dg.RunRequest(
        job_name=job_name,
        run_key=run_key,
        asset_selection=feedback_keys(mandator, prefix=settings.prefix),
        tags={**tags, GROUPS: str(settings.groups)},
    )


def daily_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job of everything of one mandator, in order: feedback, selections, snapshots, lists."""
    lists = [section.display_name(name) for name, section in settings.lists.items()]
    return dg.define_asset_job(
        daily_job_name(mandator, prefix=settings.prefix),
        selection=dg.AssetSelection.assets(*replacement_keys(mandator, list(settings.lists), prefix=settings.prefix)),
        tags=queued_job_tags(mandator, settings),
        executor_def=dg.in_process_executor,
        description=asset_description(
            settings.language,
            Message(
                "The daily run of {mandator}: bounces and unsubscribes go into the CRM, then all its recipient "
                "lists are replaced completely ({lists}).",
                mandator=settings.display_name(mandator),
                lists=", ".join(lists),
            ),
            Message("each step has its own, on its asset's page."),
            Message(
                "open the run: the lists that are green were replaced, the others weren't, and the error of each "
                "says what to do. Starting the job again is always safe."
            ),
        ),
    )


def daily_schedule(mandator: str, settings: MandatorSettings) -> dg.ScheduleDefinition | None:
    """Return the schedule of `daily_job` in the mandator's time zone; None if none is configured."""
    if settings.schedule is None:
        return None
    job_name = daily_job_name(mandator, prefix=settings.prefix)
    own_tag = mandator_tags(mandator, prefix=settings.prefix)

    @dg.schedule(
        name=name_in_dagster(mandator, "daily", prefix=settings.prefix),
        job_name=job_name,
        cron_schedule=settings.schedule,
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=translate(
            Message(
                "Replaces all recipient lists of {mandator} at this time, once on every day it names, also when the "
                "clocks change. A tick more than 2 hours late is skipped, so that no list is replaced during the "
                "morning's mailing; the tick says how to start it by hand.",
                mandator=settings.display_name(mandator),
            ),
            settings.language,
        ),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        planned = context.scheduled_execution_time
        day = planned_for(planned, settings.zone)
        if settings.crm_export and (run_id := _started_early(context.instance, own_tag, day)):
            return dg.SkipReason(f"planned for {day}: the CRM's export came before that and has started run {run_id}")
        late = datetime.now(UTC) - planned
        if late > STALE_AFTER:
            return dg.SkipReason(
                f"planned for {planned:%Y-%m-%d %H:%M %Z}, {late.total_seconds() / 3600:.1f} h ago: too late. "
                f"Start {job_name} by hand if the lists should still be replaced today."
            )
        if lacking := lacking_secrets(context.instance, mandator, settings):
            return dg.SkipReason(f"{lacking}; then run `campaign-sync run {mandator}`.")
        return planned_run(mandator, settings, day)

    return schedule


def _started_early(instance: dg.DagsterInstance, of_mandator: Mapping[str, str], day: str) -> str | None:
    """Return the run that was started for this day before its time and has succeeded or is under way."""
    tags = {**of_mandator, PLANNED_FOR: day}
    runs = instance.get_runs(dg.RunsFilter(tags=tags, statuses=[*BUSY, dg.DagsterRunStatus.SUCCESS]))
    # An interrupted tick is evaluated again, and its own run is no reason to skip it.
    return next((run.run_id for run in runs if "dagster/schedule_name" not in run.tags), None)
