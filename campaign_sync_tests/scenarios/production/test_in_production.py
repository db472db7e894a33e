"""The production stack: runs by hand and by schedule on PostgreSQL, and a machine that crashes."""

import pytest

from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, SUED_NEWSLETTER
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation
from campaign_sync_tests.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("production")


@pytest.mark.long
def test_a_day_started_in_the_ui_replaces_the_lists(production: ProductionInstallation) -> None:
    run_id = production.stack.launch("nord_daily_replace")

    production.stack.until(lambda: production.stack.runs()[run_id]["status"] in ("SUCCESS", "FAILURE"))
    assert production.stack.runs()[run_id]["status"] == "SUCCESS"
    assert production.installation.addresses(NEWSLETTER) == ADDRESSES


def test_a_schedule_fires_sensors_tick_and_all_daemons_are_healthy(production: ProductionInstallation) -> None:
    def fired() -> bool:
        return any(tick["status"] == "SUCCESS" and tick["runIds"] for tick in production.stack.ticks("sued_daily"))

    production.stack.until(fired)
    (first, *_) = [tick["runIds"][0] for tick in reversed(production.stack.ticks("sued_daily")) if tick["runIds"]]
    production.stack.until(lambda: production.stack.runs()[first]["status"] == "SUCCESS")
    assert production.installation.addresses(SUED_NEWSLETTER) == ADDRESSES
    sensors = ("campaign_sync_repair", "campaign_sync_feedback_watch", "campaign_sync_alarms")
    production.stack.until(lambda: all(production.stack.ticks(sensor) for sensor in sensors))
    assert not [tick["error"] for sensor in sensors for tick in production.stack.ticks(sensor) if tick["error"]]
    production.stack.until(production.stack.healthy)


def test_a_list_is_completed_after_the_machine_crashed_during_its_fill(production: ProductionInstallation) -> None:
    before = set(production.stack.runs())
    production.installation.vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)
    run_id = production.stack.launch("nord_daily_replace")
    production.stack.until(lambda: production.filling(run_id))
    production.stack.stop()
    assert production.installation.addresses(NEWSLETTER) != ADDRESSES, "killed in the middle"
    production.installation.vendor.repair()

    production.stack.start("webserver")
    production.stack.start("daemon")

    def statuses() -> list[str]:
        runs = production.stack.runs().items()
        return sorted(run["status"] for key, run in runs if key not in before and run["jobName"].startswith("nord_d"))

    production.stack.until(lambda: statuses() == ["FAILURE", "SUCCESS"])
    assert production.stack.runs()[run_id]["status"] == "FAILURE", "the dead run doesn't block others"
    assert production.installation.addresses(NEWSLETTER) == ADDRESSES
    with production.installation.state() as state:
        assert state.replacements.incomplete("nord", "newsletter") is None
        assert NEWSLETTER not in state.view().locks.dead
        assert run_id not in state.heartbeats.dead_runs()
