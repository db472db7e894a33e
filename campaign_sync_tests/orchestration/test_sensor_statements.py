"""The number of statements of a tick depends neither on lists nor on mandators."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import AssetMaterializationPlannedData
from sqlalchemy import Engine, event

from campaign_sync.config import Configuration, StorageSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.assets.mandator import mandator_assets
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.daily_replacement import GROUPS, MANDATOR_TAG, PLANNED_FOR, daily_job_name
from campaign_sync.orchestration.mandator_jobs import MandatorJobs
from campaign_sync.orchestration.sensors import all_sensors
from campaign_sync_tests.orchestration.settings import configuration, mandator_settings

pytestmark = pytest.mark.thorough


@contextmanager
def counted(state: Path) -> Iterator[Counter[str]]:
    """Count the statements that are executed meanwhile, those on the state database and those of Dagster apart."""
    counts: Counter[str] = Counter()

    def note(connection: Any, *_: object) -> None:
        counts["state" if connection.engine.url.database == str(state) else "dagster"] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield counts
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def a_world(folder: Path, mandators: int, lists: int) -> Configuration:
    """Return a configuration in which every sensor serves every mandator."""
    (folder / "done").touch()
    settings = mandator_settings(
        schedule="0 4 * * *", deadline="0 7 * * *", crm_export={"marker": str(folder / "done")}
    )
    (template,) = settings.lists.values()
    names = [f"list_{number:02}" for number in range(lists)]
    world = configuration()
    storage = StorageSettings.model_validate({"state_url": f"sqlite:///{folder / 'state.db'}"})
    telemetry = world.telemetry.model_copy(update={"prometheus_file": str(folder / "campaign_sync.prom")})
    of_mandators = {
        f"m{number:02}": settings.model_copy(
            update={
                "mandator_id": 8000 + number,
                "parallel_runs": 2,
                "lists": {
                    name: template.model_copy(update={"recipient_list_id": 100 * number + place})
                    for place, name in enumerate(names, start=1)
                },
            }
        )
        for number in range(mandators)
    }
    return world.model_copy(update={"storage": storage, "telemetry": telemetry, "mandators": of_mandators})


def plan_day(instance: dg.DagsterInstance, mandator: str, lists: list[str]) -> None:
    """Add a run of a mandator's day that has ended and made nothing, and one after which groups follow."""
    of_day = {PLANNED_FOR: datetime.now(UTC).isoformat(timespec="minutes"), GROUPS: "2"}
    tags = {MANDATOR_TAG: mandator}
    job_name = daily_job_name(mandator)
    instance.add_run(dg.DagsterRun(job_name, tags=tags | of_day, status=dg.DagsterRunStatus.SUCCESS))
    run = dg.DagsterRun(daily_job_name(mandator), tags=tags, status=dg.DagsterRunStatus.SUCCESS)
    instance.add_run(run)
    for name in lists:
        key = asset_key(mandator, AssetKind.RECIPIENT_LIST, name)
        planned = AssetMaterializationPlannedData(key)
        event_of_asset = dg.DagsterEvent.build_asset_materialization_planned_event(run.job_name, name, planned)
        instance.report_dagster_event(event_of_asset, run.run_id)


def sensors_of(world: Configuration) -> list[dg.SensorDefinition]:
    jobs = {name: MandatorJobs.of(world, name) for name in world.mandators}
    return all_sensors(world, {name: mandator_assets(world, name, datetime.now(UTC)) for name in world.mandators}, jobs)


def statements(folder: Path, mandators: int, lists: int) -> dict[str, Counter[str]]:
    """Return the statements of a tick of each sensor while nothing happens; the tick before it isn't counted."""
    folder.mkdir()
    world, counts = a_world(folder, mandators, lists), {}
    with dg.instance_for_test() as instance:
        for mandator, settings in world.mandators.items():
            plan_day(instance, mandator, list(settings.lists))
        for sensor in sensors_of(world):
            cursor = None
            for _ in range(2):
                with (
                    counted(folder / "state.db") as counts[sensor.name],
                    dg.build_sensor_context(instance=instance, cursor=cursor) as context,
                ):
                    cursor = sensor.evaluate_tick(context).cursor
    return counts


def test_a_tick_has_as_many_statements_for_240_lists_as_for_two(tmp_path: Path) -> None:
    of_two, of_240 = statements(tmp_path / "few", 1, 2), statements(tmp_path / "many", 12, 20)

    assert len(of_two) == 8, "every sensor"
    assert of_240 == of_two
    assert sum(sum(count.values()) for count in of_240.values()) < 160


def test_all_sensors_together_tick_less_than_5000_times_a_day(tmp_path: Path) -> None:
    day = timedelta(days=1).total_seconds()
    sensors = build_definitions(a_world(tmp_path, 1, 1), datetime.now(UTC)).sensors or []
    paces = [sensor.minimum_interval_seconds for sensor in sensors if isinstance(sensor, dg.SensorDefinition)]
    assert len(paces) == 9
    assert sum(day / pace for pace in paces if pace) < 5000
