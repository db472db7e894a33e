"""Whole nights, as Dagster's daemons live through them."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import time_machine
from dagster._core.definitions.freshness import FreshnessState

from campaign_sync.orchestration.daily_replacement import PLANNED_FOR
from campaign_sync_tests.orchestration.sensor_daemon import LIST, Daemon, daemon

BERLIN = ZoneInfo("Europe/Berlin")


class Night:
    """Moves the clock to times of day in Berlin."""

    def __init__(self, clock: time_machine.Traveller) -> None:
        self._clock = clock

    def at(self, month: int, day: int, hour: int, minute: int = 0, *, fold: int = 0) -> datetime:
        """That time is now."""
        moment = datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold)
        self._clock.move_to(moment.astimezone(UTC))
        return moment


@pytest.fixture
def night() -> Iterator[Night]:
    with time_machine.travel(datetime(2026, 3, 28, 12, tzinfo=UTC), tick=False) as clock:
        yield Night(clock)


def days(nord: Daemon) -> list[str]:
    return [run.tags[PLANNED_FOR] for run in reversed(nord.runs())]


def test_half_past_two_comes_once_in_the_nights_when_the_clocks_change(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon(tmp_path, monkeypatch, schedule="30 2 * * *", feedback={"audit": "30 2 * * *"}) as nord:
        nord.schedules()
        for hour, minute in ((1, 59), (3, 0), (3, 31)):  # there is no 2:30 in this night
            night.at(3, 29, hour, minute)
            nord.schedules()
        assert days(nord) == ["2026-03-29T03:00+02:00"]

        night.at(10, 24, 23)  # the daemon was off all summer
        nord.schedules()
        (latest, *_) = nord.ticks("nord_daily")
        assert "20.5 h ago: too late. Start nord_daily_replace by hand" in (latest.skip_reason or "")
        assert len(nord.runs("nord_audit")) == 2, "an audit changes no list, so the last missed tick runs"

        for hour, minute, fold in ((2, 30, 0), (2, 30, 1), (3, 31, 0)):
            night.at(10, 25, hour, minute, fold=fold)
            nord.schedules()
        assert days(nord) == ["2026-03-29T03:00+02:00", "2026-10-25T02:30+01:00"]
        assert len(nord.runs("nord_audit")) == 3


def test_an_export_starts_the_day_early_and_once(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "export_done"
    with daemon(tmp_path, monkeypatch, schedule="30 4 * * *", crm_export={"marker": str(marker)}) as nord:
        nord.schedules()
        nord.sensors()
        assert nord.runs() == []
        for hour in (1, 2):
            moment = night.at(3, 30, hour)
            marker.touch()
            os.utime(marker, (moment.timestamp(), moment.timestamp()))
            night.at(3, 30, hour, 1)
            nord.sensors()
            assert days(nord) == ["2026-03-30T04:30+02:00"]
        (latest, *_) = nord.ticks("campaign_sync_crm_export")
        assert "the export of 2026-03-30 02:00:00 starts nothing" in (latest.skip_reason or "")

        night.at(3, 30, 4, 31)
        nord.schedules()
        (latest, *_) = nord.ticks("nord_daily")
        assert "the CRM's export came before that and has started run" in (latest.skip_reason or "")
        night.at(3, 31, 4, 31)
        nord.schedules()
        assert days(nord) == ["2026-03-30T04:30+02:00", "2026-03-31T04:30+02:00"]


def test_a_late_list_is_red_though_nothing_runs(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with daemon(tmp_path, monkeypatch, schedule="30 4 * * *", deadline="0 7 * * *") as nord:
        night.at(4, 14, 4, 30)
        nord.instance.report_runless_asset_event(dg.AssetMaterialization(LIST))
        for hour, minute, state in ((6, 59, FreshnessState.PASS), (7, 0, FreshnessState.FAIL)):
            night.at(4, 15, hour, minute)
            assert nord.freshness() is state
