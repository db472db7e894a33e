"""Runs whose process is gone, which Dagster doesn't notice by itself."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.orchestration.daily_replacement import BUSY
from campaign_sync.orchestration.names import MANDATOR_TAG, mandators_by_value
from campaign_sync.storage.state import State

_WITH_PROCESS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
"""Statuses of a run that has a process. A starting run may wait for a machine; Dagster itself limits that time."""

RETRY_WITHIN = timedelta(minutes=5)
"""How long after a run has failed Dagster may still retry it by itself."""

WILL_RETRY, RETRIED_BY = "dagster/will_retry", "dagster/auto_retry_run_id"
"""Dagster's tags of a failed run that it will retry by itself, and that it has retried."""


def end_dead_runs(
    instance: dg.DagsterInstance, state: State, configuration: Configuration, known: Collection[str] = ()
) -> None:
    """Report runs whose process is gone as failed to Dagster.

    Such a run would otherwise keep its mandator's other runs waiting until `max_runtime_seconds`. A run under way
    without any heartbeat is given a quarter of an hour.

    Args:
        instance: has the runs.
        state: has their heartbeats.
        configuration: has the mandators. Runs of others, of another code location, have their heartbeats elsewhere.
        known: further runs that are known to be dead.
    """
    own = mandators_by_value(configuration.mandators, prefix=configuration.prefix)
    running = instance.get_runs(dg.RunsFilter(statuses=_WITH_PROCESS))
    state.heartbeats.expect([run.run_id for run in running if run.tags.get(MANDATOR_TAG) in own])
    for run_id in {*known, *state.heartbeats.dead_runs()}:
        run = instance.get_run_by_id(run_id)
        if run is None:  # of another instance that shares the state
            continue
        if run.status in BUSY:
            instance.report_run_failed(run, "its process died")
        state.heartbeats.forget(run_id)


def busy_mandators(instance: dg.DagsterInstance, mandators: Collection[str], prefix: str) -> set[str]:
    """Return those of the mandators whose runs are under way, queued, or about to be retried by Dagster."""
    if not mandators:
        return set()
    by_value = mandators_by_value(mandators, prefix=prefix)
    tags: dict[str, str | Sequence[str]] = {MANDATOR_TAG: sorted(by_value)}
    failed = dg.RunsFilter(
        tags={**tags, WILL_RETRY: "true"},
        statuses=[dg.DagsterRunStatus.FAILURE],
        updated_after=datetime.now(UTC) - RETRY_WITHIN,
    )
    busy = instance.get_runs(dg.RunsFilter(tags=tags, statuses=BUSY))
    retried = [run for run in instance.get_runs(failed) if RETRIED_BY not in run.tags]
    return {by_value[run.tags[MANDATOR_TAG]] for run in (*busy, *retried)}


def awaits_retry(record: dg.RunRecord, now: datetime) -> bool:
    """Return whether Dagster is about to retry a run that has failed."""
    run = record.dagster_run
    will_retry = run.status is dg.DagsterRunStatus.FAILURE and run.tags.get(WILL_RETRY) == "true"
    return will_retry and RETRIED_BY not in run.tags and record.update_timestamp.astimezone(UTC) > now - RETRY_WITHIN
