"""Runs whose process is gone: Dagster takes them for alive until somebody says otherwise."""

from collections.abc import Collection

import dagster as dg

from campaign_sync.automation.daily import BUSY
from campaign_sync.state.store import State

_WILL_RETRY = "dagster/will_retry"
"""Dagster's tag of a failed run that it will start once more by itself."""


def end_dead_runs(instance: dg.DagsterInstance, state: State, known: Collection[str] = ()) -> bool:
    """Tell Dagster that runs have failed whose process is gone. Returns whether it will start one of them once more.

    Such a run would otherwise keep its mandator's other runs waiting until `max_runtime_seconds`.

    Args:
        instance: where the runs are.
        state: which of them give no sign of life.
        known: further runs that are known to be dead.
    """
    taken_up = False
    for run_id in {*known, *state.signs_of_life.dead()}:
        run = instance.get_run_by_id(run_id)
        if run is None:  # of another instance that shares the state
            continue
        if run.status in BUSY:
            instance.report_run_failed(run, "its process died")
            failed = instance.get_run_by_id(run_id)
            taken_up |= failed is not None and failed.tags.get(_WILL_RETRY) == "true"
        state.signs_of_life.forget(run_id)
    return taken_up
