"""The newest execution of each check, of all mandators at once."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from campaign_sync.orchestration.asset_history import AssetHistory, batches
from campaign_sync.orchestration.dagster_internals import AssetCheckExecutionRecord
from campaign_sync.orchestration.run_logs import (
    CheckVerdict,
    PlannedChecks,
    RunLogs,
    is_settled,
    read_planned_checks,
    verdict,
)

REREAD_AFTER = timedelta(minutes=10)
"""How old what is known of assets without a new run may become."""


class CheckHistory:
    """The newest execution of each check as of one moment."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        history: AssetHistory,
        latest: Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord],
        logs: RunLogs[PlannedChecks],
    ) -> None:
        """Begin with the history of the assets, and the newest execution of each of their checks."""
        self._instance, self._history, self._logs, self.latest = instance, history, logs, latest
        self._by_run: defaultdict[str, dict[dg.AssetCheckKey, CheckVerdict | None]] = defaultdict(dict)
        for key, record in latest.items():
            evaluation = record.evaluation if record.event and record.event.dagster_event else None
            result = verdict(evaluation) if isinstance(evaluation, dg.AssetCheckEvaluation) else None
            self._by_run[record.run_id][key] = result

    def planned_in(self, run: dg.RunRecord, assets: Collection[dg.AssetKey]) -> PlannedChecks:
        """Return the results of the checks that a run planned, of at least these assets.

        The run's log is read only if a later run has executed checks of these assets again.
        """
        runs = [self._history.runs.get(self._history.run_of.get(asset, "")) for asset in assets]
        if any(other and other.storage_id > run.storage_id for other in runs):
            return self._logs.of(self._instance, run)
        return self._by_run.get(run.dagster_run.run_id, {})


class CheckReader:
    """Reads the newest execution of each check; of assets without a new run, only every ten minutes."""

    def __init__(self) -> None:
        """Begin without anything read."""
        self._latest: dict[dg.AssetCheckKey, AssetCheckExecutionRecord] = {}
        self._settled: dict[dg.AssetKey, str | None] = {}
        """Assets by their newest run, where that had ended when their checks were read."""
        self._reread_at: datetime | None = None
        self._logs = RunLogs(read_planned_checks)

    def read(
        self, instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], history: AssetHistory, now: datetime
    ) -> CheckHistory:
        """Return the newest execution of these checks. `history` is of their assets, and was read before."""
        if self._reread_at is None or now >= self._reread_at:
            self._settled.clear()
            self._reread_at = now + REREAD_AFTER
        due = [key for key in checks if not self._is_settled(key.asset_key, history)]
        for key in due:
            self._latest.pop(key, None)
        for batch in batches(due):
            self._latest |= instance.event_log_storage.get_latest_asset_check_execution_by_key(batch)
        for asset in {key.asset_key for key in due}:
            run = history.runs.get(history.run_of.get(asset, ""))
            if run is None or is_settled(run, now):
                self._settled[asset] = history.run_of.get(asset)
        return CheckHistory(instance, history, dict(self._latest), self._logs)

    def _is_settled(self, asset: dg.AssetKey, history: AssetHistory) -> bool:
        return asset in self._settled and self._settled[asset] == history.run_of.get(asset)
