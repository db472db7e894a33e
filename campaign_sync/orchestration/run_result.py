"""The result of a run, whether this process executed it or another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg
from dagster import DagsterEvent, DagsterEventType


class RunResult(Protocol):
    """What commands read of a run that has ended. Dagster's own result of a run in this process has all of it."""

    @property
    def success(self) -> bool:
        """Whether all of its steps succeeded."""

    @property
    def all_events(self) -> Sequence[DagsterEvent]:
        """All its events, in order."""

    def get_step_failure_events(self) -> Sequence[DagsterEvent]:
        """Return the failures of steps."""

    def get_asset_check_evaluations(self) -> Sequence[dg.AssetCheckEvaluation]:
        """Return the results of checks."""

    def get_asset_materialization_events(self) -> Sequence[DagsterEvent]:
        """Return the materializations of assets."""


@dataclass(frozen=True)
class FollowedRun:
    """A run of another process, read from the instance. Of several attempts, the last one at each step counts."""

    attempts: Sequence[str]
    """Ids of the run and of the runs by which Dagster retried it."""
    status: dg.DagsterRunStatus
    all_events: Sequence[DagsterEvent]

    @classmethod
    def of(cls, instance: dg.DagsterInstance, attempts: Sequence[str]) -> "FollowedRun":
        """Return the run with these attempts, of which the last has ended."""
        last = instance.get_run_by_id(attempts[-1])
        events: list[DagsterEvent] = []
        for run_id in attempts:
            entries = instance.all_logs(run_id)
            attempt = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
            repeated = {event.step_key for event in attempt if event.step_key}
            events = [event for event in events if event.step_key and event.step_key not in repeated] + attempt
        return cls(tuple(attempts), last.status if last else dg.DagsterRunStatus.FAILURE, events)

    @property
    def success(self) -> bool:
        """Whether the last attempt succeeded."""
        return self.status is dg.DagsterRunStatus.SUCCESS

    @property
    def terminated(self) -> bool:
        """Whether it was terminated in Dagster's UI, or as too long."""
        return self.status is dg.DagsterRunStatus.CANCELED

    def get_step_failure_events(self) -> Sequence[DagsterEvent]:
        """Return the failures of steps."""
        return self._of_type(DagsterEventType.STEP_FAILURE)

    def get_asset_check_evaluations(self) -> Sequence[dg.AssetCheckEvaluation]:
        """Return the results of checks."""
        return [event.asset_check_evaluation_data for event in self._of_type(DagsterEventType.ASSET_CHECK_EVALUATION)]

    def get_asset_materialization_events(self) -> Sequence[DagsterEvent]:
        """Return the materializations of assets."""
        return self._of_type(DagsterEventType.ASSET_MATERIALIZATION)

    def _of_type(self, kind: DagsterEventType) -> list[DagsterEvent]:
        return [event for event in self.all_events if event.event_type is kind]
