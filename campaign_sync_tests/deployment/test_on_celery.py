"""Runs on two Celery workers, of two mandators and of two groups: the real queue, a real Redis, deploy/celery."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from campaign_sync.orchestration.daily_replacement import GROUP, GROUPS, PLANNED_FOR
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.installation import (
    ENVIRONMENT,
    NEWSLETTER,
    PRODUCTS,
    SUED_NEWSLETTER,
    Installation,
    running_installation,
)
from campaign_sync_tests.stack import free_port
from campaign_sync_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
EVERYBODY = [f"person{number}@example.org" for number in range(1, 6)]
TASK_TAG = "dagster-celery/task_id"
GRAPHQL = "from dagster_graphql.cli import main; main()"
LAUNCH = """
mutation {
  nord: launchRun(executionParams: {runConfigData: {}, selector: {jobName: "nord_daily_replace",
    repositoryName: "__repository__", repositoryLocationName: "campaign_sync"}}) { __typename }
  sued: launchRun(executionParams: {runConfigData: {}, selector: {jobName: "sued_daily_replace",
    repositoryName: "__repository__", repositoryLocationName: "campaign_sync"}}) { __typename }
}
"""
WORKER = ["-m", "celery", "-A", "dagster_celery.app", "worker", "--loglevel", "INFO"]

needs_celery = pytest.mark.skipif(
    importlib.util.find_spec("dagster_celery") is None, reason="needs dagster-celery: uv sync --extra celery"
)
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server: apt-get install it")


@dataclass(frozen=True)
class Workers:
    """An installation whose runs two Celery workers execute."""

    folder: Path
    shop: Installation
    instance: dg.DagsterInstance
    servers: Sequence["subprocess.Popen[bytes]"]

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds` returns true, as long as daemon and workers run."""
        until(holds, lambda: all(process.poll() is None for process in self.servers))

    def workers(self, runs: Sequence[dg.DagsterRun]) -> set[int]:
        """Return the numbers of the workers that executed these runs."""
        return {_worker(self.folder, run) for run in runs}

    def overlap(self, runs: Sequence[dg.DagsterRun]) -> bool:
        """Return whether all these runs were under way at one moment."""
        times = [self.instance.get_run_stats(run.run_id) for run in runs]
        return max(run.start_time or 0 for run in times) < min(run.end_time or 0 for run in times)


@contextmanager
def _workers(tmp_path: Path, launch: str, **of_nord: object) -> Iterator[Workers]:
    """Yield an installation whose vendor lets two clears wait, with runs launched by a mutation."""
    with (
        fresh_database() as dagster_url,
        fresh_database() as state_url,
        fresh_database() as crm_url,
        running_installation(tmp_path, crm_url=crm_url, state_url=state_url) as shop,
        _redis(tmp_path) as broker,
        ExitStack() as stack,
    ):
        shop.settings["optimizely"]["timeout_seconds"] = PATIENCE
        shop.settings["mandators"]["nord"] |= of_nord
        assert shop.configuration
        shop.vendor.fault("clear", "delay", times=2, arg=PATIENCE)  # no run is over before the other one begins
        instance = stack.enter_context(_instance(tmp_path, dagster_url))
        environment = os.environ | ENVIRONMENT | {
            "DAGSTER_HOME": str(tmp_path),
            "CAMPAIGN_SYNC_CONFIG": str(tmp_path / "campaign_sync.yaml"),
            "CAMPAIGN_SYNC_CELERY_BROKER": f"{broker}/0",
            "CAMPAIGN_SYNC_CELERY_BACKEND": f"{broker}/1",
            "PYTHONPATH": str(ROOT / "deploy/celery"),
        }  # fmt: skip
        workspace = ["-w", str(ROOT / "workspace.yaml")]
        launched = stack.enter_context(_process(["-c", GRAPHQL, *workspace, "-t", launch], environment))
        servers = []
        for number in (1, 2):
            log = tmp_path / f"worker{number}.log"
            servers.append(stack.enter_context(_process([*WORKER, "-n", f"worker{number}@%h"], environment, log)))
        assert launched.wait() == 0
        daemon = _process(["-m", "dagster._daemon", "run", *workspace], environment, tmp_path / "daemon.log")
        servers.append(stack.enter_context(daemon))
        yield Workers(tmp_path, shop, instance, servers)


