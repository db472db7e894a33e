"""What is wrong now, and whether alarms reach people."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.dispatch import channels
from campaign_sync.alerts.messages import moment
from campaign_sync.cli.dagster_instance import known_attempts
from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.incident import Incident, IncidentKind, Notice, NoticeKind, Subject, incident_location
from campaign_sync.domain.readiness import Readiness
from campaign_sync.orchestration.deadlines import planned_expectations
from campaign_sync.replacement.list_readiness import judge_lists
from campaign_sync.storage.state import State

_LOOKS_EVERY = timedelta(minutes=5)
"""An alarm sensor that has looked within this time is at work: it looks every minute."""


def show_incidents(configuration: Configuration, console: Console) -> bool:
    """Tell what the alarm sensors have found and isn't over, and how each list stands now.

    Returns whether nothing is wrong, as far as somebody has looked: who can't know doesn't say so.
    """
    now = datetime.now(UTC)
    rows: list[tuple[str, str, str]] = []
    unwatched: list[str] = []
    with State(configuration.storage.state_url.get_secret_value()) as state:
        for mandator, settings in configuration.mandators.items():
            known = state.incidents.open(mandator)
            rows += [
                (incident_location(one), moment(one.since, settings.zone), f"{one.what} {one.remedy}")
                for one in known.values()
            ]
            attempts = known_attempts(configuration, mandator)
            for judged in judge_lists(
                configuration, mandator, state, attempts, now, planned_expectations(settings, now)
            ):
                status, drift = judged.status, judged.drift
                where = f"{mandator}/{judged.name}"
                if status.readiness is not Readiness.READY and Subject.of_list(judged.name) not in known:
                    since = moment(status.since, settings.zone) if status.since else ""
                    rows.append((where, since, f"The list {status.message}."))
                if drift and drift.not_checked_since:
                    told = f"It can't be seen whether the list is still as it was proven: {drift.not_checked_because}"
                    rows.append((where, moment(drift.not_checked_since, settings.zone), told))
            if unseen := _unwatched(mandator, settings, state.incidents.last_checked(mandator), now):
                unwatched.append(unseen)
    if rows:
        console.print(_table(rows))
    for told in unwatched:
        console.print(f"! {told}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if not rows and not unwatched:
        console.print("Nothing is wrong: the alarm sensors have looked, and all lists are as planned.")
    return not rows and not unwatched


def _unwatched(mandator: str, settings: MandatorSettings, looked_at: datetime | None, now: datetime) -> str | None:
    """Why nobody would be told of incidents; None where the alarm sensor is at work."""
    if not settings.automation.alarms:
        return (
            f"nobody looks for incidents of {mandator}: its alarm sensor is switched off "
            f"(mandators.{mandator}.automation.alarms)"
        )
    remedy = f"see whether Dagster's daemon runs, and whether the sensor {mandator}_alarms is on and green"
    if looked_at is None:
        return f"nobody has looked for incidents of {mandator} yet; {remedy}"
    if now - looked_at > _LOOKS_EVERY:
        return (
            f"nobody has looked for incidents of {mandator} since {moment(looked_at, settings.zone)}, "
            f"{format_duration(now - looked_at)} ago; {remedy}"
        )
    return None


def _table(rows: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("where", "since", "what"):
        table.add_column(title, overflow="fold")
    for where, since, what in rows:
        table.add_row(Text(where), since, Text(what))
    return table


def send_test_notices(configuration: Configuration, console: Console) -> bool:
    """Send a test to everybody whom alarms of each mandator go to. Returns whether every channel took it."""
    taken = True
    for mandator in configuration.mandators:
        for channel in channels(configuration, mandator, lambda: logging.getLogger("campaign_sync.alerts")):
            if channel.name == "log":
                continue
            try:
                channel.send(Notice(NoticeKind.TEST, _nothing(mandator)))
            except ChannelError as error:
                taken = False
                console.print(f"✗ {mandator}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            else:
                console.print(f"✓ {mandator}: {channel.name} took a test", style="green", highlight=False)
    if configuration.alarms.email is None and not configuration.alarms.webhooks and not configuration.alarms.apprise:
        console.print(
            "✗ alarms go to the log only; configure alarms.email, alarms.webhooks or alarms.apprise", style="yellow"
        )
    return taken


def _nothing(mandator: str) -> Incident:
    return Incident(
        mandator,
        Subject("the alarms"),
        IncidentKind.CHECK,
        datetime.now(UTC),
        "Nothing is wrong: somebody tries whether alarms of campaign_sync reach you.",
        "They do. Alarms come when a list is incomplete or late, when a run fails, and when feedback grows old.",
        "/overview",
    )
