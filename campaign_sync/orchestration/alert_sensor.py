"""The sensor that sends notices of incidents: one when an incident begins or gets worse, one when it is over."""

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from campaign_sync.alerts.channel import Channel, ChannelError
from campaign_sync.alerts.detection import MANUAL
from campaign_sync.alerts.dispatch import configured_channels, send_notices
from campaign_sync.alerts.heartbeat import Heartbeat
from campaign_sync.config import Configuration, unavailable_secrets
from campaign_sync.domain.incident import Incident, IncidentKind, Notice, NoticeKind, Subject, headline
from campaign_sync.domain.message import Message, as_sentence
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.descriptions import display_names
from campaign_sync.orchestration.incident_check import CheckedIncidents, DagsterReader, check_incidents
from campaign_sync.orchestration.mandator_threads import PatientThreads
from campaign_sync.orchestration.mandator_ticks import SEPARATOR, Cursors, MandatorTick, combine_ticks
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.repair_hindrances import ALARM_SENSOR
from campaign_sync.orchestration.run_failures import MonitoredAssets
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.state import State

STATE = Subject("the state database")
"""Subject of the only incident that can't be recorded in the state database."""

_SEPARATOR = "|"
"""In the cursor of a mandator. It has none while the state database can be used.

Else the cursor is the time since when the database can't be used, followed by the channels that haven't sent the
all-clear yet once it can be used again.
"""


def alarm_sensor(
    configuration: Configuration, assets: Mapping[str, Sequence[dg.AssetsDefinition]]
) -> dg.SensorDefinition | None:
    """Return the sensor that derives incidents from the current state every minute.

    It doesn't follow events, so nothing is missed while it is off.

    Args:
        configuration: all mandators.
        assets: of each mandator whose `automation.alarms` is on; without any there is no sensor.
    """
    if not assets:
        return None
    monitored = {mandator: MonitoredAssets.of(mandator, assets[mandator]) for mandator in assets}
    threads: PatientThreads[str, MandatorTick] = PatientThreads()
    heartbeat = Heartbeat(configuration.alarms.heartbeat_url)
    reader = DagsterReader(monitored.values())

    @dg.sensor(
        name=name_in_dagster(ALARM_SENSOR, prefix=configuration.prefix),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Sends a notice when a list is incomplete, late or changed after its proof, when a run or a "
                "check failed, and when feedback has grown old: once when it begins, once when it is over "
                "({mandators}). If it is red, a mail server or a webhook rejected an alarm; the tick says "
                "which, and whose.",
                mandators=display_names(configuration, monitored),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = _AlarmTick(configuration, context, Cursors(context, monitored), datetime.now(UTC))
        try:
            with State(configuration.storage.state_url.get_secret_value()) as state:
                dagster = reader.read(context.instance, tick.now)
                checked = check_incidents(configuration, monitored, dagster, state, tick.now)
                ticks = threads.run(monitored, lambda mandator: tick.notify(mandator, state, checked))
        except StateError as error:
            unusable = error
            ticks = threads.run(monitored, lambda mandator: tick.without_state(mandator, unusable))
        if all(_could_alert(of_mandator) for of_mandator in ticks.values()):
            heartbeat.send(lambda: context.log)
        return combine_ticks(context, tick.cursors, ticks)

    return sensor


def _could_alert(tick: MandatorTick | Exception) -> bool:
    """Return whether people would have been alerted of incidents: the state could be used, and each channel."""
    return isinstance(tick, MandatorTick) and not tick.problem and tick.cursor is None


class _AlarmTick:
    """What a tick sends, once the incidents of all mandators are known. Mandators are served in threads."""

    def __init__(
        self,
        configuration: Configuration,
        context: dg.SensorEvaluationContext,
        cursors: Cursors,
        now: datetime,
    ) -> None:
        self._configuration, self._context, self.cursors, self.now = configuration, context, cursors, now
        self._lock = threading.Lock()

    def notify(self, mandator: str, state: State, checked: CheckedIncidents) -> MandatorTick:
        """Send a mandator's notices, and return the tick for it."""
        incidents = checked.open[mandator]
        if isinstance(incidents, Exception):
            raise incidents
        lists = self._configuration.mandators[mandator].recipient_list_ids
        try:
            channels = self._channels(mandator)
            problems = send_notices(state, checked.unsent, checked.view, mandator, channels, lists)
            unread = unavailable_secrets(self._configuration.alarms)
            problems += [secret for secret in unread if not any(secret in problem for problem in problems)]
        except StateError as error:
            return self.without_state(mandator, error)
        cursor, unsent = self._with_state_again(mandator)
        headlines = [headline(Notice(NoticeKind.ALARM, incident)) for incident in incidents]
        return MandatorTick(
            SEPARATOR.join(headlines) or "nothing is wrong", cursor, problem=SEPARATOR.join([*problems, *unsent])
        )

    def without_state(self, mandator: str, error: StateError) -> MandatorTick:
        """Send the notice that the state database can't be used, which only the sensor's cursor can record."""
        cursor, channels = self.cursors.get(mandator), self._channels(mandator)
        if cursor is not None and _SEPARATOR not in cursor:
            return MandatorTick(str(error), cursor)
        problems = _send_to_all(channels, Notice(NoticeKind.ALARM, _state_incident(mandator, error, self.now)))
        if problems and len(problems) == len(channels) - 1:  # only the log has it
            return MandatorTick(cursor=cursor, problem=SEPARATOR.join([str(error), *problems.values()]))
        return MandatorTick(str(error), self.now.isoformat())

    def _with_state_again(self, mandator: str) -> tuple[str | None, list[str]]:
        """Send the all-clear through the channels that haven't. Returns the new cursor and the problems."""
        cursor = self.cursors.get(mandator)
        if cursor is None:
            return None, []
        since, *names = cursor.split(_SEPARATOR)
        pending = [channel for channel in self._channels(mandator) if channel.name in names or not names]
        incident = _state_incident(mandator, None, datetime.fromisoformat(since))
        problems = _send_to_all(pending, Notice(NoticeKind.ALL_CLEAR, incident, until=self.now))
        return _SEPARATOR.join([since, *problems]) if problems else None, list(problems.values())

    def _channels(self, mandator: str) -> list[Channel]:
        return configured_channels(self._configuration, mandator, self._logger)

    def _logger(self) -> logging.Logger:
        with self._lock:  # Dagster creates the logger when it is requested first
            return self._context.log


def _state_incident(mandator: str, error: StateError | None, since: datetime) -> Incident:
    return Incident(
        mandator,
        STATE,
        IncidentKind.FAILED,
        since,
        as_sentence(str(error)),
        Message(
            "Until it can be used, no list of {mandator} is replaced and nothing unfinished is repaired: see {manual}, "
            "“What an alarm means”.",
            mandator=mandator,
            manual=MANUAL,
        ),
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
