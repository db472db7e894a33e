"""The deployment recipes: their files exist, their rules agree, and the webserver isn't exposed."""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from campaign_sync.config import load_configuration

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/kubernetes/values.yaml").read_text())
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/manifests.yaml").read_text()))
PRODUCTION: dict[str, Any] = yaml.safe_load((ROOT / "dagster.yaml").read_text())
OURS_TO_WRITE = {"./campaign_sync.yaml", ".env"}
"""Files that compose mounts and the user creates."""


@pytest.mark.parametrize(
    "file", ["dagster.yaml", "deploy/celery/dagster.yaml", "campaign_sync/cli/embedded_dagster.yaml"]
)
def test_dagster_understands_its_settings(file: str, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / file).read_text())

    settings, _ = dagster_instance_config(str(tmp_path))

    assert settings["concurrency"]["runs"]["max_concurrent_runs"] == 4


@pytest.mark.parametrize("file", ["deploy/celery/dagster.yaml", "campaign_sync/cli/embedded_dagster.yaml"])
def test_every_instance_keeps_the_rules_of_production(file: str) -> None:
    settings = yaml.safe_load((ROOT / file).read_text())

    for section in ("telemetry", "nux", "run_retries", "concurrency", "retention", "python_logs"):
        assert settings[section] == PRODUCTION[section], section
    assert settings["run_monitoring"]["max_runtime_seconds"] == PRODUCTION["run_monitoring"]["max_runtime_seconds"]


def test_kubernetes_keeps_the_rules_of_production() -> None:
    queue = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    runs = PRODUCTION["concurrency"]["runs"]
    more = VALUES["additionalInstanceConfig"]

    assert queue["tagConcurrencyLimits"] == runs["tag_concurrency_limits"]
    assert queue["maxConcurrentRuns"] == runs["max_concurrent_runs"]
    for section in ("run_monitoring", "run_retries", "nux"):
        assert more[section] == PRODUCTION[section], section
    assert not VALUES["telemetry"]["enabled"]
    for kept in ("schedule", "sensor"):
        assert VALUES["retention"][kept]["purgeAfterDays"] == PRODUCTION["retention"][kept]["purge_after_days"]
    assert VALUES["pythonLogs"]["pythonLogLevel"] == PRODUCTION["python_logs"]["python_log_level"]
    for threads in ("schedules", "sensors"):
        assert VALUES["dagsterDaemon"][threads]["useThreads"] == PRODUCTION[threads]["use_threads"]
        assert VALUES["dagsterDaemon"][threads]["numWorkers"] == PRODUCTION[threads]["num_workers"]
    assert VALUES["postgresql"]["postgresqlScheme"] == PRODUCTION["storage"]["postgres"]["postgres_db"]["scheme"]


def test_the_example_for_kubernetes_is_a_configuration(tmp_path: Path) -> None:
    [text] = [manifest["data"]["campaign_sync.yaml"] for manifest in MANIFESTS if manifest["kind"] == "ConfigMap"]
    secrets = {
        key: value or "sqlite://"
        for manifest in MANIFESTS
        if manifest["kind"] == "Secret"
        for key, value in manifest["stringData"].items()
    }
    file = tmp_path / "campaign_sync.yaml"
    file.write_text(text)

    assert load_configuration(file, secrets).mandators


def test_the_image_is_built_from_files_that_exist_and_are_sent() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for copy in copies for source in copy.split()]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert set(sources) == sent
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packaged["force-include"]) <= sent  # else the build stops


def test_compose_mounts_existing_files() -> None:
    named = {
        volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
    }
    files = {name for name in named if name.startswith(".")} - OURS_TO_WRITE

    assert files
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_every_variable_that_compose_demands_is_in_the_example() -> None:
    demanded = set(re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}", (ROOT / "compose.yaml").read_text()))
    example = set(re.findall(r"^(\w+)=", (ROOT / "deploy/compose/.env.example").read_text(), re.MULTILINE))

    assert demanded <= example


