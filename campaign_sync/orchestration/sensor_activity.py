"""When sensors ticked last, and which of them are switched off or late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.message import Message
from campaign_sync.orchestration.dagster_internals import InstigatorState, InstigatorType, SensorInstigatorData

_GRACE = timedelta(minutes=3)
"""How long a tick may take and the daemon may be busy with others."""

_REMEDY = "see its ticks on the page Automation of Dagster's UI, and whether Dagster's daemon runs"


@dataclass(frozen=True)
class SensorActivity:
    """A sensor, and when it ticked last."""

    name: str
    interval: timedelta
    """The time between two ticks."""
    running: bool
    """Whether it is switched on."""
    ticked_at: datetime | None
    """None if it never did."""
    active_at: datetime | None
    """The same, or when it was switched on since."""

    def problem(self, now: datetime) -> str | None:
        """Return that the sensor is switched off or late, and what to do; None if it is neither."""
        if not self.running:
            return switched_off(self.name)
        if self.active_at is None:
            return f"the sensor {self.name} has never run; {_REMEDY}"
        age = now - self.active_at
        if age <= 2 * self.interval + _GRACE:
            return None
        return f"the sensor {self.name} hasn't run for {format_duration(age)}; {_REMEDY}"


def sensor_activities(instance: dg.DagsterInstance, sensors: Sequence[dg.SensorDefinition]) -> list[SensorActivity]:
    """Return what Dagster's instance knows of these sensors; nothing if it has never run any of them."""
    states = sensor_states(instance)
    of_sensors = [(sensor, [state for state in states if state.instigator_name == sensor.name]) for sensor in sensors]
    return [_activity(sensor, own) for sensor, own in of_sensors] if any(own for _, own in of_sensors) else []


def sensor_states(instance: dg.DagsterInstance) -> list[InstigatorState]:
    """Return the sensors of all code locations that Dagster's instance knows, the one that ticked last first."""
    if instance.schedule_storage is None:  # of a process that executes a run without a daemon
        return []
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return sorted(states, key=lambda state: active_at(state) or 0, reverse=True)


def active_at(state: InstigatorState) -> float | None:
    """Return when the newest tick of a sensor began, or when it was switched on since; None if that isn't known."""
    return _newest(_ticked_at(state), sensor_data(state).last_sensor_start_timestamp)


def sensor_data(state: InstigatorState) -> SensorInstigatorData:
    """Return what Dagster keeps of a sensor's ticks; nothing where it has never ticked."""
    return state.instigator_data if isinstance(state.instigator_data, SensorInstigatorData) else SensorInstigatorData()


def switched_off(name: str) -> str:
    """Return that a sensor is switched off, and what to do, without a full stop."""
    return Message(
        "the sensor {sensor} is switched off. Switch it on, on the page Automation of Dagster's UI", sensor=name
    )


def _activity(sensor: dg.SensorDefinition, states: Sequence[InstigatorState]) -> SensorActivity:
    """Return what is known of a sensor. Of code locations that both have it, the one that ticked last counts."""
    newest = states[0] if states else None
    ticked_at, since = (_ticked_at(newest), active_at(newest)) if newest else (None, None)
    return SensorActivity(
        sensor.name,
        timedelta(seconds=sensor.minimum_interval_seconds or 0),
        newest.is_running if newest else sensor.default_status is dg.DefaultSensorStatus.RUNNING,
        datetime.fromtimestamp(ticked_at, UTC) if ticked_at else None,
        datetime.fromtimestamp(since, UTC) if since else None,
    )


def _ticked_at(state: InstigatorState) -> float | None:
    data = sensor_data(state)
    return _newest(data.last_tick_start_timestamp, data.last_tick_timestamp)


def _newest(*moments: float | None) -> float | None:
    return max((moment for moment in moments if moment), default=None)
