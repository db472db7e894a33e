"""What a mandator whose settings are broken has in Dagster: its daily job and its schedule, which say so."""

import dagster as dg

from campaign_sync.config import BrokenMandator
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Language, Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.names import mandator_tags, name_in_dagster


def broken_daily_job(mandator: str, settings: BrokenMandator, language: Language, *, prefix: str) -> AssetJob:
    """Return a job in place of the daily one, which only says what is wrong."""
    key = asset_key(mandator, AssetKind.CONFIGURATION, prefix=prefix)
    return dg.define_asset_job(
        daily_job_name(mandator, prefix=prefix),
        selection=dg.AssetSelection.checks_for_assets(key),
        tags=mandator_tags(mandator, prefix=prefix),
        description=asset_description(
            language,
            Message(
                "The daily run of {mandator}, whose settings are broken: it checks these, and nothing else.",
                mandator=settings.display_name(mandator),
            ),
            Message("none."),
            Message(
                "correct what the check of {asset} says, and reload the code location.", asset=key.to_user_string()
            ),
        ),
    )


def broken_daily_schedule(
    mandator: str, settings: BrokenMandator, language: Language, *, prefix: str
) -> dg.ScheduleDefinition | None:
    """Return a schedule in place of the daily one, whose ticks say why nothing runs; None if none is configured."""
    if settings.schedule is None:
        return None
    problems = " · ".join(settings.problems)

    @dg.schedule(
        name=name_in_dagster(mandator, "daily", prefix=prefix),
        job_name=daily_job_name(mandator, prefix=prefix),
        cron_schedule=settings.schedule,
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=translate(
            Message(
                "Starts NOTHING, because the settings of {mandator} are broken: {problems}",
                mandator=settings.display_name(mandator),
                problems=problems,
            ),
            language,
        ),
    )
    def schedule() -> dg.SkipReason:
        return dg.SkipReason(
            f"The settings of {mandator} are broken, so nothing of it runs: {problems}. Correct them, reload the code "
            f"location, and run `campaign-sync run {mandator}`."
        )

    return schedule