def test_the_webserver_is_reached_through_the_proxy_only() -> None:
    published = {name for name, service in COMPOSE["services"].items() if "ports" in service}
    [port] = COMPOSE["services"]["proxy"]["ports"]

    assert published == {"proxy"}
    assert "127.0.0.1:" in port
    assert "basic_auth" in (ROOT / "deploy/compose/Caddyfile").read_text()
    assert VALUES["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    unit = (ROOT / "deploy/systemd/campaign-sync-webserver.service").read_text()
    assert "--host 127.0.0.1" in unit


def test_every_webserver_is_the_guarded_one() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    unit = (ROOT / "deploy/systemd/campaign-sync-webserver.service").read_text()
    image = (ROOT / "Dockerfile").read_text()  # the Helm chart starts what is called dagster-webserver there

    module, _, function = scripts["campaign-sync-webserver"].partition(":")
    assert callable(getattr(import_module(module), function))
    assert re.findall(r"^ExecStart=\S+/([\w-]+)", unit, re.MULTILINE) == ["campaign-sync-webserver"]
    assert COMPOSE["services"]["webserver"]["command"].split()[0] == "campaign-sync-webserver"
    assert "ln -s /opt/campaign_sync/venv/bin/campaign-sync-webserver /opt/campaign_sync/bin/dagster-webserver" in image
    assert re.search(r"ENV PATH=/opt/campaign_sync/bin:", image)


def test_every_code_server_ends_when_its_definitions_are_gone() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    unit = (ROOT / "deploy/systemd/campaign-sync-code.service").read_text()

    module, _, function = scripts["campaign-sync-code-server"].partition(":")
    assert callable(getattr(import_module(module), function))
    assert re.findall(r"^ExecStart=\S+/([\w-]+)", unit, re.MULTILINE) == ["campaign-sync-code-server"]
    assert 'CMD ["campaign-sync-code-server", ' in (ROOT / "Dockerfile").read_text()
    assert COMPOSE["services"]["code"]["restart"] == "unless-stopped"
    assert "Restart=on-failure" in unit


def test_every_image_has_a_version() -> None:
    named = {service["image"] for service in COMPOSE["services"].values()}
    named |= {f"{image['repository']}:{image['tag']}" for image in _images(VALUES)}
    named |= set(
        re.findall(r"^\s*image: (\S+)$", (ROOT / "deploy/kubernetes/manifests.yaml").read_text(), re.MULTILINE)
    )

    assert [image for image in named if ":" not in image or image.endswith(":latest")] == []


def test_everything_that_runs_on_kubernetes_is_the_same_image() -> None:
    [job] = [manifest for manifest in MANIFESTS if manifest["kind"] == "Job"]
    migrated = job["spec"]["template"]["spec"]["containers"][0]["image"]

    assert {f"{image['repository']}:{image['tag']}" for image in _images(VALUES)} == {migrated}


@pytest.mark.parametrize("service", ["code", "webserver", "daemon", "postgres"])
def test_services_have_health_checks(service: str) -> None:
    assert COMPOSE["services"][service]["healthcheck"]["test"][0] == "CMD"


def test_the_chart_is_of_the_locked_version_of_dagster() -> None:
    locked = re.search(r'name = "dagster"\nversion = "([\d.]+)"', (ROOT / "uv.lock").read_text())

    assert locked
    for file in ("values.yaml", "README.md"):
        assert f"--version {locked[1]} " in (ROOT / "deploy/kubernetes" / file).read_text(), file


def _images(values: Any) -> list[dict[str, str]]:
    """Return all `image` entries at any depth."""
    if isinstance(values, list):
        return [image for value in values for image in _images(value)]
    if not isinstance(values, dict):
        return []
    return [image for key, value in values.items() for image in ([value] if key == "image" else _images(value))]
