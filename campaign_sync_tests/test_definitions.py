"""What Dagster is told."""

from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.configuration import load_configuration
from campaign_sync.definitions import build_definitions
from campaign_sync.sandbox import world

DEMO = Path(world.__file__).with_name("demo.yaml")
ENVIRONMENT = {
    "DEMO_OPTIMIZELY_URL": "https://vendor.example/soap11",
    "DEMO_CRM_URL": "sqlite:///crm.db",
    "DEMO_STATE_URL": "sqlite:///state.db",
    "DEMO_FRAMES": "frames",
    "DEMO_USERNAME": "somebody",
    "DEMO_PASSWORD": "swordfish",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_configuration(DEMO, ENVIRONMENT))


def test_every_mandator_has_its_group_its_job_and_its_schedule(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)

    assert {spec.group_name for spec in definitions.resolve_all_asset_specs()} == {"nord", "sued"}
    assert {job.name for job in definitions.resolve_all_job_defs()} >= {"nord_daily_replace", "sued_daily_replace"}
    assert definitions.resolve_schedule_def("nord_daily").execution_timezone == "Europe/Berlin"


def test_feedback_flows_in_before_anything_flows_out(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def upstream(*key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(list(key))).parent_keys}

    assert upstream("nord", "suppression_state") == {"nord/bounces", "nord/unsubscribes"}
    assert upstream("nord", "selection", "newsletter") == {"nord/suppression_state"}
    assert upstream("nord", "snapshot", "newsletter") == {"nord/selection/newsletter"}
    assert upstream("nord", "recipient_list", "newsletter") == {"nord/snapshot/newsletter"}


def test_the_checks_that_can_stop_a_list_stop_what_comes_after_the_snapshot(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = graph.get_check_keys_for_assets({dg.AssetKey(["nord", "snapshot", "newsletter"])})

    assert {key.name for key in checks} == {
        "utf8",
        "technical_fields",
        "single_consent",
        "not_suppressed",
        "unique_recipients",
        "list_attributes",
        "plausible_size",
    }
    assert all(graph.get_check_spec(key).blocking for key in checks)


def test_no_secret_can_be_read_off_the_definitions(definitions: dg.Definitions) -> None:
    assert "swordfish" not in repr(definitions)
    assert "swordfish" not in repr(load_configuration(DEMO, ENVIRONMENT))
