"""When the CRM's finished export starts the daily run, and when it doesn't."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import time_machine
from sqlalchemy import create_engine

from campaign_sync.config import Configuration, StorageSettings
from campaign_sync.config.references import ExternalSecret, Reference
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.orchestration.crm_export_sensor import crm_export_sensor
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG, PLANNED_FOR, daily_job, daily_schedule
from campaign_sync.orchestration.mandator_ticks import MandatorTickError
from campaign_sync_tests.orchestration.settings import configuration, mandator_settings

BERLIN = ZoneInfo("Europe/Berlin")
MIDNIGHT = datetime(2026, 11, 24, tzinfo=BERLIN)
THE_DAY = "2026-11-24T04:30+01:00"
HALF_PAST_FOUR: dict[str, Any] = {"schedule": "30 4 * * *"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as built:
        yield built


@pytest.fixture(scope="module")
def files() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as built:
        yield built


@pytest.fixture
def stored(files: dg.DagsterInstance) -> dg.DagsterInstance:
    """Return an instance in files, as schedules need it."""
    files.wipe()
    return files


def after_midnight(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


def arrive(file: Path, hours: float) -> None:
    file.touch()
    os.utime(file, (after_midnight(hours).timestamp(),) * 2)


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, day: str = THE_DAY, **tags: str) -> None:
    run_tags = {MANDATOR_TAG: "nord", PLANNED_FOR: day, **{key.replace("__", "/"): tag for key, tag in tags.items()}}
    instance.add_run(dg.DagsterRun("nord_daily_replace", tags=run_tags, status=status))


def export_sensor(settings: Configuration) -> dg.SensorDefinition:
    sensor = crm_export_sensor(settings, {"nord": daily_job("nord", settings.mandators["nord"])})
    assert sensor
    return sensor


class ExportSensor:
    """The sensor with its cursor, evaluated at times after midnight."""

    def __init__(self, instance: dg.DagsterInstance, file: Path, **settings: object) -> None:
        self._instance = instance
        self._settings: dict[str, Any] = HALF_PAST_FOUR | {"crm_export": {"marker": str(file)}} | settings
        self.cursor: str | None = None

    def tick(self, hours: float) -> str:
        """Return the day that is started, or why none is."""
        sensor = export_sensor(configuration(**self._settings))
        with time_machine.travel(after_midnight(hours), tick=False):
            result = sensor(dg.build_sensor_context(instance=self._instance, cursor=self.cursor))
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        if not result.run_requests:
            return str(result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else "")
        (request,) = result.run_requests
        assert request.run_key == f"nord:{request.tags[PLANNED_FOR]}"
        return request.tags[PLANNED_FOR]


@pytest.mark.parametrize("hours", [-1.5, 2, 4.4])
def test_an_export_shortly_before_the_planned_time_starts_the_day(
    instance: dg.DagsterInstance, tmp_path: Path, hours: float
) -> None:
    arrive(tmp_path / "done", hours)
    assert ExportSensor(instance, tmp_path / "done").tick(hours + 0.01) == THE_DAY


def test_an_export_starts_the_day_once_the_secrets_of_its_runs_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(tmp_path / "done", 2)
    children = {"run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"}}
    secret = ExternalSecret(Reference("env", "OF_NORD"), None, "mandators.nord.password")
    with dg.instance_for_test(overrides=children) as instance:
        sensor = ExportSensor(instance, tmp_path / "done", password=secret)
        assert "starts nothing yet: secrets of nord can't be read" in sensor.tick(2.1)
        monkeypatch.setenv("OF_NORD", "secret")
        assert sensor.tick(2.2) == THE_DAY


def test_an_export_after_the_replace_starts_nothing_and_says_what_to_do(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    arrive(tmp_path / "done", 5)
    message = ExportSensor(instance, tmp_path / "done").tick(5.1)
    assert "the export of 2026-11-24 05:00:00 starts nothing: it came after the last planned time" in message
    assert "the next one, 2026-11-25 04:30 CET" in message
    assert "start nord_daily_replace by hand" in message


@pytest.mark.parametrize(("arrived", "ticked"), [(4.45, 4.46), (3, 4.6), (-20, 3)])
def test_shortly_before_the_planned_time_the_schedule_starts_the_day(
    instance: dg.DagsterInstance, tmp_path: Path, arrived: float, ticked: float
) -> None:
    arrive(tmp_path / "done", arrived)
    message = ExportSensor(
        instance, tmp_path / "done", crm_export={"marker": str(tmp_path / "done"), "earliest": "20h"}
    ).tick(ticked)
    assert "starts nothing" in message


def test_the_same_export_is_taken_once_and_a_second_one_starts_nothing(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    sensor = ExportSensor(instance, tmp_path / "done")
    arrive(tmp_path / "done", 1)
    assert sensor.tick(1.1) == THE_DAY
    assert "nothing new" in sensor.tick(1.2)
    run(instance, dg.DagsterRunStatus.FAILURE)
    arrive(tmp_path / "done", 2)
    assert "was started before" in sensor.tick(2.1)
    assert "nothing new" in sensor.tick(2.2)
    arrive(tmp_path / "done", 1.5)
    assert "nothing new" in sensor.tick(3)


def test_a_file_that_is_still_being_written_is_left_for_a_later_tick(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    sensor = ExportSensor(instance, tmp_path / "done")
    arrive(tmp_path / "done", 1)
    assert "isn't 30 s old yet" in sensor.tick(1 + 29 / 3600)
    assert sensor.tick(1 + 30 / 3600) == THE_DAY


def test_the_newest_of_several_files_counts(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    sensor = ExportSensor(instance, tmp_path / "done_*.csv")
    (tmp_path / "done_folder.csv").mkdir()
    arrive(tmp_path / "other.csv", 3)
    assert sensor.tick(3.1) == f"the file {tmp_path / 'done_*.csv'} shows no finished export yet"
    arrive(tmp_path / "done_1.csv", -12)
    assert "starts nothing" in sensor.tick(-11)
    arrive(tmp_path / "done_2.csv", 3)
    assert sensor.tick(3.1) == THE_DAY


def test_a_folder_that_cannot_be_read_fails_the_tick(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with pytest.raises(MandatorTickError, match=r"^nord: .*gone can't be read, .* or crm_export\.marker"):
        ExportSensor(instance, tmp_path / "gone" / "done").tick(1)


def test_without_a_schedule_an_export_starts_the_day_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    sensor = ExportSensor(instance, tmp_path / "done", schedule=None)
    arrive(tmp_path / "done", 23.9)
    assert sensor.tick(24.1) == "2026-11-24"
    run(instance, dg.DagsterRunStatus.FAILURE, "2026-11-24")
    arrive(tmp_path / "done", 23.95)
    assert "if that failed, start it by hand" in sensor.tick(24.1)
    arrive(tmp_path / "done", 24.1)
    assert "found more than 2 hours later" in sensor.tick(27)
    arrive(tmp_path / "done", 28)
    assert sensor.tick(28.1) == "2026-11-25"


@pytest.mark.parametrize("date", [datetime(2026, 3, 29), datetime(2026, 10, 25)])  # noqa: DTZ001
def test_schedule_and_export_mean_the_same_day_when_the_clocks_change(
    stored: dg.DagsterInstance, tmp_path: Path, date: datetime
) -> None:
    half_past_two = {"schedule": "30 2 * * *", "crm_export": {"marker": str(tmp_path / "done")}}
    midnight = date.replace(tzinfo=BERLIN)
    (tmp_path / "done").touch()
    os.utime(tmp_path / "done", (midnight.timestamp(),) * 2)
    sensor = ExportSensor(stored, tmp_path / "done", **half_past_two)
    day = sensor.tick((midnight - MIDNIGHT) / timedelta(hours=1) + 1)  # both on the clock
    assert day in ("2026-03-29T03:00+02:00", "2026-10-25T02:30+01:00")
    run(stored, dg.DagsterRunStatus.SUCCESS, day)

    schedule = daily_schedule("nord", mandator_settings(**half_past_two))
    assert schedule
    planned = datetime.fromisoformat(day).astimezone(BERLIN)
    with time_machine.travel(planned, tick=False):
        answer = schedule(dg.build_schedule_context(instance=stored, scheduled_execution_time=planned))
    assert isinstance(answer, dg.SkipReason)


@pytest.mark.parametrize(
    ("status", "schedule_name", "runs"),
    [
        ("SUCCESS", None, False),
        ("NOT_STARTED", None, False),
        ("STARTED", None, False),
        ("FAILURE", None, True),
        ("CANCELED", None, True),
        ("NOT_STARTED", "nord_daily", True),  # its own, of an interrupted tick
    ],
)
def test_the_schedule_leaves_out_a_day_that_the_export_has_begun_unless_that_failed(
    stored: dg.DagsterInstance, status: str, schedule_name: str | None, runs: bool
) -> None:
    tags = {"dagster__schedule_name": schedule_name} if schedule_name else {}
    run(stored, dg.DagsterRunStatus(status), **tags)
    schedule = daily_schedule("nord", mandator_settings(**HALF_PAST_FOUR, crm_export={"marker": "done"}))
    assert schedule
    with time_machine.travel(after_midnight(4.51), tick=False):
        context = dg.build_schedule_context(instance=stored, scheduled_execution_time=after_midnight(4.5))
        answer = schedule.evaluate_tick(context)
    assert [request.tags[PLANNED_FOR] for request in answer.run_requests or []] == ([THE_DAY] if runs else [])
    assert runs or "has started run" in (answer.skip_message or "")


def test_a_folder_of_one_mandator_that_cannot_be_read_stops_no_other_and_makes_the_next_tick_red(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    nord = configuration(**HALF_PAST_FOUR, crm_export={"marker": str(tmp_path / "gone" / "done")})
    sued = mandator_settings(**HALF_PAST_FOUR, crm_export={"marker": str(tmp_path / "done")})
    both = nord.model_copy(update={"mandators": {**nord.mandators, "sued": sued}})
    sensor = crm_export_sensor(both, {name: daily_job(name, settings) for name, settings in both.mandators.items()})
    assert sensor
    arrive(tmp_path / "done", 1)
    with time_machine.travel(after_midnight(1.1), tick=False):
        result = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(result, dg.SensorResult)
        assert [request.job_name for request in result.run_requests or []] == ["sued_daily_replace"]
        with pytest.raises(MandatorTickError, match=r"^nord: .*gone can't be read"):
            sensor(dg.build_sensor_context(instance=instance, cursor=result.cursor))


def test_the_crm_shows_its_exports_in_a_table(instance: dg.DagsterInstance, tmp_path: Path, sqlite_url: str) -> None:
    schema.create_crm(sqlite_url)
    settings = configuration(sqlite_url, **HALF_PAST_FOUR, crm_export={"table": "nightly"})
    storage = StorageSettings.model_validate({"state_url": f"sqlite:///{tmp_path / 'state.db'}"})
    sensor = export_sensor(settings.model_copy(update={"storage": storage}))
    with pytest.raises(MandatorTickError, match="looking for the export 'nightly' failed"):
        sensor(dg.build_sensor_context(instance=instance))
    crm = SqlCrm(sqlite_url)
    crm.check()
    with pytest.raises(CrmError, match=r"view export_log is missing.*--exports"):
        crm.check(exports=True)

    schema.create_crm(sqlite_url, exports=True)
    crm.check(exports=True)
    assert crm.last_export("nightly") is None
    with create_engine(sqlite_url).begin() as connection:
        for name, hours in (("nightly", 1), ("nightly", -23), ("other", 2)):
            connection.execute(schema.export_log.insert().values(name=name, finished_at=after_midnight(hours)))
    assert crm.last_export("nightly") == after_midnight(1)
    with time_machine.travel(after_midnight(1.1), tick=False):
        result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    assert [request.tags[PLANNED_FOR] for request in result.run_requests or []] == [THE_DAY]
    assert result.cursor == json.dumps({"nord": after_midnight(1).astimezone(UTC).isoformat()})
    assert not (tmp_path / "state.db").exists(), "asking for an export needs nothing that is remembered"
