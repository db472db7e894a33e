"""Removal of what Dagster has recorded: events, results of checks, ticks, and what was printed.

Dagster can delete a run with all its events, and ticks; it leaves results of checks, captured output and, on SQLite,
the file of the run. Single events can only be removed in its tables, which are the same on SQLite and PostgreSQL.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from sqlalchemy import Delete, delete, func, or_, select

from campaign_sync.orchestration.dagster_internals import (
    AssetCheckExecutionsTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from campaign_sync.sqlite import remove_database, shrink_database

_EVENTS, _CHECKS = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c

KEPT_EVENTS = ("ASSET_MATERIALIZATION", "PIPELINE_START", "PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED")
"""Events that a run keeps: the numbers that pages of assets plot, and how it went."""

_WITHOUT_RUN = ""
"""The run of events that no run has caused."""

_TICKS_AT_ONCE = 1000


def remove_events(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Remove the events of these runs except for `KEPT_EVENTS`, and the results of their checks."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return  # of a vendor, who has limits of his own
    kind = _EVENTS.dagster_event_type
    events = delete(SqlEventLogStorageTable).where(or_(kind.is_(None), kind.not_in(KEPT_EVENTS)))
    with storage.index_connection() as connection:
        connection.execute(events.where(_EVENTS.run_id.in_(run_ids)))
        connection.execute(delete(AssetCheckExecutionsTable).where(_CHECKS.run_id.in_(run_ids)))
    if isinstance(storage, SqliteEventLogStorage):
        for run_id in run_ids:
            _shrink_file(storage, run_id, events)


def _shrink_file(storage: SqliteEventLogStorage, run_id: str, events: Delete) -> None:
    """Remove events from the file of a run. The file stays: processes that have read it expect its tables."""
    path = Path(storage.path_for_shard(run_id))
    if path.exists():
        with storage.run_connection(run_id) as connection:
            connection.execute(events)
        shrink_database(path)


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with all its events, and their file on SQLite."""
    instance.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        remove_database(Path(storage.path_for_shard(run_id)))


def remove_output(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove what a run has printed. Errors are those of the instance's compute log manager."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def remove_events_without_run(instance: dg.DagsterInstance, assets: Collection[dg.AssetKey], before: datetime) -> None:
    """Remove events of assets that no run has caused, except for the newest of a kind and the newest of a check."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    keys, moment = [key.to_string() for key in assets], before.astimezone(UTC).replace(tzinfo=None)
    old = (_EVENTS.run_id == _WITHOUT_RUN, _EVENTS.asset_key.in_(keys), _EVENTS.timestamp < moment)
    newest = select(func.max(_EVENTS.id)).where(*old[:2]).group_by(_EVENTS.asset_key, _EVENTS.dagster_event_type)
    newest_checks = (
        select(func.max(_CHECKS.id)).where(_CHECKS.asset_key.in_(keys)).group_by(_CHECKS.asset_key, _CHECKS.check_name)
    )
    with storage.index_connection() as connection:
        kind = _EVENTS.dagster_event_type
        connection.execute(
            delete(SqlEventLogStorageTable).where(*old, kind.not_in(KEPT_EVENTS), _EVENTS.id.not_in(newest))
        )
        connection.execute(
            delete(AssetCheckExecutionsTable).where(
                _CHECKS.run_id == _WITHOUT_RUN,
                _CHECKS.asset_key.in_(keys),
                _CHECKS.evaluation_event_timestamp < moment,
                _CHECKS.id.not_in(newest_checks),
            )
        )
    if isinstance(storage, SqliteEventLogStorage):  # has copies in a file of their own
        with storage.run_connection(_WITHOUT_RUN) as connection:
            connection.execute(delete(SqlEventLogStorageTable).where(*old))


def remove_ticks(instance: dg.DagsterInstance, names: Collection[str], location: str, before: datetime) -> int:
    """Remove the ticks of these schedules and sensors of a code location, and what they printed; the newest are kept.

    Returns:
        How many ticks were removed.
    """
    removed = 0
    for state in instance.all_instigator_state():
        if state.name not in names or state.origin.repository_origin.get_label() != location:
            continue
        origin_id, selector_id = state.instigator_origin_id, state.selector_id
        newest = instance.get_ticks(origin_id, selector_id, limit=1)
        if not newest:
            continue
        until = min(before.timestamp(), newest[0].timestamp)
        for log_key in _log_keys(instance, origin_id, selector_id, until):
            removed += 1
            if log_key:
                instance.compute_log_manager.delete_logs(log_key=log_key)
        instance.purge_ticks(origin_id, selector_id, until)
    return removed


def _log_keys(
    instance: dg.DagsterInstance, origin_id: str, selector_id: str, until: float
) -> Iterator[Sequence[str] | None]:
    """Yield where what it printed is, for each tick before a moment; None for a tick that printed nothing."""
    while page := instance.get_ticks(origin_id, selector_id, before=until, limit=_TICKS_AT_ONCE):
        yield from (tick.log_key for tick in page)
        until = page[-1].timestamp
