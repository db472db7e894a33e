"""Jobs and schedules of feedback imports and of the audit, and the sensor for the age of feedback."""

from datetime import UTC, datetime

import dagster as dg

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.feedback_age import Freshness
from campaign_sync.feedback.freshness import judge_age
from campaign_sync.orchestration.asset_keys import asset_key, feedback_keys
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.feedback_checks import check_feedback_age
from campaign_sync.storage.state import State


def feedback_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job that imports feedback into the CRM and compares lists with their proofs. It changes no list."""
    return dg.define_asset_job(
        f"{mandator}_feedback",
        selection=dg.AssetSelection.assets(*feedback_keys(mandator), asset_key(mandator, AssetKind.LIST_DRIFT)),
        tags={MANDATOR_TAG: mandator},
        executor_def=dg.in_process_executor,
        description=asset_description(
            f"Imports bounces and unsubscribes of {settings.display_name(mandator)} into the CRM, and checks "
            "whether its lists are still as they were proven. Lists stay as they are.",
            "rows of the vendor's exports, on the pages of bounces, unsubscribes and suppression_state; people in "
            "each list, on that of list_drift.",
            "the run's error says what to correct. The next import fetches the same feedback again.",
        ),
    )


def audit_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job that compares the CRM with the vendor's lists."""
    return dg.define_asset_job(
        f"{mandator}_audit",
        selection=dg.AssetSelection.assets(asset_key(mandator, AssetKind.AUDIT)),
        tags={MANDATOR_TAG: mandator},
        executor_def=dg.in_process_executor,
        description=asset_description(
            f"Compares the CRM with the vendor's unsubscribe list and blocklist of {settings.display_name(mandator)}, "
            "and imports what it lacks. Lists stay as they are.",
            "everybody with a granted consent, on the page of audit.",
            "the run's error says what to correct; then start the job again.",
        ),
    )


def feedback_schedules(mandator: str, settings: MandatorSettings) -> list[dg.ScheduleDefinition]:
    """Return the schedules of feedback imports and of the audit, as far as they are configured.

    The audit has a default, which needs a schedule of replacements or imports. A late tick still runs: no list is
    changed, and feedback had better come late than never.
    """
    audit = settings.feedback.audit if settings.schedule or settings.feedback.schedule else None
    called = settings.display_name(mandator)
    planned = {
        f"{mandator}_feedback": (settings.feedback.schedule, f"Imports bounces and unsubscribes of {called}"),
        f"{mandator}_audit": (audit, f"Compares the CRM with the vendor's lists of people who left {called}"),
    }
    return [
        dg.ScheduleDefinition(
            name=f"{job_name}_schedule",
            job_name=job_name,
            cron_schedule=cron,
            execution_timezone=settings.timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"{does}. No list is changed, so the last missed tick runs, however late.",
        )
        for job_name, (cron, does) in planned.items()
        if cron
    ]


def feedback_watch(configuration: Configuration, mandator: str) -> dg.SensorDefinition:
    """Return the sensor that checks every half hour how old the feedback in the CRM is.

    It shows imports that have stopped, which no failed run does. It uses our own clock, so that it needs nothing but
    the state database.
    """
    settings = configuration.mandators[mandator]
    feedback = settings.feedback
    key = asset_key(mandator, AssetKind.SUPPRESSION_STATE)

    @dg.sensor(
        name=f"{mandator}_feedback_watch",
        minimum_interval_seconds=30 * 60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Checks every half hour how old the feedback of {settings.display_name(mandator)} in the CRM "
        "is, also when nothing runs, and reports it as the check feedback_age of its suppression_state. If a tick is "
        "red, the state database couldn't be asked.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        with State(configuration.storage.state_url.get_secret_value()) as state:
            began = state.feedback_imports.first_import(mandator)
            verdict = judge_age(mandator, feedback.readers, feedback.age_limits, state.feedback_imports, now)
        if began is None and not (settings.schedule or feedback.schedule):
            return dg.SkipReason(f"{mandator}'s feedback was never imported yet, and nothing imports it by itself")
        if verdict.freshness is Freshness.ALARM:
            context.log.error(verdict.message)
        was_fresh = context.cursor in (None, Freshness.FRESH)
        if was_fresh and verdict.freshness is Freshness.FRESH:
            return dg.SkipReason(verdict.message)
        result = check_feedback_age(key, verdict)
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=result.check_name or "",
            passed=result.passed,
            severity=result.severity,
            description=verdict.message,
            metadata=result.metadata,
        )
        return dg.SensorResult(asset_events=[evaluation], cursor=verdict.freshness.value)

    return sensor
