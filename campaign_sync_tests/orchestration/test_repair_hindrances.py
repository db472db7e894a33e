"""What keeps lists from being repaired: a sensor that was stopped or that no daemon ticks, and missing secrets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData

from campaign_sync.config import Configuration, load_configuration
from campaign_sync.orchestration.repair_hindrances import MISSED_TICKS, REPAIR_SENSOR, RepairHindrances
from campaign_sync_tests.orchestration.sensor_daemon import Daemon, daemon


def hindrance(running: Daemon, configuration: Configuration, *, in_service: bool = True) -> str | None:
    return RepairHindrances(configuration, running.instance, in_service=in_service).of("nord")


def state_of(running: Daemon, name: str) -> InstigatorState:
    (state,) = [state for state in running.instance.all_instigator_state() if state.instigator_name == name]
    return state


def age(running: Daemon, name: str, since: datetime) -> None:
    """Let a sensor have ticked at that moment and never since."""
    state, moment = state_of(running, name), since.timestamp()
    data = state.instigator_data
    assert isinstance(data, SensorInstigatorData)
    aged = SensorInstigatorData(last_tick_timestamp=moment, last_tick_start_timestamp=moment, cursor=data.cursor)
    running.instance.update_instigator_state(state.with_data(aged))


def test_a_repair_is_ahead_only_while_its_sensor_is_on_and_ticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon(tmp_path, monkeypatch, automation={"repair": True}) as running:
        configuration = load_configuration(tmp_path / "campaign_sync.yaml")
        assert hindrance(running, configuration) is None, "it hasn't ticked yet"
        with time_machine.travel(begun := datetime.now(UTC), tick=False) as clock:
            for ticks in range(1, MISSED_TICKS + 1):
                clock.shift(timedelta(minutes=2))
                running.sensors()
                assert hindrance(running, configuration) is None
                age(running, REPAIR_SENSOR, begun)
                is_silent = "hasn't run since" in (hindrance(running, configuration) or "")
                assert is_silent is (ticks == MISSED_TICKS), "the others may be a little ahead"
            clock.shift(timedelta(days=3))
            age(running, REPAIR_SENSOR, begun + timedelta(minutes=10))
            assert hindrance(running, configuration) is None, "the daemon was down, or the machine suspended"
            running.sensors()
            assert hindrance(running, configuration) is None

            repair = running.sensor(REPAIR_SENSOR)
            running.instance.stop_sensor(repair.get_remote_origin_id(), repair.selector_id, repair)
            running.sensors()
            assert "campaign_sync_repair is switched off. Switch it on" in (hindrance(running, configuration) or "")
            running.instance.start_sensor(repair)
            assert hindrance(running, configuration) is None

            configuration.mandators["west"] = configuration.mandators["nord"]
            assert RepairHindrances(configuration, running.instance).of("west") is None, (
                "its first tick is still to come"
            )


def test_no_repair_is_ahead_while_secrets_of_the_mandator_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = {"run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"}}
    with daemon(tmp_path, monkeypatch, children, automation={"repair": True}) as running:
        configuration = load_configuration(tmp_path / "campaign_sync.yaml")
        assert hindrance(running, configuration) is None
        monkeypatch.delenv("NORD_USER")
        assert "NORD_USER is not set. Set them" in (hindrance(running, configuration) or "")
        assert hindrance(running, configuration, in_service=False) is None, "a command needn't have them"
