"""When sensors ticked last, and which of them are switched off or late."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.domain.feedback_age import format_duration
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

    def problem(self, now: datetime) -> str | None:
        """Return that the sensor is switched off or late, and what to do; None if it is neither."""
        if not self.running:
            return f"the sensor {self.name} is switched off; switch it on, on the page Automation of Dagster's UI"
        if self.ticked_at is None:
            return f"the sensor {self.name} has never run; {_REMEDY}"
        age = now - self.ticked_at
        if age <= 2 * self.interval + _GRACE:
            return None
        return f"the sensor {self.name} hasn't run for {format_duration(age)}; {_REMEDY}"


def sensor_activities(instance: dg.DagsterInstance, sensors: Sequence[dg.SensorDefinition]) -> list[SensorActivity]:
    """Return what Dagster's instance knows of these sensors; nothing if it has never run any of them."""
    if instance.schedule_storage is None:  # of a process that executes a run without a daemon
        return []
    states: defaultdict[str, list[InstigatorState]] = defaultdict(list)
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        states[state.instigator_name].append(state)
    if not any(sensor.name in states for sensor in sensors):
        return []
    return [_activity(sensor, states[sensor.name]) for sensor in sensors]


def _activity(sensor: dg.SensorDefinition, states: Sequence[InstigatorState]) -> SensorActivity:
    """Return what is known of a sensor. Of code locations that both have it, the one that ticked last counts."""
    newest = max(states, key=lambda state: _ticked_at(state) or 0, default=None)
    ticked_at = _ticked_at(newest) if newest else None
    return SensorActivity(
        sensor.name,
        timedelta(seconds=sensor.minimum_interval_seconds or 0),
        newest.is_running if newest else sensor.default_status is dg.DefaultSensorStatus.RUNNING,
        datetime.fromtimestamp(ticked_at, UTC) if ticked_at else None,
    )


def _ticked_at(state: InstigatorState) -> float | None:
    data = state.instigator_data
    if not isinstance(data, SensorInstigatorData):
        return None
    return max((at for at in (data.last_tick_start_timestamp, data.last_tick_timestamp) if at), default=None)
