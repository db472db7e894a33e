"""Events that a test adds to a run in Dagster's log."""

from dagster import AssetKey, DagsterEvent, DagsterEventType, DagsterInstance
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned

LOST_CHECK = "proof"


def plan_check_without_result(instance: DagsterInstance, asset: AssetKey) -> None:
    """Let the newest run of an asset have planned the check `LOST_CHECK` again, without a result."""
    (record,) = instance.get_asset_records([asset])
    run = instance.get_run_by_id(record.asset_entry.last_run_id or "")
    assert run
    planned = DagsterEvent(
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value,
        run.job_name,
        event_specific_data=AssetCheckEvaluationPlanned(asset_key=asset, check_name=LOST_CHECK),
    )
    instance.report_dagster_event(planned, run.run_id)
