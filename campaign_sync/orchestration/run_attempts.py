"""What Dagster knows of the newest run that was to replace each list of a mandator."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.readiness import Attempt
from campaign_sync.orchestration.asset_keys import asset_key, list_keys

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

_JUDGED_OTHERWISE = frozenset({"feedback_age"})
"""Checks of what a list's readiness goes by itself."""

_Checks = Mapping[dg.AssetCheckKey, bool | None]
"""The checks that were due: whether each holds, or only warns; None for one that came to no result."""


def newest_attempts(instance: DagsterInstance, mandator: str, lists: Sequence[str]) -> dict[str, Attempt]:
    """The newest run that was to replace each of these lists, by the list's key; none of a list that no run was about.

    A run that is queued or under way says nothing yet. The checks are those on the way to the list in that run, and
    those of the newest run that brought feedback into the CRM.
    """
    keys = {name: asset_key(mandator, AssetKind.RECIPIENT_LIST, name) for name in lists}
    feedback = asset_key(mandator, AssetKind.SUPPRESSION_STATE)
    records = {
        one.asset_entry.asset_key: one.asset_entry for one in instance.get_asset_records([*keys.values(), feedback])
    }
    run_ids = {key: entry.last_run_id for key, entry in records.items() if entry.last_run_id}
    found = instance.get_run_records(dg.RunsFilter(run_ids=sorted(set(run_ids.values())))) if run_ids else []
    runs = {one.dagster_run.run_id: one for one in found if one.dagster_run.status in _ENDED}
    checks = {run_id: _checks_of(instance, run_id) for run_id in runs}

    def made(key: dg.AssetKey) -> bool:
        newest = records[key].last_materialization_record if key in records else None
        return newest is not None and newest.run_id == run_ids.get(key)

    of_feedback = _under(checks.get(run_ids.get(feedback, ""), {}), [feedback]) if made(feedback) else {}
    attempts = {}
    for name, key in keys.items():
        run = runs.get(run_ids.get(key, ""))
        if run is None:
            continue
        due = {**of_feedback, **_under(checks[run.dagster_run.run_id], list_keys(mandator, name))}
        attempts[name] = Attempt(
            run_id=run.dagster_run.run_id,
            ended_at=datetime.fromtimestamp(run.end_time, UTC)
            if run.end_time
            else run.update_timestamp.astimezone(UTC),
            replaced=made(key),
            failed_checks=_named(due, outcome=False),
            missing_checks=_named(due, outcome=None),
        )
    return attempts


def _checks_of(instance: DagsterInstance, run_id: str) -> _Checks:
    due: dict[dg.AssetCheckKey, bool | None] = {}
    planned, evaluated = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION
    for entry in instance.all_logs(run_id, of_type={planned, evaluated}):
        event = entry.get_dagster_event()
        if event.event_type is planned:
            due.setdefault(event.asset_check_planned_data.asset_check_key, None)
        else:
            found = event.asset_check_evaluation_data
            due[found.asset_check_key] = found.passed or found.severity is not dg.AssetCheckSeverity.ERROR
    return {key: outcome for key, outcome in due.items() if key.name not in _JUDGED_OTHERWISE}


def _under(checks: _Checks, assets: Collection[dg.AssetKey]) -> _Checks:
    return {key: outcome for key, outcome in checks.items() if key.asset_key in assets}


def _named(checks: _Checks, outcome: bool | None) -> tuple[str, ...]:
    names = ("/".join([*key.asset_key.path[1:], key.name]) for key, found in checks.items() if found is outcome)
    return tuple(sorted(names))
