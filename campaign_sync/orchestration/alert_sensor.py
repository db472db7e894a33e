"""The sensor that sends notices of incidents: one when an incident begins or gets worse, one when it is over."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from campaign_sync.alerts.channel import Channel, ChannelError
from campaign_sync.alerts.detection import (
    being_replaced,
    doubtful_lists,
    incomplete_lists,
    known_from_runs,
    left_behind,
    not_as_proven,
    old_feedback,
    replaced_since,
)
from campaign_sync.alerts.dispatch import configured_channels, send_notices
from campaign_sync.alerts.messages import as_sentence
from campaign_sync.config import Configuration
from campaign_sync.domain.incident import Incident, IncidentKind, Notice, NoticeKind, Subject, headline
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.deadlines import late_lists, planned_expectations, planned_pause
from campaign_sync.orchestration.repair_sensor import is_given_up
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.orchestration.run_failures import MonitoredAssets, NewestRuns, failed_checks, failed_steps
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.state import State

STATE = Subject("the state database")
"""Subject of the only incident that can't be recorded in the state database."""

_USABLE = "usable"
"""The cursor while the state database can be used. Dagster keeps no empty ones.

Else the cursor is the time since when the database can't be used, followed by the channels that haven't sent the
all-clear yet once it can be used again.
"""

_SEPARATOR = "|"


class UnsentAlertError(CampaignSyncError):
    """A notice wasn't delivered. The message names the channel and the remedy."""


def alarm_sensor(
    configuration: Configuration, mandator: str, assets: Sequence[dg.AssetsDefinition]
) -> dg.SensorDefinition:
    """Return the sensor that derives incidents from the current state every minute.

    It doesn't follow events, so nothing is missed while it is off.
    """
    monitored = MonitoredAssets.of(mandator, assets)
    url = configuration.storage.state_url.get_secret_value()
    settings = configuration.mandators[mandator]

    @dg.sensor(
        name=f"{mandator}_alarms",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Sends a notice when a list of {settings.display_name(mandator)} is incomplete, late or changed "
            "after its proof, when a run or a check failed, and when feedback has grown old: once when it begins, once "
            "when it is over. If it is red, a mail server or a webhook rejected an alarm; the tick says which."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        targets = configured_channels(configuration, mandator, lambda: context.log)
        now = datetime.now(UTC)
        try:
            with State(url) as state:
                newest_runs = NewestRuns.of(monitored, context.instance)
                in_progress = newest_runs.in_progress() | being_replaced(configuration, mandator, state)
                # A run that hangs, or waits in the queue for days, must not delay the notice.
                late = list(late_lists(configuration, mandator, state, now))
                attempts = newest_attempts(context.instance, mandator, list(settings.lists))
                passing = [
                    *failed_steps(newest_runs, context.instance),
                    *failed_checks(monitored, context.instance),
                    *not_as_proven(configuration, mandator, state, attempts, now, planned_expectations(settings, now)),
                ]
                incidents = [
                    *incomplete_lists(
                        configuration,
                        mandator,
                        state,
                        {incident.subject.name for incident in late},
                        lambda name, unfinished: is_given_up(context.instance, state, name, unfinished),
                    ),
                    *doubtful_lists(configuration, mandator, state),
                    *old_feedback(configuration, mandator, state, now, planned_pause(settings, now)),
                    *late,
                    # A run may be repairing the others just now.
                    *(incident for incident in passing if incident.subject not in in_progress),
                ]
                unsettled = (in_progress | newest_runs.not_materialized()) - replaced_since(mandator, state)
                unsettled |= left_behind(configuration, mandator, state)
                unsettled |= newest_runs.without_run() & known_from_runs(mandator, state)
                state.incidents.reconcile(mandator, incidents, unsettled, now)
                problems = send_notices(state, mandator, targets, settings.lists)
                open_now = list(state.incidents.open(mandator).values())
        except StateError as error:
            return _without_state(context, mandator, targets, error, now)
        cursor, unsent = _with_state_again(context, mandator, targets, now)
        problems += unsent
        if problems and cursor == (context.cursor or _USABLE):
            raise UnsentAlertError(" · ".join(problems))  # a failed tick shows; the next one tries again
        if problems:  # a failed tick would forget which channels have sent the all-clear
            context.log.error(" · ".join(problems))
            return dg.SensorResult(skip_reason=" · ".join(problems), cursor=cursor)
        summary = (
            " · ".join(headline(Notice(NoticeKind.ALARM, incident)) for incident in open_now) or "nothing is wrong"
        )
        return dg.SensorResult(skip_reason=summary, cursor=_USABLE)

    return sensor


def _without_state(
    context: dg.SensorEvaluationContext, mandator: str, targets: Sequence[Channel], error: StateError, now: datetime
) -> dg.SensorResult:
    """Send the notice that the state database can't be used, which only the sensor's cursor can record."""
    if context.cursor not in (None, _USABLE) and _SEPARATOR not in (context.cursor or ""):
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    problems = _send_to_all(targets, Notice(NoticeKind.ALARM, _state_incident(mandator, error, now)))
    if problems and len(problems) == len(targets) - 1:  # only the log has it
        raise UnsentAlertError(" · ".join([str(error), *problems.values()]))
    return dg.SensorResult(skip_reason=str(error), cursor=now.isoformat())


def _with_state_again(
    context: dg.SensorEvaluationContext, mandator: str, targets: Sequence[Channel], now: datetime
) -> tuple[str, list[str]]:
    """Send the all-clear through the channels that haven't. Returns the new cursor and the problems."""
    if context.cursor in (None, _USABLE):
        return _USABLE, []
    since, *names = (context.cursor or "").split(_SEPARATOR)
    pending = [channel for channel in targets if channel.name in names or not names]
    incident = _state_incident(mandator, None, datetime.fromisoformat(since))
    problems = _send_to_all(pending, Notice(NoticeKind.ALL_CLEAR, incident, until=now))
    return _SEPARATOR.join([since, *problems]) if problems else _USABLE, list(problems.values())


def _state_incident(mandator: str, error: StateError | None, since: datetime) -> Incident:
    return Incident(
        mandator,
        STATE,
        IncidentKind.FAILED,
        since,
        as_sentence(str(error)),
        f"Until it can be used, no list of {mandator} is replaced and nothing unfinished is repaired: see "
        "docs/operations.md, “What an alarm means”.",
        "/deployment",
    )


def _send_to_all(targets: Sequence[Channel], notice: Notice) -> dict[str, str]:
    """Send a notice through every channel, and return the problems by the channels' names."""
    problems = {}
    for channel in targets:
        try:
            channel.send(notice)
        except ChannelError as error:
            problems[channel.name] = str(error)
    return problems
