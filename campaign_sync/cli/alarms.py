"""`campaign-sync alarms`: what is wrong now, and whether alarms are delivered."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.dispatch import configured_channels
from campaign_sync.alerts.heartbeat import send_heartbeat
from campaign_sync.alerts.messages import moment
from campaign_sync.cli.dagster_instance import known_attempts
from campaign_sync.cli.documents import AlarmsDocument, OpenProblem
from campaign_sync.cli.output import plain_table, print_problem, print_success, print_warning
from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.incident import (
    CONFIGURATION,
    Incident,
    IncidentKind,
    Notice,
    NoticeKind,
    Subject,
    subject_location,
)
from campaign_sync.domain.readiness import Attempt, Readiness
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.deadlines import planned_expectations
from campaign_sync.replacement.list_readiness import judge_lists
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView

_SENSOR_OVERDUE = timedelta(minutes=5)
"""An alarm sensor that hasn't run for longer isn't running: it is due every minute."""


def show_incidents(configuration: Configuration, console: Console) -> bool:
    """Print the open incidents, and the lists that aren't ready. Returns whether nothing is wrong."""
    document = find_incidents(configuration)
    if document.problems:
        console.print(_table(configuration, document.problems))
    for warning in document.not_watched:
        print_warning(console, warning)
    if document.nothing_wrong:
        console.print("Nothing is wrong: the alarm sensor is running, and all lists are as planned.")
    return document.nothing_wrong


def find_incidents(configuration: Configuration) -> AlarmsDocument:
    """Return the open incidents, and the lists that aren't ready.

    Without an alarm sensor that runs, whether something is wrong is unknown, which counts as wrong.
    """
    now = datetime.now(UTC)
    problems: list[OpenProblem] = []
    not_watched: list[str] = []
    with State(configuration.storage.state_url.get_secret_value()) as state:
        attempts = {mandator: known_attempts(configuration, mandator) for mandator in configuration.mandators}
        view, checks = state.view(), state.incidents.last_checks()  # after Dagster's runs: see `StateView`
        for mandator, settings in configuration.mandators.items():
            problems += map(_of_incident, view.open_incidents(mandator).values())
            problems += _of_lists(configuration, mandator, view, attempts[mandator], now)
            if warning := _sensor_warning(mandator, settings, checks.get(mandator), now):
                not_watched.append(warning)
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
    nothing_wrong = not problems and not not_watched
    return AlarmsDocument(nothing_wrong=nothing_wrong, problems=tuple(problems), not_watched=tuple(not_watched))


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
    attempts: Mapping[str, Attempt] | None,
    now: datetime,
) -> Iterator[OpenProblem]:
    """Yield the lists that aren't ready and have no incident yet, and those that can't be checked for changes."""
    settings, known = configuration.mandators[mandator], view.open_incidents(mandator)
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
        return (
            f"incidents of {mandator} aren't checked: its alarms are switched off "
            f"(mandators.{mandator}.automation.alarms)"
        )
    remedy = "see whether Dagster's daemon runs, and whether the sensor campaign_sync_alarms is on and green"
    if checked_at is None:
        return f"incidents of {mandator} haven't been checked yet; {remedy}"
    if now - checked_at > _SENSOR_OVERDUE:
        return (
            f"incidents of {mandator} haven't been checked since {moment(checked_at, settings.zone)}, "
            f"{format_duration(now - checked_at)} ago; {remedy}"
        )
    return None


def _table(configuration: Configuration, problems: Sequence[OpenProblem]) -> Table:
    table = plain_table(*(Column(title, overflow="fold") for title in ("where", "since", "what")))
    for problem in problems:
        settings = configuration.mandators.get(problem.mandator) or configuration.broken_mandators[problem.mandator]
        where = subject_location(problem.mandator, Subject.parse(problem.subject))
        since = moment(problem.since, settings.zone) if problem.since else ""
        table.add_row(Text(where), since, Text(problem.what))
    return table


def send_test_notices(configuration: Configuration, console: Console) -> bool:
    """Send a test through all channels of each mandator, and a heartbeat.

    Returns whether each mandator has a channel beside the log, and all were accepted.
    """
    all_accepted = _send_heartbeat(configuration, console)
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
        "Nothing is wrong: this is a test of whether alarms of campaign_sync are delivered to you.",
        "They are. Alarms are sent when a list is incomplete or late, when a run fails, and when feedback grows old.",
        "/overview",
    )
