"""The sensor that alerts people if what is older than its limit isn't purged."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.alerts.dispatch import installation_channels, send_notices
from campaign_sync.config import Configuration
from campaign_sync.domain.incident import (
    ERASURES,
    INSTALLATION,
    RETENTION,
    DetectedIncidents,
    Incident,
    IncidentKind,
    Notice,
    NoticeKind,
    headline,
)
from campaign_sync.domain.message import Message, day_text, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.erasure.late_erasures import LateErasure, late_erasures
from campaign_sync.errors import CampaignSyncError
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_history import ENDED
from campaign_sync.orchestration.descriptions import display_names
from campaign_sync.orchestration.mandator_ticks import SEPARATOR
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.retention_job import NAME
from campaign_sync.storage.state import State

OVERDUE = timedelta(days=2)
"""How long the job, which runs once a day, may have had no success."""


class RetentionAlarmError(CampaignSyncError):
    """A channel accepted no alarm. The message says which, and why."""


def retention_watch(configuration: Configuration) -> dg.SensorDefinition | None:
    """Return the sensor that checks every hour whether the retention job succeeds; None where all alarms are off.

    Its incident is of the installation, not of a mandator.
    """
    if not any(settings.automation.alarms for settings in configuration.mandators.values()):
        return None

    @dg.sensor(
        name=name_in_dagster("campaign_sync_retention_watch", prefix=configuration.prefix),
        minimum_interval_seconds=3600,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Sends an alarm if the job {job} failed, or hasn't succeeded for two days, or if erased people have "
                "been waiting for their removal for more than a day: it serves {mandators}. "
                "If this sensor is red, a mail server or a webhook rejected an alarm, or the state database can't "
                "be used.",
                job=name_in_dagster(NAME, prefix=configuration.prefix),
                mandators=display_names(configuration, configuration.mandators),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(UTC)
        with State(configuration.storage.state_url.get_secret_value()) as state:
            incidents = [
                *retention_incidents(configuration, context.instance, now),
                *erasure_incidents(configuration, state, now),
            ]
            state.incidents.reconcile({INSTALLATION: DetectedIncidents(incidents, ())}, now)
            channels = installation_channels(configuration, lambda: context.log)
            problems = send_notices(state, state.incidents.unsent(now), state.view(), INSTALLATION, channels, {})
        if problems:
            raise RetentionAlarmError(SEPARATOR.join(problems))
        headlines = [headline(Notice(NoticeKind.ALARM, incident)) for incident in incidents]
        return dg.SkipReason(SEPARATOR.join(headlines) or "nothing is wrong")

    return sensor


def retention_incidents(
    configuration: Configuration, instance: dg.DagsterInstance, now: datetime
) -> Iterator[Incident]:
    """Yield the incident of a retention job whose newest run didn't succeed, or that hasn't succeeded for long.

    Where it never ran, as in a new installation, nothing is known to be wrong.
    """
    job_name = name_in_dagster(NAME, prefix=configuration.prefix)
    for record in instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=list(ENDED)), limit=1):
        run, ended_at = record.dagster_run, datetime.fromtimestamp(record.end_time or now.timestamp(), UTC)
        failed = run.status is not dg.DagsterRunStatus.SUCCESS
        if not failed and now - ended_at <= OVERDUE:
            continue
        yield Incident(
            INSTALLATION,
            RETENTION,
            IncidentKind.FAILED if failed else IncidentKind.LATE,
            ended_at,
            Message(
                "The job {job} didn't succeed at {moment}: not everything was removed that had to be, of what "
                "is older than the section retention says or of people who were erased.",
                job=job_name,
                moment=moment(ended_at, UTC),
            )
            if failed
            else Message(
                "The job {job} ran last at {moment}, so nothing was removed since then.",
                job=job_name,
                moment=moment(ended_at, UTC),
            ),
            Message(
                "No list is concerned, but the disk fills, and data is kept longer than it should be. The error of its "
                "run says what to correct; then start the job again."
            )
            if failed
            else Message(
                "No list is concerned, but the disk fills, and data is kept longer than it should be. Check that its "
                "schedule {schedule} and Dagster's daemon are on, and start the job.",
                schedule=job_name,
            ),
            f"/runs/{run.run_id}",
        )


def erasure_incidents(configuration: Configuration, state: State, now: datetime) -> Iterator[Incident]:
    """Yield the incident of erasures that have been pending for too long. It names no person."""
    late = late_erasures(state, now)
    if late:
        yield Incident(
            INSTALLATION,
            ERASURES,
            IncidentKind.LATE,
            late[0].since,
            join_messages(" ", map(_described, late)),
            Message(
                "Nothing is sent to these people, but they aren't removed from everywhere. `campaign-sync erase "
                "--list` says why, and `campaign-sync erase --retry` tries again; the job {job} does so every night.",
                job=name_in_dagster(NAME, prefix=configuration.prefix),
            ),
            "/runs",
        )


def _described(late: LateErasure) -> Message:
    day = day_text(late.erasure.erased_at)
    if late.checked_at is None:
        return Message(
            "Erasure {erasure} of {day} is recorded, and no removal has begun.", erasure=late.erasure.id, day=day
        )
    return Message(
        "Erasure {erasure} of {day} was pending at {moment} in: {places}.",
        erasure=late.erasure.id,
        day=day,
        moment=moment(late.checked_at, UTC),
        places=", ".join(late.places),
    )
