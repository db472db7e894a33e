"""Dagster's own daemons over this product's definitions, in this process, where they have the time of the test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

LIST = dg.AssetKey(["nord", "newsletter_recipient_list"])
NOWHERE = {"run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}}
"""Runs are created and go no further."""


class Daemon:
    """Scheduler, sensors and freshness of one instance, each moved on by hand."""

    def __init__(self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self.instance, self._workspace = instance, workspace

    def schedules(self) -> None:
        """Run the scheduler once."""
        log = logging.getLogger("scheduler")
        for error in launch_scheduled_runs(self._workspace, log, datetime.now(UTC), iteration_times={}):
            assert error is None, error

    def sensors(self) -> None:
        """Run the sensors once."""
        for _ in execute_sensor_iteration(self._workspace, logging.getLogger("sensors"), None, None):
            pass

    def sensor(self, name: str) -> RemoteSensor:
        """Return a sensor, as the daemon knows it."""
        (location,) = self._workspace.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        return repository.get_sensor(name)

    def ticks(self, name: str) -> list[InstigatorTick]:
        """Return the ticks of a schedule or sensor, the newest first."""
        (location,) = self._workspace.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        schedules = {schedule.name: schedule for schedule in repository.get_schedules()}
        sensors = {sensor.name: sensor for sensor in repository.get_sensors()}
        instigator = schedules.get(name) or sensors[name]
        return list(self.instance.get_ticks(instigator.get_remote_origin_id(), instigator.selector_id))

    def runs(self, job: str = "nord_daily_replace") -> list[dg.DagsterRun]:
        """Return the runs of a job, the newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(job_name=job)))

    def freshness(self, key: dg.AssetKey = LIST) -> FreshnessState:
        """Run the freshness daemon once, and return the state that Dagster's UI shows of an asset."""
        for _ in FreshnessDaemon().run_iteration(self._workspace):
            pass
        return self.instance.get_freshness_state_records([key])[key].freshness_state


@contextmanager
def daemon(
    folder: Path, monkeypatch: pytest.MonkeyPatch, instance_settings: dict[str, Any] = NOWHERE, **mandator: object
) -> Iterator[Daemon]:
    """Yield daemons over a configuration of the mandator nord with these settings and a list."""
    recipient_list = {
        "recipient_list_id": 11,
        "kind": "regular",
        "opt_in_id": "newsletter-nord",
        "select": {"report": "Everybody"},
    }
    credentials = {"username": {"env": "NORD_USER"}, "password": {"env": "NORD_USER"}}
    switches = {"repair": False, "feedback_watch": False}
    nord = {
        "mandator_id": 8100,
        **credentials,
        "automation": switches,
        "lists": {"newsletter": recipient_list},
    } | mandator
    settings = {
        "optimizely": {"base_url": "https://vendor.example/soap11"},
        "crm": {"url": f"sqlite:///{folder / 'crm.db'}"},
        "storage": {"frames": str(folder / "frames"), "state_url": f"sqlite:///{folder / 'state.db'}"},
        "mandators": {"nord": nord},
    }
    path = folder / "campaign_sync.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    monkeypatch.setenv("CAMPAIGN_SYNC_CONFIG", str(path))
    monkeypatch.setenv("NORD_USER", "user")
    target = InProcessWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="campaign_sync.definitions"))
    )
    with (
        dg.instance_for_test(overrides=instance_settings) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        yield Daemon(instance, workspace)
