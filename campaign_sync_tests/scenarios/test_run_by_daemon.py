"""`campaign-sync run` beside other daemons than the production stack's: with a code server, and `campaign-sync dev`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
from campaign_sync.orchestration.dagster_workspace import served_sensors
from campaign_sync.orchestration.repair_hindrances import REPAIR_SENSOR
from campaign_sync_tests import terminal
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, Installation
from campaign_sync_tests.stack import free_port
from campaign_sync_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.long

BIN = Path(sys.executable).parent


@pytest.fixture
def environment(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of services and command: the embedded instance."""
    monkeypatch.chdir(installation.folder)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert installation.configuration  # writes the file
    use_instance(EMBEDDED_HOME)
    home = os.environ.pop("DAGSTER_HOME")
    monkeypatch.setenv("DAGSTER_HOME", home)
    configuration = {"CAMPAIGN_SYNC_CONFIG": str(installation.folder / "campaign_sync.yaml")}
    return {**os.environ, **installation.environment, **configuration}


@contextmanager
def service(environment: dict[str, str], *command: str | Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (
        Path("services.log").open("ab") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def until_served(process: "subprocess.Popen[bytes]") -> None:
    with dg.DagsterInstance.get() as instance:
        until(lambda: bool(served_sensors(instance, REPAIR_SENSOR)), lambda: process.poll() is None)


def test_a_run_is_planned_by_a_code_server_and_one_that_does_not_answer_is_one_sentence(
    installation: Installation, environment: dict[str, str]
) -> None:
    port = str(free_port())
    Path("workspace.yaml").write_text(f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {port}}}}}]\n")
    start = (BIN / "dagster", "code-server", "start", "--port", port, "--module-name", "campaign_sync.definitions")
    health: list[str | Path] = [BIN / "dagster", "api", "grpc-health-check", "--port", port]
    with service(environment, *start) as code_server:
        until(lambda: subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0)
        with service(environment, BIN / "dagster-daemon", "run", "-w", "workspace.yaml") as daemon:
            until_served(daemon)
            done = terminal.run(("run", "nord"), installation.folder, environment)
            code_server.terminate()
            code_server.wait(PATIENCE)
            refused = terminal.run(("run", "nord"), installation.folder, environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "was handed to Dagster's daemon" in done.stdout
    assert installation.addresses(NEWSLETTER) == ADDRESSES
    assert refused.returncode == 2
    assert refused.stderr.startswith("the code location ")
    assert len(refused.stderr.splitlines()) == 1


def test_beside_campaign_sync_dev_its_daemon_executes_the_run(
    installation: Installation, environment: dict[str, str]
) -> None:
    dev = (sys.executable, "-m", "campaign_sync", "dev", "--port", str(free_port()))
    with service({key: value for key, value in environment.items() if key != "DAGSTER_HOME"}, *dev) as process:
        until_served(process)
        done = terminal.run(("run", "nord"), installation.folder, environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "was handed to Dagster's daemon" in done.stdout
    assert installation.addresses(NEWSLETTER) == ADDRESSES
