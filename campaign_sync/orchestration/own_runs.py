"""Which runs of a Dagster instance are this product's, and which of them are still needed."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Self

import dagster as dg

from campaign_sync.domain.retention import PastRun
from campaign_sync.orchestration.asset_history import ENDED, run_records
from campaign_sync.orchestration.names import (
    MANDATOR_JOBS,
    MANDATOR_SCHEDULES,
    MANDATOR_TAG,
    SENSORS,
    mandators_by_value,
    name_in_dagster,
)

REPOSITORY_TAG = ".dagster/repository"
"""Dagster's tag of a run that a code location has: its repository and the name of the location."""

PAGE = 500
"""How many runs are read at once."""


@dataclass(frozen=True)
class OwnDefinitions:
    """The names of what this product defines in Dagster."""

    mandators: frozenset[str]
    """As values of `MANDATOR_TAG`."""
    jobs: frozenset[str]
    automations: frozenset[str]
    """Schedules and sensors."""
    assets: frozenset[dg.AssetKey]
    checks: frozenset[dg.AssetCheckKey]

    def with_mandators(self, mandators: Collection[str], *, prefix: str) -> Self:
        """Return also what these mandators have in Dagster by any settings, and what all of them may share.

        That is known by its name, in our code location alone. Assets aren't: others may have keys that begin so.
        """
        return replace(
            self,
            mandators=self.mandators | mandators_by_value(mandators, prefix=prefix).keys(),
            jobs=self.jobs | {name_in_dagster(*name, prefix=prefix) for name in product(mandators, MANDATOR_JOBS)},
            automations=self.automations
            | {name_in_dagster(*name, prefix=prefix) for name in product(mandators, MANDATOR_SCHEDULES)}
            | {name_in_dagster(name, prefix=prefix) for name in SENSORS},
        )

    def owns(self, run: dg.DagsterRun, location: str | None) -> bool:
        """Return whether a run is of one of our jobs or of our assets alone.

        Args:
            run: any run of the instance.
            location: our code location, as in `REPOSITORY_TAG`. Runs of another one are never ours.
        """
        label = location_of(run)
        if label is None:  # a command executed it in its own process
            return run.job_name in self.jobs and run.tags.get(MANDATOR_TAG) in self.mandators
        return label == location and (run.job_name in self.jobs or self._selects_own_assets(run))

    def _selects_own_assets(self, run: dg.DagsterRun) -> bool:
        selected = {*(run.asset_selection or ()), *(key.asset_key for key in run.asset_check_selection or ())}
        return bool(selected) and selected <= self.assets


def location_of(run: dg.DagsterRun) -> str | None:
    """Return the code location of a run, as in `REPOSITORY_TAG`; None if it has none."""
    return run.remote_job_origin.repository_origin.get_label() if run.remote_job_origin else None


def ended_runs(
    instance: dg.DagsterInstance, own: OwnDefinitions, location: str | None, before: datetime, after: datetime | None
) -> Iterator[dg.RunRecord]:
    """Yield our runs that have ended between two moments."""
    tags: list[dict[str, str | list[str]]] = [{MANDATOR_TAG: sorted(own.mandators)}]
    if location:
        tags.append({REPOSITORY_TAG: location})
    seen: set[str] = set()
    for chosen in tags:
        filters = dg.RunsFilter(tags=chosen, statuses=list(ENDED), updated_before=before, updated_after=after)
        for record in _records(instance, filters):
            run = record.dagster_run
            if run.run_id not in seen and own.owns(run, location):
                seen.add(run.run_id)
                yield record


def _records(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[dg.RunRecord]:
    cursor = None
    while page := instance.get_run_records(filters, limit=PAGE, cursor=cursor):
        yield from page
        cursor = page[-1].dagster_run.run_id


def past_run(record: dg.RunRecord) -> PastRun:
    """Return what the removal of a run depends on."""
    run = record.dagster_run
    return PastRun(run.run_id, run.root_run_id or run.run_id, record.update_timestamp.astimezone(UTC))


def needed_runs(instance: dg.DagsterInstance, own: OwnDefinitions) -> set[str]:
    """Return the first attempts of the newest run and the newest materialization of every asset, and result of a check.

    What is said of lists, of feedback and of incidents is read from these runs, however old they are.
    """
    checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(own.checks))
    run_ids = {record.run_id for record in checks.values()}
    for record in instance.get_asset_records(list(own.assets)):
        entry = record.asset_entry
        run_ids |= {entry.last_run_id or "", entry.last_planned_materialization_run_id or ""}
        newest = (entry.last_materialization_record, entry.last_observation_record)
        run_ids |= {record.run_id for record in newest if record}
    run_ids.discard("")
    return run_ids | {past_run(record).first_attempt for record in run_records(instance, run_ids).values()}
