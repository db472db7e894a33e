"""`campaign-sync apply` beside a daemon, on PostgreSQL: a plan survives that the processes that apply it are killed."""

import re
from typing import Any

import pytest

from campaign_sync.cli.plan_document import PlanDocument
from campaign_sync.orchestration.assets.recipient_list import APPLY_TAG
from campaign_sync.orchestration.repair_hindrances import REPAIR_SENSOR
from campaign_sync.orchestration.repair_sensor import REPAIR_TAG
from campaign_sync.replacement.applied_plan import find_plan
from campaign_sync_tests import terminal
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation
from campaign_sync_tests.scenarios.production.test_alarms_after_kills import delay_fills, kill_run
from campaign_sync_tests.scenarios.production.test_run_command import RUN_ID, Command

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("production")]


@pytest.mark.parametrize("kills", [1, 2])
def test_the_plan_is_applied_though_its_runs_are_killed_during_the_fill(
    production: ProductionInstallation, kills: int
) -> None:
    """The first time Dagster tries again, the second time the repair sensor does."""
    installation, stack = production.installation, production.stack
    stack.until(lambda: bool(stack.ticks(REPAIR_SENSOR)))
    planning = ("plan", "nord", "--list", "newsletter", "--json", "--save")
    planned = terminal.run(planning, installation.folder, stack.environment)
    plan_id = PlanDocument.model_validate_json(planned.stdout).lists[0].plan_id
    assert plan_id, planned.stderr
    delay_fills(production)
    applying = Command(production, "apply", plan_id)
    stack.until(lambda: applying.has_printed("was handed to Dagster's daemon"))
    (run_id,) = re.findall(f"run ({RUN_ID}) was handed", applying.printed)
    killed: set[str] = set()

    def filling() -> set[str]:
        return {run for run in of_plan(production, plan_id) if run not in killed and production.filling(run)}

    for _ in range(kills):
        stack.until(lambda: bool(filling()))
        killed |= filling()
        kill_run(production)
    installation.vendor.repair()

    exit_code = applying.process.wait()
    assert "died, and Dagster tries again" in applying.printed
    assert exit_code == (0 if kills == 1 else 1), applying.printed
    stack.until(lambda: any(run["status"] == "SUCCESS" for run in of_plan(production, plan_id).values()))
    runs = of_plan(production, plan_id)
    assert len(runs) == kills + 1
    assert runs[run_id]["status"] == "FAILURE"
    repairs = [run for run in runs.values() if REPAIR_TAG in tags(run)]
    assert len(repairs) == kills - 1
    assert installation.addresses(NEWSLETTER) == ADDRESSES
    with installation.state() as state:
        applied = find_plan(state, plan_id)
        proven = state.replacements.last_proven("nord", "newsletter")
        assert applied
        assert proven
        assert proven.snapshot_id == applied.snapshot.id
        assert proven.run_id in runs


def of_plan(production: ProductionInstallation, plan_id: str) -> dict[str, dict[str, Any]]:
    """The runs that apply a plan, by their ids."""
    runs = production.stack.runs().items()
    return {run_id: run for run_id, run in runs if tags(run).get(APPLY_TAG) == plan_id}


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in run["tags"]}