@needs_celery
@needs_redis
def test_two_mandators_are_replaced_at_the_same_time_on_two_workers(tmp_path: Path) -> None:
    with _workers(tmp_path, LAUNCH) as celery:
        begun = (*FINISHED_STATUSES, dg.DagsterRunStatus.STARTED)
        celery.until(lambda: all(run.status in begun for run in celery.instance.get_runs()))
        celery.shop.vendor.repair()
        celery.until(lambda: all(run.is_finished for run in celery.instance.get_runs()))

        runs = celery.instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        assert {run.tags["campaign_sync/mandator"] for run in runs} == {"nord", "sued"}
        assert celery.workers(runs) == {1, 2}
        assert celery.overlap(runs)
        assert celery.shop.addresses(NEWSLETTER) == celery.shop.addresses(SUED_NEWSLETTER) == EVERYBODY
        with celery.shop.state() as state:
            assert all(state.replacements.last_proven(mandator, "newsletter") for mandator in ("nord", "sued"))


@pytest.mark.long
@needs_celery
@needs_redis
def test_the_groups_of_one_mandator_follow_its_feedback_on_two_workers(tmp_path: Path) -> None:
    planned = f'{{key: "{PLANNED_FOR}", value: "{datetime.now(UTC):%Y-%m-%dT%H:%M+00:00}"}}'
    feedback = ", ".join(f'{{path: ["nord", "{name}"]}}' for name in ("bounces", "unsubscribes", "suppression_state"))
    launch = f"""mutation {{ launchRun(executionParams: {{
        selector: {{jobName: "nord_daily_replace", repositoryName: "__repository__",
        repositoryLocationName: "campaign_sync", assetSelection: [{feedback}]}}, runConfigData: {{}},
        executionMetadata: {{tags: [{planned}, {{key: "{GROUPS}", value: "2"}}]}}}}) {{ __typename }} }}"""
    with _workers(tmp_path, launch, parallel_runs=2) as celery:

        def groups() -> list[dg.DagsterRun]:
            return [run for run in celery.instance.get_runs() if GROUP in run.tags]

        celery.until(lambda: len([run for run in groups() if run.status is dg.DagsterRunStatus.STARTED]) == 2)
        celery.until(lambda: celery.shop.clears() == 2)  # both lists wait for the vendor
        celery.shop.vendor.repair()
        celery.until(lambda: all(run.is_finished for run in celery.instance.get_runs()))

        assert [run.status for run in celery.instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 3
        assert celery.workers(groups()) == {1, 2}
        assert celery.overlap(groups())
        assert celery.shop.addresses(NEWSLETTER) == celery.shop.addresses(PRODUCTS) == EVERYBODY


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    files = ["--save", "", "--dir", str(folder)]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), *files]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port), lambda: process.poll() is None)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def _instance(home: Path, url: str) -> Iterator[dg.DagsterInstance]:
    """Open an instance with deploy/celery/dagster.yaml on the tests' database, which listens on a socket only."""
    settings = yaml.safe_load((ROOT / "deploy/celery/dagster.yaml").read_text())
    settings["storage"]["postgres"] = {"postgres_url": url}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    del settings["run_launcher"]  # this process only reads; it has no broker
    reading = home / "reading"
    reading.mkdir()
    (reading / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(reading))) as instance:
        yield instance


@contextmanager
def _process(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Python with these arguments, its output in `log`; kill it and its children at the end."""
    with (
        (log or Path(os.devnull)).open("wb") as output,
        subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _worker(folder: Path, run: dg.DagsterRun) -> int:
    """Return the number of the worker that executed a run."""
    received = f"[{run.tags[TASK_TAG]}] received"
    [number] = [number for number in (1, 2) if received in (folder / f"worker{number}.log").read_text()]
    return number


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
