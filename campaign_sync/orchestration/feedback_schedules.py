"""Jobs and schedules of feedback imports and of the audit, and the sensor for the age of feedback."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.feedback_age import Freshness, FreshnessStatus
from campaign_sync.domain.message import Language, Message
from campaign_sync.feedback.freshness import judge_age
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_key, feedback_keys
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.descriptions import asset_description, display_names
from campaign_sync.orchestration.feedback_checks import check_feedback_age
from campaign_sync.orchestration.mandator_secrets import lacking_secrets
from campaign_sync.orchestration.mandator_ticks import MandatorTick, evaluate_mandators
from campaign_sync.orchestration.metadata import in_language
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.run_tags import queued_job_tags
from campaign_sync.storage.state import State


def feedback_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job that imports feedback into the CRM and compares lists with their proofs. It changes no list."""
    return dg.define_asset_job(
        name_in_dagster(mandator, "feedback", prefix=settings.prefix),
        selection=dg.AssetSelection.assets(
            *feedback_keys(mandator, prefix=settings.prefix),
            asset_key(mandator, AssetKind.LIST_DRIFT, prefix=settings.prefix),
        ),
        tags=queued_job_tags(mandator, settings),
        executor_def=dg.in_process_executor,
        description=asset_description(
            settings.language,
            Message(
                "Imports bounces and unsubscribes of {mandator} into the CRM, and checks whether its lists are "
                "still as they were proven. Lists stay as they are.",
                mandator=settings.display_name(mandator),
            ),
            Message(
                "rows of the vendor's exports, on the pages of bounces, unsubscribes and suppression_state; people "
                "in each list, on that of list_drift."
            ),
            Message("the run's error says what to correct. The next import fetches the same feedback again."),
        ),
    )


def audit_job(mandator: str, settings: MandatorSettings) -> AssetJob:
    """Return the job that compares the CRM with the vendor's lists."""
    return dg.define_asset_job(
        name_in_dagster(mandator, "audit", prefix=settings.prefix),
        selection=dg.AssetSelection.assets(asset_key(mandator, AssetKind.AUDIT, prefix=settings.prefix)),
        tags=queued_job_tags(mandator, settings),
        executor_def=dg.in_process_executor,
        description=asset_description(
            settings.language,
            Message(
                "Compares the CRM with the vendor's unsubscribe list and blocklist of {mandator}, and imports what "
                "it lacks. Lists stay as they are.",
                mandator=settings.display_name(mandator),
            ),
            Message("everybody with a granted consent, on the page of audit."),
            Message("the run's error says what to correct; then start the job again."),
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
        name_in_dagster(mandator, "feedback", prefix=settings.prefix): (
            settings.feedback.schedule,
            Message(
                "Imports bounces and unsubscribes of {called}. No list is changed, so the last missed tick runs, "
                "however late.",
                called=called,
            ),
        ),
        name_in_dagster(mandator, "audit", prefix=settings.prefix): (
            audit,
            Message(
                "Compares the CRM with the vendor's lists of people who left {called}. No list is changed, so the last "
                "missed tick runs, however late.",
                called=called,
            ),
        ),
    }

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        lacking = lacking_secrets(context.instance, mandator, settings)
        return dg.SkipReason(f"{lacking}; the next tick runs again.") if lacking else dg.RunRequest()

    return [
        dg.ScheduleDefinition(
            name=f"{job_name}_schedule",
            job_name=job_name,
            cron_schedule=cron,
            execution_fn=evaluate,
            execution_timezone=settings.timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=translate(does, settings.language),
        )
        for job_name, (cron, does) in planned.items()
        if cron
    ]


def feedback_watch(configuration: Configuration, mandators: Sequence[str]) -> dg.SensorDefinition | None:
    """Return the sensor that checks every half hour how old the feedback in the CRM is; None without mandators.

    It shows imports that have stopped, which no failed run does. It uses our own clock, so that it needs nothing but
    the state database.
    """
    if not mandators:
        return None

    @dg.sensor(
        name=name_in_dagster("campaign_sync_feedback_watch", prefix=configuration.prefix),
        minimum_interval_seconds=30 * 60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Checks every half hour how old the feedback in the CRM is, also when nothing runs, and reports it "
                "as the check feedback_age of the suppression_state of {mandators}. If a tick is red, the state "
                "database couldn't be asked.",
                mandators=display_names(configuration, mandators),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        with State(configuration.storage.state_url.get_secret_value()) as state:
            imported, view = state.feedback_imports.imported_mandators(), state.view()

        def evaluate(mandator: str, cursor: str | None) -> MandatorTick:
            settings = configuration.mandators[mandator]
            if mandator not in imported and not (settings.schedule or settings.feedback.schedule):
                return MandatorTick("feedback was never imported yet, and nothing imports it by itself", cursor)
            limits, until = settings.feedback.age_limits, view.feedback_until(mandator)
            verdict = judge_age(mandator, settings.feedback.readers, limits, until, now)
            if verdict.freshness is Freshness.ALARM:
                context.log.error(verdict.message)
            key = asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=settings.prefix)
            return _evaluation(key, verdict, cursor, settings.language)

        return evaluate_mandators(context, mandators, evaluate)

    return sensor


def _evaluation(key: dg.AssetKey, verdict: FreshnessStatus, cursor: str | None, language: Language) -> MandatorTick:
    """Return the result of the check `feedback_age`, unless feedback is as fresh as it was; `cursor` says whether."""
    was_fresh = cursor in (None, Freshness.FRESH)
    if was_fresh and verdict.freshness is Freshness.FRESH:
        return MandatorTick("feedback is fresh", cursor)
    result = in_language(check_feedback_age(key, verdict), language)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=result.check_name or "",
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )
    return MandatorTick(verdict.message, verdict.freshness.value, events=(evaluation,))
