"""Incomplete lists are repaired without an operator."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from campaign_sync.orchestration import repair_sensor
from campaign_sync.orchestration.asset_keys import feedback_keys, replacement_keys
from campaign_sync.orchestration.assets.recipient_list import REPLAY_TAG
from campaign_sync.orchestration.daily_replacement import GROUPS, MANDATOR_TAG, PLANNED_FOR
from campaign_sync.orchestration.mandator_days import COMPLETES
from campaign_sync.orchestration.mandator_ticks import MandatorTickError
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.orchestration.run_limits import MAX_FRUITLESS
from campaign_sync.storage.expiry import LIFETIME
from campaign_sync.storage.processes import STALLED_AFTER
from campaign_sync_tests.installation import NEWSLETTER, Installation, running_installation

LISTS = ("newsletter", "products")
PARTS = ("selection", "snapshot", "recipient_list")
CHAIN = ["bounces", "unsubscribes", "suppression_state"]
CHAIN += ["newsletter_selection", "newsletter_snapshot", "newsletter_recipient_list"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        built.retry_policy = NO_RETRIES
        yield built


def tick(shop: Installation) -> dg.SensorResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return tick_on(shop, instance)


def tick_on(shop: Installation, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = shop.sensor("repair")(context)
    assert isinstance(result, dg.SensorResult)
    return result


def leave_incomplete(shop: Installation, runs: int = 1) -> None:
    shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    shop.first_day(fails=True)
    for _ in range(1, runs):
        shop.run("nord")
    shop.vendor.repair()


def requests(result: dg.SensorResult) -> list[list[str]]:
    assert all(request.job_name == "nord_daily_replace" for request in result.run_requests or [])
    return [[key.to_user_string() for key in request.asset_selection or []] for request in result.run_requests or []]


@pytest.mark.smoke
def test_nothing_is_started_while_every_list_is_whole(shop: Installation) -> None:
    assert requests(tick(shop)) == []
    shop.first_day()
    assert requests(tick(shop)) == []


def test_a_list_left_incomplete_is_replaced_again_from_the_snapshot_it_has(shop: Installation) -> None:
    leave_incomplete(shop)

    assert requests(tick(shop)) == [["nord/newsletter_recipient_list"], ["nord/products_recipient_list"]]


@pytest.mark.long
def test_a_list_whose_snapshot_has_grown_too_old_is_picked_anew(shop: Installation) -> None:
    leave_incomplete(shop)
    shop.list_settings()["max_snapshot_age"] = "PT0.001S"
    (newsletter, _) = requests(tick(shop))

    assert [key.split("/")[1] for key in newsletter] == CHAIN


def test_a_further_run_is_started_every_few_minutes_also_if_the_last_could_not_begin(shop: Installation) -> None:
    def keys() -> set[str | None]:
        result = tick(shop)
        return {request.run_key for request in result.run_requests or []}

    leave_incomplete(shop)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10), tick=False):
        first = keys()
        assert keys() == first
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16), tick=False):
        assert not keys() & first


def test_a_list_that_a_run_is_replacing_is_left_to_it(shop: Installation) -> None:
    leave_incomplete(shop)
    with shop.state() as state, state.locks.acquire(NEWSLETTER, "another-run"):
        assert requests(tick(shop)) == [["nord/products_recipient_list"]]


@pytest.mark.long
def test_while_a_secret_is_missing_no_attempt_is_wasted_on_an_incomplete_list(shop: Installation) -> None:
    leave_incomplete(shop)
    nord = shop.settings["mandators"]["nord"]
    children = {"run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"}}

    with dg.instance_for_test(overrides=children) as instance:
        password, nord["password"] = nord["password"], {"env": "OF_NORD"}
        result = tick_on(shop, instance)
        assert requests(result) == []
        assert "OF_NORD is not set. Set them, and restart the code location" in str(result.skip_reason)

        nord["password"] = password
        assert requests(tick_on(shop, instance, result.cursor)) == [
            ["nord/newsletter_recipient_list"],
            ["nord/products_recipient_list"],
        ]


def test_after_the_last_attempt_its_tick_fails_and_says_so(shop: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_sensor, "MAX_FRUITLESS", 2)
    leave_incomplete(shop, runs=2)
    message = r"^nord: nord/newsletter .* is INCOMPLETE since .* Send nothing to it"

    with dg.DagsterInstance.ephemeral() as instance:
        first = tick_on(shop, instance)  # notes which configuration is served
        with pytest.raises(MandatorTickError, match=message):
            tick_on(shop, instance, first.cursor)


def test_an_interrupted_replay_is_replayed_again_and_not_overwritten_by_what_it_was_to_undo(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        shop.run("nord", instance)
        with shop.state() as state:
            (good,) = state.replacements.proven_snapshots("nord", "newsletter")
        shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
        shop.run("nord", instance, assets=[("nord", "newsletter_recipient_list")], tags={REPLAY_TAG: good})

    result = tick(shop)
    (request,) = result.run_requests or []
    assert request.tags[REPLAY_TAG] == good


def test_a_run_whose_process_died_is_reported_as_failed_and_blocks_no_other_run(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = shop.definitions.resolve_job_def("nord_daily_replace")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, {MANDATOR_TAG: "nord"})
        leave_incomplete(shop)
        assert requests(tick_on(shop, instance)) == [], "nothing shows that it is dead"
        with shop.state() as state:
            subprocess.run([sys.executable, "-c", HOLD_AND_DIE, state_url(shop), run.run_id], check=False)
            assert state.view().locks.dead[NEWSLETTER] == run.run_id

        assert len(requests(tick_on(shop, instance))) == 2
        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        assert failed.status is dg.DagsterRunStatus.FAILURE


@pytest.mark.long
def test_a_run_that_died_before_it_held_a_lock_blocks_no_other_run(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = shop.definitions.resolve_job_def("nord_daily_replace")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, {MANDATOR_TAG: "nord"})
        with shop.state():
            subprocess.run([sys.executable, "-c", SEND_HEARTBEAT_AND_DIE, state_url(shop), run.run_id], check=False)
        tick_on(shop, instance)

        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        assert failed.status is dg.DagsterRunStatus.FAILURE
        with shop.state() as state:
            assert state.heartbeats.dead_runs() == []


def test_a_run_that_died_before_its_first_heartbeat_does_not_block_other_runs_for_ever(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = shop.definitions.resolve_job_def("nord_daily_replace")
        runs = [
            instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
            for tags in ({MANDATOR_TAG: "nord"}, {}, {MANDATOR_TAG: "west"}, {MANDATOR_TAG: "marketing/nord"})
        ]

        def statuses() -> list[dg.DagsterRunStatus]:
            tick_on(shop, instance)
            current = [instance.get_run_by_id(started.run_id) for started in runs]
            return [dagster_run.status for dagster_run in current if dagster_run]

        started = dg.DagsterRunStatus.STARTED
        assert statuses() == [started] * 4, "its first heartbeat may come yet"
        with time_machine.travel(datetime.now(UTC) + STALLED_AFTER, tick=False) as clock:
            assert statuses() == [started] * 4, "the clock may have been set"
            clock.shift(LIFETIME)
            assert statuses() == [dg.DagsterRunStatus.FAILURE, *[started] * 3], (
                "other locations have heartbeats elsewhere"
            )


@pytest.mark.long
def test_while_dagster_retries_a_run_no_other_run_is_started(shop: Installation) -> None:
    leave_incomplete(shop)
    with dg.DagsterInstance.ephemeral() as instance:
        job = shop.definitions.resolve_job_def("nord_daily_replace")
        tags = {MANDATOR_TAG: "nord", "dagster/will_retry": "true"}
        dead = instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
        assert requests(tick_on(shop, instance)) == []
        instance.add_run_tags(dead.run_id, {"dagster/auto_retry_run_id": "another"})
        assert len(requests(tick_on(shop, instance))) == 2, "the retry has ended without a proof"


def dead_run(shop: Installation, instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    """Return a run of the daily job whose process died before it did anything."""
    job = shop.definitions.resolve_job_def("nord_daily_replace")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={MANDATOR_TAG: "nord"} | tags)
    instance.report_run_failed(run, "its process died")
    return run


def test_lists_that_no_run_of_the_day_has_reached_follow_in_one_run_after_the_feedback(shop: Installation) -> None:
    day = datetime.now(UTC).isoformat(timespec="minutes")
    with dg.DagsterInstance.ephemeral() as instance:
        dead_run(shop, instance, {PLANNED_FOR: day})
        result = tick_on(shop, instance)
        (keys,) = requests(result)
        assert [key.split("/")[1] for key in keys[:4]] == CHAIN[:4]
        assert [key for key in keys if key.endswith("_list")] == [f"nord/{name}_recipient_list" for name in LISTS]
        (request,) = result.run_requests or []
        assert request.tags == {COMPLETES: day}
        assert request.run_key == (tick_on(shop, instance).run_requests or [])[0].run_key, "it is started once"

        assert shop.run("nord", instance, tags={MANDATOR_TAG: "nord", **request.tags}).success
        assert requests(tick_on(shop, instance)) == []


def test_groups_are_started_once_after_the_feedback_and_nothing_else_while_one_is_queued(shop: Installation) -> None:
    shop.settings["mandators"]["nord"]["parallel_runs"] = 2
    day = datetime.now(UTC).isoformat(timespec="minutes")
    with dg.DagsterInstance.ephemeral() as instance:
        planned = {MANDATOR_TAG: "nord", PLANNED_FOR: day, GROUPS: "2"}
        assert shop.run("nord", instance, [key.path for key in feedback_keys("nord")], planned).success
        first = requests(tick_on(shop, instance))
        assert first == [[f"nord/{name}_{part}" for part in PARTS] for name in LISTS]
        assert requests(tick_on(shop, instance)) == first, "by the same run keys, Dagster starts each once"
        request, _ = tick_on(shop, instance).run_requests or []
        job = shop.definitions.resolve_job_def("nord_daily_replace")
        tags = {**job.tags, **request.tags}
        assert [tags[f"campaign_sync/lane_{lane}"] for lane in (1, 2)] == ["nord", "nord:1"]
        queued = instance.create_run_for_job(job, tags=tags, asset_selection=frozenset(request.asset_selection or ()))
        assert requests(tick_on(shop, instance)) == []
        instance.report_run_failed(queued, "its process died")
        assert requests(tick_on(shop, instance)) == first[1:], "the group that no run was started for"


def test_a_list_left_incomplete_and_what_is_left_of_the_day_are_two_runs(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dead_run(shop, instance, {PLANNED_FOR: datetime.now(UTC).isoformat(timespec="minutes")})
        shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
        shop.run("nord", instance, [key.path for key in replacement_keys("nord", ["newsletter"])])
        shop.vendor.repair()

        repair, rest = requests(tick_on(shop, instance))
        assert repair == ["nord/newsletter_recipient_list"]
        assert rest[-1] == "nord/products_recipient_list"
        assert "nord/newsletter_recipient_list" not in rest


def test_a_day_that_runs_do_not_complete_is_given_up_and_its_tick_says_so(shop: Installation) -> None:
    day = datetime.now(UTC).isoformat(timespec="minutes")
    with dg.DagsterInstance.ephemeral() as instance:
        dead_run(shop, instance, {PLANNED_FOR: day})
        for _ in range(MAX_FRUITLESS):
            dead_run(shop, instance, {COMPLETES: day})
        first = tick_on(shop, instance)  # notes which configuration is served
        with pytest.raises(
            MandatorTickError, match=r"newsletter, products of nord weren't replaced on the day planned"
        ):
            tick_on(shop, instance, first.cursor)


SEND_HEARTBEAT_AND_DIE = """
import os, signal, sys
from campaign_sync.storage.state import State
with State(sys.argv[1]) as state, state.heartbeats.keep_alive(sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def state_url(shop: Installation) -> str:
    return shop.configuration.storage.state_url.get_secret_value()


HOLD_AND_DIE = f"""
import os, signal, sys
from campaign_sync.storage.state import State
with State(sys.argv[1]) as state, state.locks.acquire({NEWSLETTER}, sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_sensor_runs_every_minute_by_default(shop: Installation) -> None:
    sensor = shop.sensor("repair")
    assert sensor.minimum_interval_seconds == timedelta(minutes=1).total_seconds()
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
