"""The definitions that Dagster loads."""

import gc
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.cli.in_process_run import mandator_job
from campaign_sync.config import ResponseReaderSettings, ResponseSettings, load_configuration
from campaign_sync.definitions import defs
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG
from campaign_sync.orchestration.responses_schedule import RESPONSES_TAG, responses_schedule
from campaign_sync.sandbox import vendor_state

NOW = datetime(2026, 3, 2, tzinfo=UTC)
STARTED = dg.DagsterRunStatus.STARTED
DEMO = Path(vendor_state.__file__).with_name("demo.yaml")
ENVIRONMENT = {
    "DEMO_OPTIMIZELY_URL": "https://vendor.example/soap11",
    "DEMO_CRM_URL": "sqlite:///crm.db",
    "DEMO_STATE_URL": "sqlite:///state.db",
    "DEMO_FRAMES": "frames",
    "DEMO_USERNAME": "user",
    "DEMO_PASSWORD": "swordfish",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_configuration(DEMO, ENVIRONMENT), NOW)


def test_every_mandator_has_its_group_its_job_and_its_schedule(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)

    assert {spec.group_name for spec in definitions.resolve_all_asset_specs()} == {"nord", "sued"}
    assert {job.name for job in definitions.resolve_all_job_defs()} >= {"nord_daily_replace", "sued_daily_replace"}
    assert definitions.resolve_schedule_def("nord_daily").execution_timezone == "Europe/Berlin"


@pytest.mark.parametrize("mandator", ["nord", "sued"])
def test_a_run_in_the_process_of_the_command_has_the_job_of_the_code_location(
    definitions: dg.Definitions, mandator: str
) -> None:
    job = mandator_job(load_configuration(DEMO, ENVIRONMENT), mandator, NOW)
    served = definitions.resolve_job_def(f"{mandator}_daily_replace")
    graph, all_assets = job.asset_layer.asset_graph, definitions.resolve_asset_graph()

    assert job.get_job_snapshot() == served.get_job_snapshot()
    assert set(job.asset_layer.executable_asset_keys) == set(served.asset_layer.executable_asset_keys)
    for key in job.asset_layer.executable_asset_keys:
        assert graph.get(key).to_asset_spec() == all_assets.get(key).to_asset_spec()
    assert set(job.resource_defs) == set(served.resource_defs)


def test_feedback_flows_in_before_anything_flows_out(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def upstream(*key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(list(key))).parent_keys}

    assert upstream("nord", "suppression_state") == {"nord/bounces", "nord/unsubscribes"}
    assert upstream("nord", "newsletter_selection") == {"nord/suppression_state"}
    assert upstream("nord", "newsletter_snapshot") == {"nord/newsletter_selection"}
    assert upstream("nord", "newsletter_recipient_list") == {"nord/newsletter_snapshot", "nord/suppression_state"}


def test_the_checks_that_can_stop_a_list_stop_what_comes_after_the_snapshot(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = graph.get_check_keys_for_assets({dg.AssetKey(["nord", "newsletter_snapshot"])})

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


def test_without_responses_in_the_configuration_there_is_nothing_of_them(definitions: dg.Definitions) -> None:
    assert not [spec.key for spec in definitions.resolve_all_asset_specs() if "responses" in spec.key.path]
    assert not [job.name for job in definitions.resolve_all_job_defs() if "responses" in job.name]


def test_responses_have_a_job_and_a_schedule_of_their_own_that_hold_up_no_replace() -> None:
    configuration = load_configuration(DEMO, ENVIRONMENT)
    readers = {"getOpens": ResponseReaderSettings(), "getClicks": ResponseReaderSettings()}
    responses = ResponseSettings.model_validate({"readers": readers, "schedule": "*/30 * * * *"})
    nord = configuration.mandators["nord"].model_copy(update={"responses": responses})
    mandators = {**configuration.mandators, "nord": nord}
    definitions = build_definitions(configuration.model_copy(update={"mandators": mandators}), NOW)
    dg.Definitions.validate_loadable(definitions)

    def selected(job: str) -> set[str]:
        return {key.to_user_string() for key in definitions.resolve_job_def(job).asset_layer.selected_asset_keys}

    theirs = {"nord/opens", "nord/clicks"}
    assert selected("nord_responses") == theirs
    assert not theirs & (selected("nord_daily_replace") | selected("nord_feedback"))
    assert MANDATOR_TAG not in definitions.resolve_job_def("nord_responses").tags
    schedule = definitions.resolve_schedule_def("nord_responses_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("*/30 * * * *", "Europe/Berlin")
    assert {spec.group_name for spec in definitions.resolve_all_asset_specs()} == {"nord", "sued"}


def test_a_tick_during_a_run_of_responses_is_skipped() -> None:
    settings = load_configuration(DEMO, ENVIRONMENT).mandators["nord"]
    responses = ResponseSettings.model_validate({"readers": {"getOpens": {}}, "schedule": "*/30 * * * *"})
    schedule = responses_schedule("nord", settings.model_copy(update={"responses": responses}))
    assert schedule
    with dg.instance_for_test() as instance, dg.build_schedule_context(instance=instance) as context:
        assert isinstance(schedule(context), dg.RunRequest)
        for mandator, expected in (("sued", dg.RunRequest), ("nord", dg.SkipReason)):
            run = dg.DagsterRun(f"{mandator}_responses", tags={RESPONSES_TAG: mandator}, status=STARTED)
            instance.add_run(run)
            assert isinstance(schedule(context), expected)


def test_what_only_runs_need_is_not_imported_to_load_the_definitions() -> None:
    program = "import sys, campaign_sync.definitions; campaign_sync.definitions.defs(); print(*sys.modules)"
    environment = {**os.environ, **ENVIRONMENT, "CAMPAIGN_SYNC_CONFIG": str(DEMO)}
    command = [sys.executable, "-c", program]
    imported = subprocess.run(command, capture_output=True, check=True, text=True, env=environment).stdout

    assert not {"httpx", "jinja2", "pandera", "pyarrow.parquet", "requests", "zeep"} & set(imported.split())


def test_definitions_that_were_loaded_are_not_searched_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CAMPAIGN_SYNC_CONFIG", str(DEMO))
    frozen = gc.get_freeze_count()

    assert defs().resolve_all_job_defs()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    gc.unfreeze()
