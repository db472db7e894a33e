"""What an instance lacks, and what runs bring along."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from rich.console import Console

from campaign_sync.cli.check_instance import check_instance
from campaign_sync.config import AutomationSettings, MandatorSettings
from campaign_sync.orchestration.instance_check import LackingSetting, ineffective_settings, lacking_settings, lanes
from campaign_sync.orchestration.run_tags import safety_tags
from campaign_sync_tests.orchestration.settings import mandator_settings

EMBEDDED = Path(__file__).parents[2] / "campaign_sync/cli/embedded_dagster.yaml"


def lacking(home: Path, settings: dict[str, Any]) -> list[LackingSetting]:
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return list(lacking_settings(instance))


def test_an_empty_instance_lacks_everything_that_code_cant_bring(tmp_path: Path) -> None:
    assert [setting.section for setting in lacking(tmp_path, {})] == [
        "concurrency.runs.tag_concurrency_limits",
        "run_monitoring",
        "run_retries",
        "retention",
    ]


def test_the_lines_to_add_are_all_that_is_lacking(tmp_path: Path) -> None:
    without_queue: dict[str, Any] = {
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
        "freshness": {"enabled": False},
    }
    settings: dict[str, Any] = {}
    missing = lacking(tmp_path, without_queue)
    for setting in missing:
        settings |= yaml.safe_load(setting.remedy)
    del settings["run_coordinator"]  # Dagster's default, which can't be named beside `concurrency`

    assert {setting.section for setting in missing} >= {"run_coordinator", "freshness"}
    assert lacking(tmp_path, settings) == []


def test_the_embedded_instance_lacks_nothing(tmp_path: Path) -> None:
    settings = yaml.safe_load(EMBEDDED.read_text())
    del settings["storage"]

    assert lacking(tmp_path, settings) == []
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert lanes(instance) == 4


def test_a_limit_that_lets_two_runs_of_a_mandator_run_together_doesnt_count(tmp_path: Path) -> None:
    limit = {"key": "campaign_sync/lane_1", "value": {"applyLimitPerUniqueValue": True}, "limit": 2}
    missing = lacking(tmp_path, {"concurrency": {"runs": {"tag_concurrency_limits": [limit]}}})

    assert "campaign_sync/lane_1" in missing[0].consequence


def test_the_command_prints_the_lines_to_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    console = Console(record=True, width=60)
    check_instance(console)
    text = console.export_text()

    assert "\n      - {key: campaign_sync/lane_1, value: {applyLimitPerUniqueValue: true}, limit: 1}\n" in text
    assert f"Add these lines to {tmp_path}/dagster.yaml" in text


def test_runs_bring_along_when_they_are_started_again_and_ended() -> None:
    assert safety_tags(AutomationSettings()) == {
        "dagster/max_retries": "1",
        "dagster/retry_on_asset_or_op_failure": "false",
        "dagster/max_runtime": "14400",
    }


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([{"key": "campaign_sync/mandator", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}], "1 can run"),
        ([{"key": "campaign_sync/mandator", "value": "nord", "limit": 2}], "2 can run"),
        ([{"key": "campaign_sync/mandator", "value": "sued", "limit": 1}], None),
        ([{"key": "campaign_sync/mandator", "limit": 3}], None),
    ],
)
def test_what_an_instance_makes_ineffective_is_named(
    tmp_path: Path, limits: list[dict[str, Any]], expected: str | None
) -> None:
    settings = of_three_groups(kubernetes={"limits": {"memory": "4Gi"}})
    reasons = ineffective(tmp_path, {"concurrency": {"runs": {"tag_concurrency_limits": limits}}}, settings)

    kubernetes = "it has no effect: runs of this instance aren't pods (run_launcher: DefaultRunLauncher)"
    assert reasons.pop("mandators.nord.kubernetes") == kubernetes
    assert list(reasons) == (["mandators.nord.parallel_runs"] if expected else [])
    assert (expected or "") in reasons.get("mandators.nord.parallel_runs", "")
    assert ineffective(tmp_path, {}, mandator_settings()) == {}


def test_the_limit_of_all_runs_and_the_lanes_that_are_missing_are_named(tmp_path: Path) -> None:
    settings = of_three_groups()
    queue = {"concurrency": {"runs": {"max_concurrent_runs": 2}}}

    assert "max_concurrent_runs" in ineffective(tmp_path, queue, settings)["mandators.nord.parallel_runs"]
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queued, *_ = lacking_settings(instance, [settings])
    assert "campaign_sync/lane_3" in queued.remedy


def of_three_groups(**more: object) -> MandatorSettings:
    newsletter = mandator_settings().lists["newsletter"].model_dump()
    lists = {name: {**newsletter, "recipient_list_id": number} for number, name in enumerate("abc", start=1)}
    return mandator_settings(lists=lists, parallel_runs=3, **more)


def ineffective(home: Path, settings: dict[str, Any], of_mandator: MandatorSettings) -> dict[str, str]:
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return {setting.place: setting.reason for setting in ineffective_settings(instance, {"nord": of_mandator})}
