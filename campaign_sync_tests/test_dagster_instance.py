"""The Dagster instance that commands use, and what they say of it."""

import os
import time
from importlib.resources import files
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from campaign_sync.cli.dagster_instance import refuse_second_daemon, use_instance
from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.next_steps import NextSteps
from campaign_sync_tests.simultaneous import at_once

pytestmark = pytest.mark.thorough

USE = "from pathlib import Path\nfrom campaign_sync.cli.dagster_instance import use_instance"
LOOK = "use_instance(Path(sys.argv[1]))"
LOOK_AT_A_RUN = """
use_instance(Path(sys.argv[1]))
import dagster
with dagster.DagsterInstance.get() as instance:
    instance.report_engine_event("begun", job_name="daily", run_id="11111111-2222-3333-4444-555555555555")
"""


def test_no_second_daemon_is_started_on_an_instance_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    refuse_second_daemon(str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 600, "SENSOR", None, None))
    refuse_second_daemon(str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SCHEDULER", None, None))

    with pytest.raises(
        CommandError, match=r"a daemon is running on Dagster's instance .* open the UI of its webserver"
    ):
        refuse_second_daemon(str(tmp_path))


def test_in_production_no_message_suggests_to_start_another_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert NextSteps.for_instance("campaign-sync run nord").ui == "`campaign-sync dev`"
    monkeypatch.setenv("DAGSTER_HOME", "/opt/campaign_sync/dagster")
    next_steps = NextSteps.for_instance("campaign-sync run nord")
    assert "campaign-sync dev" not in next_steps.ui + next_steps.if_dead


@pytest.mark.parametrize("given", ["{env: URL_OF_DAGSTER}", "$URL"])
@pytest.mark.parametrize("password", ["ge@heim", "ge/heim", "ge#heim", "ge?heim"])
def test_no_piece_of_the_password_of_dagsters_database_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    password: str,
    given: str,
) -> None:
    url = f"postgresql+psycopg2://dagster:{password}@127.0.0.1:1/dagster"
    settings = f"storage: {{postgres: {{postgres_url: {given.replace('$URL', repr(url))}}}}}\n"
    (tmp_path / "dagster.yaml").write_text(settings)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("URL_OF_DAGSTER", url)

    with pytest.raises(CommandError, match=r"postgres_url in .*dagster.yaml .* percent-encode") as caught:
        use_instance(tmp_path)

    printed = capfd.readouterr()
    assert "heim" not in "".join([str(caught.value), caplog.text, printed.out, printed.err])


def test_no_value_of_dagsters_settings_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_db: {username: u, hostname: h, db_name: d, password: 4711471147}}}\n"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with pytest.raises(CommandError, match="can't be used") as caught:
        use_instance(tmp_path)

    assert "password" in str(caught.value)
    assert "4711471147" not in str(caught.value)


def test_an_embedded_instance_of_an_earlier_version_is_used_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that pytest restores it, whatever it becomes
    former = (files("campaign_sync.cli") / "embedded_dagster.yaml").read_text()
    former = former.replace("campaign_sync.orchestration.embedded_storage", "campaign_sync.automation.event_store")
    (tmp_path / "dagster.yaml").write_text(former)

    use_instance(tmp_path)

    assert "campaign_sync.automation" not in (tmp_path / "dagster.yaml").read_text()
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "OpenEventLogStorage"


@pytest.mark.long
@pytest.mark.parametrize("settings", [None, "telemetry: {enabled: false}\n"])
def test_an_instance_that_several_commands_make_at_once_can_be_used_by_all_of_them_and_afterwards(
    tmp_path: Path, settings: str | None
) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    if settings:  # an existing instance with Dagster's own storage
        (tmp_path / "dagster.yaml").write_text(settings)
        environment["DAGSTER_HOME"] = str(tmp_path)

    assert at_once(3, USE, LOOK, str(tmp_path), environment=environment) == []
    assert at_once(3, USE, LOOK_AT_A_RUN, str(tmp_path), environment=environment) == []
