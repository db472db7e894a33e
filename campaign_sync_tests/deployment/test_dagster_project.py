"""The product as a component of another team's Dagster project: the one in `examples/`, and settings in `defs.yaml`."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster.components.core.component_tree import ComponentTreeException
from dagster_dg_cli.cli import cli

from campaign_sync.config import ConfigurationError
from campaign_sync.crm.port import Crm
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.orchestration.resources import CrmResource, VendorResource
from campaign_sync_tests.installation import ENVIRONMENT, Installation, running_installation
from campaign_sync_tests.opened import opened

# Dagster itself passes the parameter when it hands on a check of an asset that isn't materialized here.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `execution_type` of function `AssetsDefinition")

PROJECT = Path(__file__).parents[2] / "examples" / "dagster_project"
EXPORT = """\
id,email,first_name,last_name,city,consented_at
k1,o'neil@example.org,Zoë,O'Neil 🌻,Köln,2026-02-01T10:00:00+01:00
"""


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The example's folder, with what its configuration names in the environment."""
    settings = {
        "OPTIMIZELY_URL": "https://vendor.example/soap11",
        "OPTIMIZELY_USERNAME": ENVIRONMENT["USERNAME_OF_BOTH"],
        "OPTIMIZELY_PASSWORD": ENVIRONMENT["PASSWORD_OF_BOTH"],
        "CRM_URL": f"sqlite:///{tmp_path / 'crm.db'}",
        "STATE_URL": f"sqlite:///{tmp_path / 'state.db'}",
        "FRAMES": str(tmp_path / "frames"),
        "SHOP_EXPORT": str(tmp_path / "customers.csv"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "customers.csv").write_text(EXPORT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(PROJECT))
    monkeypatch.chdir(PROJECT)
    return PROJECT


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A CRM and a vendor, before their first day."""
    with running_installation(tmp_path, two_lists=False) as built:
        yield built


OtherProject = Callable[[dict[str, Any]], dg.Definitions]
"""Loads a project with nothing but the component, with these attributes."""


@pytest.fixture
def other_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OtherProject:
    """Return what loads a new project."""
    monkeypatch.syspath_prepend(str(tmp_path))
    numbers = count()

    def load(attributes: dict[str, Any]) -> dg.Definitions:
        module = f"other{next(numbers)}_{tmp_path.name}"
        folder = tmp_path / module / "defs" / "lists"
        folder.mkdir(parents=True)
        project = {"root_module": module, "code_location_target_module": f"{module}.definitions"}
        (tmp_path / "pyproject.toml").write_text(
            "[tool.dg]\ndirectory_type = 'project'\n[tool.dg.project]\n"
            + "".join(f"{key} = '{value}'\n" for key, value in project.items())
        )
        component = {"type": "campaign_sync.component.CampaignSyncComponent", "attributes": attributes}
        (folder / "defs.yaml").write_text(yaml.safe_dump(component, allow_unicode=True))
        return dg.load_from_defs_folder(path_within_project=tmp_path / module)

    return load


def definitions_of(project: Path) -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=project / "marketing")


def dg_json(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.thorough
def test_dg_finds_the_component_and_checks_and_lists_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for left_by_dg in ("DAGSTER_IS_DEV_CLI", "DAGSTER_IS_DEFS_VALIDATION_CLI"):
        monkeypatch.setenv(left_by_dg, "")
    checked = CliRunner().invoke(cli, ["check", "defs"], catch_exceptions=False)
    yaml_checked = CliRunner().invoke(cli, ["check", "yaml"], catch_exceptions=False)
    listed = dg_json("list", "defs")

    assert (checked.exit_code, yaml_checked.exit_code) == (0, 0), checked.output + yaml_checked.output
    assert "campaign_sync.component.CampaignSyncComponent" in json.dumps(dg_json("list", "components"))
    assert {job["name"] for job in listed["jobs"]} >= {"crm_refresh", "nord_daily_replace"}
    assert {sensor["name"] for sensor in listed["sensors"]} >= {"lists_after_crm"}


def test_the_other_teams_asset_is_upstream_in_the_lineage(project: Path) -> None:
    graph = definitions_of(project).resolve_asset_graph()

    parents = graph.get(dg.AssetKey(["nord", "suppression_state"])).parent_keys
    assert dg.AssetKey(["crm", "customers"]) in parents
    assert dg.AssetKey(["nord", "unsubscribes"]) in parents


def test_the_other_teams_jobs_keep_their_own_executor_and_resources(project: Path) -> None:
    definitions = definitions_of(project)

    assert definitions.executor is None
    assert definitions.resolve_job_def("nord_daily_replace").executor_def is dg.in_process_executor
    assert definitions.resolve_job_def("crm_refresh").executor_def is not dg.in_process_executor
    assert all(key.startswith("campaign_sync_") for key in definitions.resources or {})


class PreparedCrm(CrmResource):
    """A CRM that a test has prepared, instead of the configured one."""

    prepared: dg.ResourceDependency[Crm]

    def open(self) -> Crm:
        return self.prepared


class PreparedVendor(VendorResource):
    """A simulated vendor, which a test is logged in to, instead of the configured one."""

    prepared: dg.ResourceDependency[Optimizely]

    def login(self, mandator: str) -> Optimizely:
        return self.prepared


def test_a_test_of_the_other_team_replaces_vendor_and_crm_for_all_assets(
    installation: Installation, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIMIZELY_URL", "http://127.0.0.1:1/soap11")
    monkeypatch.setenv("CRM_URL", "sqlite:////nowhere/crm.db")
    job = definitions_of(project).resolve_job_def("nord_daily_replace")
    with opened(installation.configuration) as prepared:
        result = job.execute_in_process(
            resources={
                "campaign_sync_crm": PreparedCrm(prepared=prepared.crm),
                "campaign_sync_vendor": PreparedVendor(prepared=prepared.vendor()),
            }
        )

    assert result.success
    assert "person1@example.org" in installation.addresses()


def test_a_customer_of_the_shop_is_in_the_list_after_the_crm_and_then_the_list_were_refreshed(
    installation: Installation, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIMIZELY_URL", installation.settings["optimizely"]["base_url"])
    monkeypatch.setenv("CRM_URL", installation.crm_url)
    definitions = definitions_of(project)
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_job_def("crm_refresh").execute_in_process(instance=instance)
        sensor = definitions.resolve_sensor_def("lists_after_crm")
        tick = sensor.evaluate_tick(dg.build_sensor_context(instance, definitions=definitions))
        assert tick.run_requests
        result = definitions.resolve_job_def("nord_daily_replace").execute_in_process(instance=instance)

    assert sensor.job_name == "nord_daily_replace"
    assert result.success
    assert "o'neil@example.org" in installation.addresses()


def test_settings_may_be_written_in_defs_yaml_and_mistakes_there_have_their_lines(
    project: Path, other_project: OtherProject
) -> None:
    settings = yaml.safe_load((project / "marketing/defs/lists/campaign_sync.yaml").read_text())
    assert other_project({"settings": settings}).resolve_job_def("nord_daily_replace")

    settings["storage"]["state"] = settings["storage"]["state_url"]
    with pytest.raises(ComponentTreeException) as error:
        other_project({"settings": settings})

    assert isinstance(error.value.__cause__, ConfigurationError)
    mistake = r"defs\.yaml:\d+:\d+ storage\.state: this key isn't known; did you mean state_url"
    assert re.search(mistake, str(error.value.__cause__))


@pytest.mark.parametrize("attributes", [{}, {"config": "campaign_sync.yaml", "settings": {"mandators": {}}}])
def test_a_component_names_its_configuration_once(attributes: dict[str, Any], other_project: OtherProject) -> None:
    with pytest.raises(ComponentTreeException) as error:
        other_project(attributes)

    assert "name either `config`" in str(error.value.__cause__)
