"""What Dagster knows of assets: the newest run of each, and what it has made. Read for all assets at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import dagster as dg

ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
"""Statuses of a run that is over."""

MAX_KEYS = 5_000
"""How many keys a statement names: SQLite allows 32,766."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class AssetHistory:
    """The newest run that was to materialize each asset. The number of statements doesn't depend on their number."""

    run_of: Mapping[dg.AssetKey, str]
    """The id of that run; assets without any are left out."""
    runs: Mapping[str, dg.RunRecord]
    """These runs by id; those that are gone are left out."""
    materialized: Collection[dg.AssetKey]
    """Assets that their newest run has materialized."""

    @classmethod
    def read(cls, instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> Self:
        """Return the history of these assets as of now."""
        entries = [record.asset_entry for batch in batches(keys) for record in instance.get_asset_records(batch)]
        run_of = {entry.asset_key: entry.last_run_id for entry in entries if entry.last_run_id}
        newest = {entry.asset_key: entry.last_materialization_record for entry in entries}
        materialized = {key for key, record in newest.items() if record and record.run_id == run_of.get(key)}
        return cls(run_of, run_records(instance, set(run_of.values())), materialized)

    def newest_ended(self, keys: Collection[dg.AssetKey]) -> dg.RunRecord | None:
        """Return the run of these assets that has ended last; None if none has."""
        run_ids = {self.run_of[key] for key in keys if key in self.run_of} & self.runs.keys()
        ended = [record for run_id in run_ids if (record := self.runs[run_id]).dagster_run.status in ENDED]
        return max(ended, key=lambda record: record.end_time or 0, default=None)


def run_records(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, dg.RunRecord]:
    """Return the runs with these ids; those that are gone are left out."""
    return {
        record.dagster_run.run_id: record
        for batch in batches(sorted(run_ids))
        for record in instance.get_run_records(dg.RunsFilter(run_ids=list(batch)))
    }


def batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the items in as many parts as statements are needed to name them."""
    return (items[start : start + MAX_KEYS] for start in range(0, len(items), MAX_KEYS))
