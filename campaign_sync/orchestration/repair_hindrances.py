"""What hinders all repairs of lists and completions of days: a sensor that doesn't run, or secrets that are missing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.mandator_cursors import parse_cursors
from campaign_sync.domain.message import Message
from campaign_sync.domain.moment import moment
from campaign_sync.orchestration.dagster_internals import InstigatorState
from campaign_sync.orchestration.mandator_secrets import lacking_secrets
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.sensor_activity import active_at, sensor_data, sensor_states, switched_off

REPAIR_SENSOR = "campaign_sync_repair"
"""The sensor whose state says from which code location a mandator is served, and by which configuration."""

ALARM_SENSOR, REPORT_SENSOR = "campaign_sync_alarms", "campaign_sync_reports"

MISSED_TICKS = 5
"""After this number of ticks of another sensor without any of its own, a sensor doesn't run.

Ticks are counted, and no time is measured: while the daemon is down or the machine is suspended there are none.
"""


class RepairHindrances:
    """What hinders the repair of lists, and the completion of days, of the mandators of a code location."""

    def __init__(self, configuration: Configuration, instance: dg.DagsterInstance, *, in_service: bool = True) -> None:
        """Begin without anything read.

        Args:
            configuration: has the mandators.
            instance: has the sensors.
            in_service: whether this process has the secrets that runs have; a command need not have them.
        """
        self._configuration, self._instance, self._in_service = configuration, instance, in_service
        self._of_sensor: dict[str, str | None] = {}

    def of(self, mandator: str) -> str | None:
        """Return why nothing follows for a mandator by itself and what to do, without a full stop; None if it does."""
        settings = self._configuration.mandators[mandator]
        if not settings.automation.repair:
            return Message("{setting} is off", setting=f"mandators.{mandator}.automation.repair")
        lacking = lacking_secrets(self._instance, mandator, settings) if self._in_service else None
        return lacking or self._sensor_hindrance(mandator)

    def _sensor_hindrance(self, mandator: str) -> str | None:
        """Return why the sensor that serves a mandator doesn't run. Its cursor says which mandators it serves."""
        sensors = self._sensors(REPAIR_SENSOR)
        serving = [state for state in sensors if parse_cursors(sensor_data(state).cursor, {mandator})]
        if serving:  # that of a code location which has another name by now has older ticks
            return self._problem(serving[0])
        problems = [self._problem(state) for state in sensors]
        return problems[0] if problems and all(problems) else None

    def _problem(self, state: InstigatorState) -> str | None:
        key = state.selector_id + state.instigator_origin_id
        if key not in self._of_sensor:
            self._of_sensor[key] = self._read_problem(state)
        return self._of_sensor[key]

    def _read_problem(self, state: InstigatorState) -> str | None:
        name = state.instigator_name
        if not state.is_running:
            return switched_off(name)
        ticked_at = active_at(state)
        if ticked_at is None or not self._is_silent(state, ticked_at):
            return None
        return Message(
            "the sensor {sensor} hasn't run since {moment}, though others have. See its ticks on the page Automation "
            "of Dagster's UI, and restart Dagster's daemon",
            sensor=name,
            moment=moment(datetime.fromtimestamp(ticked_at, UTC), UTC),
        )

    def _is_silent(self, state: InstigatorState, ticked_at: float) -> bool:
        for other in (*self._sensors(ALARM_SENSOR), *self._sensors(REPORT_SENSOR)):
            if other.repository_selector_id == state.repository_selector_id and (active_at(other) or 0) > ticked_at:
                ticks = self._instance.get_ticks(
                    other.instigator_origin_id, other.selector_id, after=ticked_at, limit=MISSED_TICKS
                )
                return len(ticks) >= MISSED_TICKS
        return False

    def _sensors(self, name: str) -> Sequence[InstigatorState]:
        """Return the sensors of this name in all code locations, the one that ticked last first."""
        name = name_in_dagster(name, prefix=self._configuration.prefix)
        return [state for state in self._all_sensors if state.instigator_name == name]

    @cached_property
    def _all_sensors(self) -> Sequence[InstigatorState]:
        return sensor_states(self._instance)
