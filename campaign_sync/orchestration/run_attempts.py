"""The newest run that was to replace each list of a mandator, as Dagster knows it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.readiness import Attempt
from campaign_sync.orchestration.asset_history import ENDED, AssetHistory
from campaign_sync.orchestration.asset_keys import asset_key, list_keys
from campaign_sync.orchestration.check_names import CHECKS_OF_SENSORS

_Checks = Mapping[dg.AssetCheckKey, bool | None]
"""Whether each planned check passed or only warned; None for a check without a result."""


def attempt_keys(mandator: str, lists: Iterable[str], *, prefix: str = "") -> list[dg.AssetKey]:
    """Return the keys of the assets whose history `newest_attempts` needs."""
    names = (asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=prefix) for name in lists)
    return [*names, asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=prefix)]


def newest_attempts(
    instance: DagsterInstance,
    mandator: str,
    lists: Sequence[str],
    history: AssetHistory | None = None,
    *,
    prefix: str = "",
) -> dict[str, Attempt]:
    """Return the newest run that was to replace each of these lists, by the list's key.

    Lists without a run, or whose newest run hasn't ended, are left out. The checks are those on the way to the list in
    that run, and those of the newest run that brought feedback into the CRM.

    Args:
        instance: has the runs.
        mandator: whose lists these are.
        lists: their keys in the configuration.
        history: of at least the assets that `attempt_keys` names; None to read it.
        prefix: of the code location.
    """
    keys = {name: asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=prefix) for name in lists}
    feedback = asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=prefix)
    history = history or AssetHistory.read(instance, attempt_keys(mandator, lists, prefix=prefix))
    run_ids = {key: history.run_of[key] for key in (*keys.values(), feedback) if key in history.run_of}
    records = [history.runs[run_id] for run_id in set(run_ids.values()) if run_id in history.runs]
    runs = {record.dagster_run.run_id: record for record in records if record.dagster_run.status in ENDED}
    checks = {run_id: _planned_checks(instance, run_id) for run_id in runs}
    feedback_run = run_ids.get(feedback, "")
    feedback_checks = _of_assets(checks.get(feedback_run, {}), [feedback]) if feedback in history.materialized else {}
    attempts = {}
    for name, key in keys.items():
        run = runs.get(run_ids.get(key, ""))
        if run is None:
            continue
        planned = {
            **feedback_checks,
            **_of_assets(checks[run.dagster_run.run_id], list_keys(mandator, name, prefix=prefix)),
        }
        attempts[name] = Attempt(
            run_id=run.dagster_run.run_id,
            ended_at=datetime.fromtimestamp(run.end_time, UTC)
            if run.end_time
            else run.update_timestamp.astimezone(UTC),
            replaced=key in history.materialized,
            failed_checks=_names(planned, outcome=False),
            missing_checks=_names(planned, outcome=None),
        )
    return attempts


def _planned_checks(instance: DagsterInstance, run_id: str) -> _Checks:
    outcomes: dict[dg.AssetCheckKey, bool | None] = {}
    planned, evaluated = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION
    for entry in instance.all_logs(run_id, of_type={planned, evaluated}):
        event = entry.get_dagster_event()
        if event.event_type is planned:
            outcomes.setdefault(event.asset_check_planned_data.asset_check_key, None)
        else:
            evaluation = event.asset_check_evaluation_data
            is_error = not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR
            outcomes[evaluation.asset_check_key] = not is_error
    return {key: outcome for key, outcome in outcomes.items() if key.name not in CHECKS_OF_SENSORS}


def _of_assets(checks: _Checks, assets: Collection[dg.AssetKey]) -> _Checks:
    return {key: outcome for key, outcome in checks.items() if key.asset_key in assets}


def _names(checks: _Checks, outcome: bool | None) -> tuple[str, ...]:
    """Return the checks with this outcome as `asset/check`, without the mandator."""
    names = ("/".join([key.asset_key.path[-1], key.name]) for key, result in checks.items() if result is outcome)
    return tuple(sorted(names))
