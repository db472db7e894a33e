"""Runs whose process is gone: Dagster takes them for alive until somebody says otherwise."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.orchestration.daily_replacement import BUSY, MANDATOR_TAG
from campaign_sync.storage.state import State

_AT_WORK = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
"""Statuses of a run that has a process. One that is starting may wait for a machine; Dagster itself bounds that."""

RETRY_WITHIN = timedelta(minutes=5)
"""So long after a run has failed Dagster's own retry may still be on its way."""

_WILL_RETRY, _RETRIED_BY = "dagster/will_retry", "dagster/auto_retry_run_id"
"""Dagster's tags of a failed run that it will start once more by itself, and has."""


def end_dead_runs(instance: dg.DagsterInstance, state: State, known: Collection[str] = ()) -> None:
    """Tell Dagster that runs have failed whose process is gone.

    Such a run would otherwise keep its mandator's other runs waiting until `max_runtime_seconds`. A run under way
    that gives no sign of life at all is waited for a quarter of an hour.

    Args:
        instance: where the runs are.
        state: which of them give no sign of life.
        known: further runs that are known to be dead.
    """
    at_work = instance.get_runs(dg.RunsFilter(statuses=_AT_WORK))
    state.heartbeats.expect([run.run_id for run in at_work if MANDATOR_TAG in run.tags])
    for run_id in {*known, *state.heartbeats.dead_runs()}:
        run = instance.get_run_by_id(run_id)
        if run is None:  # of another instance that shares the state
            continue
        if run.status in BUSY:
            instance.report_run_failed(run, "its process died")
        state.heartbeats.forget(run_id)


def is_busy(instance: dg.DagsterInstance, mandator: str) -> bool:
    """Whether a run of the mandator is under way or queued, or Dagster is about to start one once more."""
    mandators = {MANDATOR_TAG: mandator}
    if instance.get_runs_count(dg.RunsFilter(tags=mandators, statuses=BUSY)):
        return True
    failed = dg.RunsFilter(
        tags={**mandators, _WILL_RETRY: "true"},
        statuses=[dg.DagsterRunStatus.FAILURE],
        updated_after=datetime.now(UTC) - RETRY_WITHIN,
    )
    return any(_RETRIED_BY not in run.tags for run in instance.get_runs(failed))
