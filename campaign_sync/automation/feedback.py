"""Feedback between the daily replaces, the weekly audit, and the watch over how old feedback has become."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from campaign_sync.assets.mandator import feedback_keys
from campaign_sync.assets.suppression_state import age_check
from campaign_sync.automation.daily import MANDATOR_TAG
from campaign_sync.configuration import Configuration, MandatorSettings
from campaign_sync.domain.feedback_age import Alertness
from campaign_sync.feedback.age import judge_age
from campaign_sync.state.store import State

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def feedback_job(mandator: str) -> "UnresolvedAssetJobDefinition":
    """Imports feedback into the CRM and touches no list."""
    return dg.define_asset_job(
        f"{mandator}_feedback",
        selection=dg.AssetSelection.assets(*feedback_keys(mandator)),
        tags={MANDATOR_TAG: mandator},
        description=f"Imports {mandator}'s bounces and unsubscribes into the CRM. Lists stay as they are.",
    )


def audit_job(mandator: str) -> "UnresolvedAssetJobDefinition":
    """Compares CRM and vendor."""
    return dg.define_asset_job(
        f"{mandator}_audit",
        selection=dg.AssetSelection.assets(dg.AssetKey([mandator, "audit"])),
        tags={MANDATOR_TAG: mandator},
        description=f"Holds the CRM against {mandator}'s unsubscribe list and blocklist, and imports what it lacks.",
    )


def feedback_schedules(mandator: str, settings: MandatorSettings) -> list[dg.ScheduleDefinition]:
    """When they run by themselves. Without a daily replace nothing does, but what was asked for."""
    audit = settings.feedback.audit if settings.schedule or settings.feedback.schedule else None
    planned = {f"{mandator}_feedback": settings.feedback.schedule, f"{mandator}_audit": audit}
    return [
        dg.ScheduleDefinition(
            name=f"{job_name}_schedule",
            job_name=job_name,
            cron_schedule=cron,
            execution_timezone=settings.timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for job_name, cron in planned.items()
        if cron
    ]


def feedback_watch(configuration: Configuration, mandator: str) -> dg.SensorDefinition:
    """Looks every half hour how old the feedback in the CRM is: an import that has stopped makes no noise of its own.

    It goes by our own clock, so that it needs nobody but the state database.
    """
    settings = configuration.mandators[mandator]
    feedback = settings.feedback
    key = dg.AssetKey([mandator, "suppression_state"])

    @dg.sensor(
        name=f"{mandator}_feedback_watch",
        minimum_interval_seconds=30 * 60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Reports the check feedback_age of {mandator}'s suppression state, also when nothing runs.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        with State(configuration.storage.state_url.get_secret_value()) as state:
            began = state.feedback.first_import(mandator)
            verdict = judge_age(mandator, feedback.readers, feedback.age_limits, state.feedback, now)
        if began is None and not (settings.schedule or feedback.schedule):
            return dg.SkipReason(f"{mandator}'s feedback was never imported yet, and nothing imports it by itself")
        if verdict.alertness is Alertness.ALARM:
            context.log.error(verdict.told)
        was_fresh = context.cursor in (None, Alertness.FRESH)
        if was_fresh and verdict.alertness is Alertness.FRESH:
            return dg.SkipReason(verdict.told)
        result = age_check(key, verdict)
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=result.check_name or "",
            passed=result.passed,
            severity=result.severity,
            description=verdict.told,
            metadata=result.metadata,
        )
        return dg.SensorResult(asset_events=[evaluation], cursor=verdict.alertness.value)

    return sensor
