"""The newest run that was to replace each list of a mandator, as Dagster knows it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial

import dagster as dg
from dagster import DagsterInstance

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.readiness import Attempt, CheckFinding
from campaign_sync.orchestration.asset_history import ENDED, AssetHistory
from campaign_sync.orchestration.asset_keys import asset_key, list_keys
from campaign_sync.orchestration.run_logs import PlannedChecks, read_planned_checks

PlannedIn = Callable[[dg.RunRecord, Collection[dg.AssetKey]], PlannedChecks]
"""Returns the checks that a run planned, of at least these assets."""


def attempt_keys(mandator: str, lists: Iterable[str], *, prefix: str = "") -> list[dg.AssetKey]:
    """Return the keys of the assets whose history `newest_attempts` needs."""
    names = (asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=prefix) for name in lists)
    return [*names, asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=prefix)]


def newest_attempts(
    instance: DagsterInstance,
    mandator: str,
    lists: Sequence[str],
    history: AssetHistory | None = None,
    planned_checks: PlannedIn | None = None,
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
        planned_checks: returns the checks that a run planned, of at least the assets given; None to read its log.
        prefix: of the code location.
    """
    keys = {name: asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=prefix) for name in lists}
    feedback = asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=prefix)
    history = history or AssetHistory.read(instance, attempt_keys(mandator, lists, prefix=prefix))
    planned_checks = planned_checks or _from_logs(instance)

    def checks_of(assets: Sequence[dg.AssetKey], run: dg.RunRecord) -> PlannedChecks:
        return {key: outcome for key, outcome in planned_checks(run, assets).items() if key.asset_key in assets}

    feedback_run = _ended_run(history, feedback) if feedback in history.materialized else None
    feedback_checks = checks_of([feedback], feedback_run) if feedback_run else {}
    attempts = {}
    for name, key in keys.items():
        run = _ended_run(history, key)
        if run is None:
            continue
        planned = {**feedback_checks, **checks_of(list_keys(mandator, name, prefix=prefix), run)}
        attempts[name] = Attempt(
            run_id=run.dagster_run.run_id,
            ended_at=datetime.fromtimestamp(run.end_time, UTC)
            if run.end_time
            else run.update_timestamp.astimezone(UTC),
            replaced=key in history.materialized,
            failed_checks=_findings(planned, feedback, warning=False),
            missing_checks=tuple(sorted("/".join(_name(key)) for key, result in planned.items() if result is None)),
            warnings=_findings(planned, feedback, warning=True),
        )
    return attempts


def _from_logs(instance: DagsterInstance) -> PlannedIn:
    read = lru_cache(maxsize=None)(partial(read_planned_checks, instance))
    return lambda run, _: read(run.dagster_run.run_id)


def _ended_run(history: AssetHistory, key: dg.AssetKey) -> dg.RunRecord | None:
    """Return the newest run of an asset; None without any, and while it hasn't ended."""
    run = history.runs.get(history.run_of.get(key, ""))
    return run if run and run.dagster_run.status in ENDED else None


def _findings(checks: PlannedChecks, feedback: dg.AssetKey, *, warning: bool) -> tuple[CheckFinding, ...]:
    """Return what checks found that failed, or with `warning` that only warned, by their names."""
    return tuple(
        CheckFinding(*_name(key), result.finding, of_list=key.asset_key != feedback)
        for key, result in sorted(checks.items(), key=lambda item: _name(item[0]))
        if result is not None and not result.passed and result.warning is warning
    )


def _name(key: dg.AssetCheckKey) -> tuple[str, str]:
    """Return the names of asset and check, without the mandator."""
    return key.asset_key.path[-1], key.name
