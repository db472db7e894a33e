"""What the logs of runs say: the steps that failed, and the checks that were planned."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

import dagster as dg
from dagster import DagsterEventType

from campaign_sync.orchestration.asset_history import ENDED
from campaign_sync.orchestration.check_names import CHECKS_OF_SENSORS


class CheckVerdict(NamedTuple):
    """The result of a check."""

    passed: bool
    warning: bool = False
    """Whether it stops nothing though it didn't pass."""
    finding: str = ""
    """What it found, unless it passed."""


_PASSED = CheckVerdict(passed=True)

PlannedChecks = Mapping[dg.AssetCheckKey, CheckVerdict | None]
"""The result of each planned check; None for a check without one."""

SETTLED_AFTER = timedelta(minutes=2)
"""How long after its end a run's log may still grow: its process may die later than Dagster says so."""

MAX_LOGS = 500
"""How many logs are kept."""

Read = TypeVar("Read")


class RunLogs(Generic[Read]):
    """Logs of runs, each read once after its run has ended."""

    def __init__(self, read: Callable[[dg.DagsterInstance, str], Read]) -> None:
        """Begin without any; `read` returns what is wanted of the log of the run with that id."""
        self._read, self._kept = read, OrderedDict[str, Read]()

    def of(self, instance: dg.DagsterInstance, record: dg.RunRecord) -> Read:
        """Return what the log of a run says."""
        run_id = record.dagster_run.run_id
        if run_id in self._kept:
            self._kept.move_to_end(run_id)
            return self._kept[run_id]
        content = self._read(instance, run_id)
        if is_settled(record, datetime.now(UTC)):
            self._kept[run_id] = content
            if len(self._kept) > MAX_LOGS:
                self._kept.popitem(last=False)
        return content


def is_settled(record: dg.RunRecord, now: datetime) -> bool:
    """Return whether nothing about a run changes any more."""
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp.astimezone(UTC)
    return record.dagster_run.status in ENDED and now - ended >= SETTLED_AFTER


def read_step_failures(instance: dg.DagsterInstance, run_id: str) -> dict[str, dg.EventLogEntry]:
    """Return the failure of each step of a run that failed."""
    events = instance.all_logs(run_id, of_type={DagsterEventType.STEP_FAILURE})
    return {entry.step_key: entry for entry in events if entry.step_key}


def read_planned_checks(instance: dg.DagsterInstance, run_id: str) -> PlannedChecks:
    """Return the results of the checks that a run planned, without those that sensors evaluate as well."""
    outcomes: dict[dg.AssetCheckKey, CheckVerdict | None] = {}
    planned, evaluated = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION
    for entry in instance.all_logs(run_id, of_type={planned, evaluated}):
        event = entry.get_dagster_event()
        if event.event_type is planned:
            outcomes.setdefault(event.asset_check_planned_data.asset_check_key, None)
        else:
            evaluation = event.asset_check_evaluation_data
            outcomes[evaluation.asset_check_key] = verdict(evaluation)
    return {key: outcome for key, outcome in outcomes.items() if key.name not in CHECKS_OF_SENSORS}


def verdict(evaluation: dg.AssetCheckEvaluation) -> CheckVerdict:
    """Return the result of a check; of one that passed not its text, as many are kept."""
    if evaluation.passed:
        return _PASSED
    return CheckVerdict(False, evaluation.severity is not dg.AssetCheckSeverity.ERROR, evaluation.description or "")
