"""`campaign-sync alarms`: what is wrong now, and whether alarms are delivered."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.dispatch import configured_channels
from campaign_sync.alerts.heartbeat import send_heartbeat
from campaign_sync.cli.dagster_instance import read_instance
from campaign_sync.cli.documents import AlarmsDocument, OpenProblem, Sensor
from campaign_sync.cli.output import plain_table, print_problem, print_success, print_warning
from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.incident import (
    CONFIGURATION,
    INSTALLATION,
    Incident,
    IncidentKind,
    Notice,
    NoticeKind,
    Subject,
    subject_location,
)
from campaign_sync.domain.message import Message
from campaign_sync.domain.moment import moment
from campaign_sync.domain.readiness import Attempt, Readiness
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.current_incidents import find_current_incidents
from campaign_sync.orchestration.deadlines import planned_expectations
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.repair_hindrances import ALARM_SENSOR
from campaign_sync.replacement.list_readiness import judge_lists
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView

_SENSOR_OVERDUE = timedelta(minutes=5)
"""An alarm sensor that hasn't run for longer isn't running: it is due every minute."""


def show_incidents(configuration: Configuration, console: Console) -> bool:
    """Print what is wrong now, and when the sensors ran last. Returns whether nothing is wrong."""
    document = find_incidents(configuration)
    if document.problems:
        console.print(_table(configuration, document.problems))
    for warning in document.not_watched:
        print_warning(console, warning)
    if document.nothing_wrong:
        console.print("Nothing is wrong: the alarm sensor is running, and all lists are as planned.")
    ticks = [f"{sensor.name} {_ago(sensor.ticked_at)}" for sensor in document.sensors if sensor.ticked_at]
    if ticks:
        console.print(f"Sensors ran last: {', '.join(ticks)}.", highlight=False)
    return document.nothing_wrong


def find_incidents(configuration: Configuration) -> AlarmsDocument:
    """Return what is wrong now, found as the alarm sensor finds it; nothing is recorded or sent.

    Without an alarm sensor that runs no one would be alerted, which counts as wrong. If Dagster's instance can't be
    read, the incidents are those of the sensor's last tick.
    """
    now = datetime.now(UTC)
    problems: list[OpenProblem] = []
    not_watched: list[str] = []
    with State(configuration.storage.state_url.get_secret_value()) as state:
        current = read_instance(lambda instance: find_current_incidents(configuration, instance, state, now))
        view, checks = current.view if current else state.view(), state.incidents.last_checks()
        sensors = current.sensors if current else ()
        silent = {sensor: problem for sensor in sensors if (problem := sensor.problem(now))}
        alarm_sensor = name_in_dagster(ALARM_SENSOR, prefix=configuration.prefix)
        of_alarms = {sensor for sensor in silent if sensor.name == alarm_sensor}
        problems += map(_of_incident, view.open_incidents(INSTALLATION).values())
        for mandator, settings in configuration.mandators.items():
            known = current.open[mandator] if current else view.open_incidents(mandator)
            problems += map(_of_incident, known.values())
            attempts = current.attempts[mandator] if current else None
            problems += _of_lists(configuration, mandator, view, known, attempts, now)
            checked_at = now if of_alarms else checks.get(mandator)  # that of the sensor says it for all mandators
            if warning := _sensor_warning(mandator, settings, checked_at, now):
                not_watched.append(warning)
            if current and (error := current.undetected.get(mandator)):
                not_watched.append(_undetected(mandator, error))
        for mandator, broken in configuration.broken_mandators.items():
            known = view.open_incidents(mandator)
            problems += map(_of_incident, known.values())
            if CONFIGURATION not in known:
                problems += [
                    OpenProblem(
                        mandator=mandator,
                        subject=CONFIGURATION.name,
                        kind=IncidentKind.UNUSABLE,
                        since=None,
                        what=problem,
                    )
                    for problem in broken.problems
                ]
    not_watched += [
        f"no alarm would be sent, because {problem}" if sensor in of_alarms else problem
        for sensor, problem in silent.items()
    ]
    return AlarmsDocument(
        nothing_wrong=not problems and not not_watched,
        problems=tuple(problems),
        not_watched=tuple(not_watched),
        sensors=tuple(
            Sensor(name=sensor.name, running=sensor.running, ticked_at=sensor.ticked_at) for sensor in sensors
        ),
    )


def _undetected(mandator: str, error: Exception) -> str:
    """Return that a mandator's incidents are those of the sensor's last tick; other errors may quote personal data."""
    reason = str(error) if isinstance(error, CampaignSyncError) else type(error).__name__
    return f"what is wrong with {mandator} now can't be found: {reason.rstrip('.')}; shown is what the sensor has found"


def _ago(moment: datetime) -> str:
    return f"{format_duration(datetime.now(UTC) - moment)} ago"


def _of_incident(incident: Incident) -> OpenProblem:
    return OpenProblem(
        mandator=incident.mandator,
        subject=incident.subject.name,
        kind=incident.kind,
        since=incident.since,
        what=f"{incident.what} {incident.remedy}",
    )


def _of_lists(
    configuration: Configuration,
    mandator: str,
    view: StateView,
    known: Mapping[Subject, Incident],
    attempts: Mapping[str, Attempt] | None,
    now: datetime,
) -> Iterator[OpenProblem]:
    """Yield the lists that aren't ready and have no incident, and those that can't be checked for changes."""
    settings = configuration.mandators[mandator]
    for judged in judge_lists(configuration, mandator, view, attempts, now, planned_expectations(settings, now)):
        status, drift = judged.status, judged.drift
        if status.readiness is not Readiness.READY and Subject.of_list(judged.name) not in known:
            what = f"The list {status.message}."
            yield OpenProblem(mandator=mandator, subject=judged.name, kind="not_ready", since=status.since, what=what)
        if drift and drift.not_checked_since:
            what = f"It can't be seen whether the list is still as it was proven: {drift.not_checked_because}"
            since = drift.not_checked_since
            yield OpenProblem(mandator=mandator, subject=judged.name, kind="not_checked", since=since, what=what)


def _sensor_warning(
    mandator: str, settings: MandatorSettings, checked_at: datetime | None, now: datetime
) -> str | None:
    """Return why no alarm would be sent about incidents; None if the alarm sensor is running."""
    if not settings.automation.alarms:
        return f"no alarm of {mandator} is sent: its alarms are switched off (mandators.{mandator}.automation.alarms)"
    sensor = name_in_dagster(ALARM_SENSOR, prefix=settings.prefix)
    remedy = f"see whether Dagster's daemon runs, and whether the sensor {sensor} is on and green"
    if checked_at is None:
        return f"the alarm sensor has never checked {mandator}, so no alarm would be sent; {remedy}"
    if now - checked_at > _SENSOR_OVERDUE:
        return (
            f"the alarm sensor hasn't checked {mandator} since {moment(checked_at, settings.zone)}, "
            f"{format_duration(now - checked_at)} ago, so no alarm would be sent; {remedy}"
        )
    return None


def _table(configuration: Configuration, problems: Sequence[OpenProblem]) -> Table:
    table = plain_table(*(Column(title, overflow="fold") for title in ("where", "since", "what")))
    for problem in problems:
        where = subject_location(problem.mandator, Subject.parse(problem.subject))
        since = moment(problem.since, _zone(configuration, problem.mandator)) if problem.since else ""
        table.add_row(Text(where), since, Text(problem.what))
    return table


def _zone(configuration: Configuration, mandator: str) -> tzinfo:
    if mandator == INSTALLATION:
        return UTC
    return (configuration.mandators.get(mandator) or configuration.broken_mandators[mandator]).zone


def send_test_notices(configuration: Configuration, console: Console) -> bool:
    """Send a test through all channels of each mandator, and a heartbeat.

    Returns whether each mandator has a channel beside the log, and all were accepted.
    """
    from campaign_sync.reports.mail import send_test_mail  # Jinja and Babel are for mails alone

    all_accepted = _send_heartbeat(configuration, console)
    for mandator, settings in configuration.mandators.items():
        if not settings.report_to:
            continue
        if problem := send_test_mail(mandator, configuration):
            all_accepted = False
            print_problem(console, f"{mandator}: {problem}")
        else:
            print_success(console, f"{mandator}: the mail server took a test of the report")
    for mandator in (*configuration.mandators, *configuration.broken_mandators):
        channels = configured_channels(configuration, mandator, lambda: logging.getLogger("campaign_sync.alerts"))
        targets = [channel for channel in channels if channel.name != "log"]
        if not targets:
            all_accepted = False
            print_problem(
                console,
                f"{mandator}: alarms go to the log only, so nothing was tried; configure alarms.email, "
                "alarms.webhooks or alarms.apprise",
            )
        for channel in targets:
            try:
                channel.send(Notice(NoticeKind.TEST, _test_incident(mandator)))
            except ChannelError as error:
                all_accepted = False
                print_problem(console, f"{mandator}: {error}")
            else:
                print_success(console, f"{mandator}: {channel.name} accepted a test")
    return all_accepted


def _send_heartbeat(configuration: Configuration, console: Console) -> bool:
    if configuration.alarms.heartbeat_url is None:
        return True
    try:
        send_heartbeat(configuration.alarms.heartbeat_url)
    except CampaignSyncError as error:
        print_problem(console, str(error))
        return False
    print_success(console, "the receiver at alarms.heartbeat_url accepted a heartbeat")
    return True


def _test_incident(mandator: str) -> Incident:
    return Incident(
        mandator,
        Subject("the alarms"),
        IncidentKind.CHECK,
        datetime.now(UTC),
        Message("Nothing is wrong: this is a test of whether alarms of campaign_sync are delivered to you."),
        Message(
            "They are. Alarms are sent when a list is incomplete or late, when a run fails, and when feedback grows "
            "old."
        ),
        "/overview",
    )
