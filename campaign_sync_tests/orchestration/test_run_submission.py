"""Runs that are handed to the daemon: which code location takes them, and what their result is after a retry."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from rich.console import Console

from campaign_sync.cli.run import problems
from campaign_sync.cli.run_follower import RunFollower
from campaign_sync.domain.progress import Progress
from campaign_sync.orchestration.asset_keys import list_keys
from campaign_sync.orchestration.run_submission import SubmissionError, is_daemon_up, submit_daily_run
from campaign_sync.orchestration.served_configuration import configuration_mark
from campaign_sync.storage.state import State
from campaign_sync_tests import terminal
from campaign_sync_tests.installation import ENVIRONMENT, Installation, running_installation


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        yield running


@pytest.mark.parametrize(("age", "up"), [(None, False), (61, False), (30, True)])
def test_a_daemon_is_up_for_a_minute_after_a_heartbeat(
    instance: dg.DagsterInstance, age: float | None, up: bool
) -> None:
    if age:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, "SENSOR", None, None))

    assert is_daemon_up(instance) is up


def test_marks_differ_where_lists_or_state_databases_do(installation: Installation, tmp_path: Path) -> None:
    with installation.state() as state, State(f"sqlite:///{tmp_path / 'other.db'}") as other:
        mark = configuration_mark(installation.configuration, "nord", state)
        assert mark == configuration_mark(installation.configuration, "nord", state)
        assert mark != configuration_mark(installation.configuration, "nord", other)
        assert mark != configuration_mark(installation.configuration, "sued", state)
        installation.list_settings()["recipient_list_id"] = 4711
        assert mark != configuration_mark(installation.configuration, "nord", state)


def test_an_instance_without_a_queue_is_given_no_run(installation: Installation, instance: dg.DagsterInstance) -> None:
    with installation.state() as state, pytest.raises(SubmissionError, match="has no queue, so nothing was started"):
        submit_daily_run(instance, installation.configuration, state, "nord", [], str(uuid4()), {})


@pytest.mark.thorough
def test_beside_a_daemon_that_serves_other_definitions_the_command_starts_nothing_and_exits_with_2(
    installation: Installation,
) -> None:
    home = installation.folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert installation.configuration  # writes the file
    with dg.DagsterInstance.from_config(str(home)) as daemons:
        daemons.add_daemon_heartbeat(DaemonHeartbeat(time.time() + 3600, "SENSOR", None, None))

    done = terminal.run(("run", "nord"), installation.folder, ENVIRONMENT | {"DAGSTER_HOME": str(home)})

    assert done.returncode == 2, done.stdout + done.stderr
    assert "serves no code location of campaign_sync, so nothing was started" in done.stderr
    assert installation.vendor.calls() == []


def test_a_run_that_dagster_retries_is_followed_to_its_last_attempt(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    keys, first, second = list_keys("nord", "newsletter"), str(uuid4()), str(uuid4())
    fails = [True]

    @dg.asset(key=keys[0])
    def selection() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"picked": 5})

    @dg.asset(key=keys[1], deps=[selection])
    def snapshot() -> dg.MaterializeResult[None]:
        if fails.pop():
            raise dg.Failure("the machine is restarted")
        return dg.MaterializeResult(metadata={"rows": 4})

    job = dg.Definitions([selection, snapshot], jobs=[dg.define_asset_job("daily")]).resolve_job_def("daily")
    job.execute_in_process(instance=instance, run_id=first, raise_on_error=False)
    instance.add_run_tags(first, {"dagster/will_retry": "true", "dagster/auto_retry_run_id": second})
    fails.append(False)
    job.execute_in_process(instance=instance, run_id=second, asset_selection=keys[1:2])
    shown: list[Progress] = []
    printed = Console(file=io.StringIO(), width=200)

    with installation.state() as state:
        result = RunFollower(instance, state, "nord", keys, printed, shown.append).follow(first)

    assert (result.success, result.attempts) == (True, (first, second))
    assert problems(result) == []
    counts = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    assert [[value.value for value in metadata.values()] for metadata in counts] == [[5], [4]]
    steps = [(progress.step, progress.done) for progress in shown]
    assert steps == [("select", 0), ("selected", 5), ("check", 0), ("failed", 0), ("check", 0), ("checked", 4)]
    assert isinstance(printed.file, io.StringIO)
    assert f"run {first} died, and Dagster tries again with run {second}" in printed.file.getvalue()


def test_that_the_daemon_stopped_and_is_up_again_is_printed_and_a_terminated_run_is_known_as_such(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset(key=list_keys("nord", "newsletter")[0])
    def selection() -> None: ...

    job = dg.Definitions([selection], jobs=[dg.define_asset_job("daily")]).resolve_job_def("daily")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    polls = iter(range(30))

    def sleep(_: float) -> None:
        if (poll := next(polls)) == 15:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", None, None))
        elif poll == 25:
            instance.report_run_canceled(run)

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    monkeypatch.setattr("campaign_sync.cli.run_follower.time", clock)
    printed = Console(file=io.StringIO(), width=200)

    with installation.state() as state:
        follower = RunFollower(instance, state, "nord", [], printed, lambda _: None)
        assert follower.follow(run.run_id).terminated

    assert isinstance(printed.file, io.StringIO)
    stopped, again = printed.file.getvalue().splitlines()
    assert "no heartbeat for 60 seconds; start it again. Until then nothing continues this run if it dies" in stopped
    assert "is up again" in again
