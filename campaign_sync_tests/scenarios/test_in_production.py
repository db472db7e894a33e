"""The production stack at work: runs by hand and by schedule on PostgreSQL, and a machine that dies."""

import pytest

from campaign_sync_tests.installation import NEWSLETTER, SUED_NEWSLETTER
from campaign_sync_tests.scenarios.production_installation import Plant
from campaign_sync_tests.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("production")

EVERYBODY = [f"person{number}@example.org" for number in range(1, 6)]


def test_a_day_started_in_the_ui_replaces_the_lists(plant: Plant) -> None:
    run_id = plant.stack.launch("nord_daily_replace")

    plant.stack.until(lambda: plant.stack.runs()[run_id]["status"] in ("SUCCESS", "FAILURE"))
    assert plant.stack.runs()[run_id]["status"] == "SUCCESS"
    assert plant.installation.addresses(NEWSLETTER) == EVERYBODY


def test_a_schedule_fires_sensors_tick_and_all_daemons_are_well(plant: Plant) -> None:
    def fired() -> bool:
        return any(tick["status"] == "SUCCESS" and tick["runIds"] for tick in plant.stack.ticks("sued_daily"))

    plant.stack.until(fired)
    (first, *_) = [tick["runIds"][0] for tick in reversed(plant.stack.ticks("sued_daily")) if tick["runIds"]]
    plant.stack.until(lambda: plant.stack.runs()[first]["status"] == "SUCCESS")
    assert plant.installation.addresses(SUED_NEWSLETTER) == EVERYBODY
    sensors = ("nord_unfinished_replace", "nord_feedback_watch", "nord_alarms")
    plant.stack.until(lambda: all(plant.stack.ticks(sensor) for sensor in sensors))
    assert not [tick["error"] for sensor in sensors for tick in plant.stack.ticks(sensor) if tick["error"]]
    plant.stack.until(plant.stack.healthy)


def test_a_machine_that_dies_during_a_fill_loses_nothing_and_mends_itself(plant: Plant) -> None:
    before = set(plant.stack.runs())
    plant.installation.vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)
    run_id = plant.stack.launch("nord_daily_replace")
    plant.stack.until(lambda: plant.filling(run_id))
    plant.stack.stop()
    assert plant.installation.addresses(NEWSLETTER) != EVERYBODY, "killed in the middle"
    plant.installation.vendor.repair()

    plant.stack.start("webserver")
    plant.stack.start("daemon")

    def statuses() -> list[str]:
        runs = plant.stack.runs().items()
        return sorted(one["status"] for key, one in runs if key not in before and one["jobName"].startswith("nord_d"))

    plant.stack.until(lambda: statuses() == ["FAILURE", "SUCCESS"])
    assert plant.stack.runs()[run_id]["status"] == "FAILURE", "the dead run holds nobody up"
    assert plant.installation.addresses(NEWSLETTER) == EVERYBODY
    with plant.installation.state() as state:
        assert state.replacements.incomplete("nord", "newsletter") is None
        assert state.locks.dead_holder(NEWSLETTER) is None
        assert run_id not in state.heartbeats.dead_runs()
