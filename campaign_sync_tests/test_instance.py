"""The Dagster instance that commands use, and what they say of it."""

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from campaign_sync.cli.boundary import CommandError
from campaign_sync.cli.instance import refuse_second_daemon, use_instance
from campaign_sync.cli.running import Advice


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


def test_nobody_is_told_to_start_a_ui_beside_the_one_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert Advice.here("campaign-sync run nord").look == "`campaign-sync dev`"
    monkeypatch.setenv("DAGSTER_HOME", "/opt/campaign_sync/dagster")
    advice = Advice.here("campaign-sync run nord")
    assert "campaign-sync dev" not in advice.look + advice.if_dead


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
