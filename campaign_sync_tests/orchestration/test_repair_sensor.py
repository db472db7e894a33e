"""What broke off is taken up by itself."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from campaign_sync.definitions import build_definitions
from campaign_sync.orchestration.assets.recipient_list import REPLAY_TAG
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG
from campaign_sync.orchestration.repair_sensor import MAX_FAILURES, UnrepairedListError, unfinished_replace_sensor
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.storage.processes import STALLED_AFTER
from campaign_sync_tests.installation import NEWSLETTER, Installation, running_installation

CHAIN = ["bounces", "unsubscribes", "suppression_state"]
CHAIN += ["newsletter_selection", "newsletter_snapshot", "newsletter_recipient_list"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        built.retry_policy = NO_RETRIES
        yield built


def look(shop: Installation) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        found = unfinished_replace_sensor(shop.configuration, "nord")(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def break_off(shop: Installation, runs: int = 1) -> None:
    shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    for _ in range(runs):
        shop.run("nord")
    shop.vendor.repair()


def requests(found: dg.SensorResult | dg.SkipReason) -> list[list[str]]:
    assert isinstance(found, dg.SensorResult)
    return [[key.to_user_string() for key in one.asset_selection or []] for one in found.run_requests or []]


@pytest.mark.smoke
def test_nothing_is_started_while_every_list_is_whole(shop: Installation) -> None:
    assert requests(look(shop)) == []
    shop.day("nord")
    assert requests(look(shop)) == []


def test_a_list_left_incomplete_is_replaced_again_from_the_snapshot_it_has(shop: Installation) -> None:
    break_off(shop)

    assert requests(look(shop)) == [["nord/newsletter_recipient_list"], ["nord/products_recipient_list"]]


def test_a_list_whose_snapshot_has_grown_too_old_is_picked_anew(shop: Installation) -> None:
    break_off(shop)
    shop.list_settings()["max_snapshot_age"] = "PT0.001S"
    (newsletter, _) = requests(look(shop))

    assert [key.split("/")[1] for key in newsletter] == CHAIN


def test_it_tries_again_every_few_minutes_also_where_a_try_could_not_even_begin(shop: Installation) -> None:
    def keys() -> set[str | None]:
        found = look(shop)
        assert isinstance(found, dg.SensorResult)
        return {one.run_key for one in found.run_requests or []}

    break_off(shop)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10), tick=False):
        first = keys()
        assert keys() == first
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16), tick=False):
        assert not keys() & first


def test_a_list_that_somebody_is_replacing_is_left_to_them(shop: Installation) -> None:
    break_off(shop)
    with shop.state() as state, state.locks.acquire(NEWSLETTER, "another-run"):
        assert requests(look(shop)) == [["nord/products_recipient_list"]]


def test_after_a_few_tries_its_tick_fails_and_says_so(shop: Installation) -> None:
    break_off(shop, runs=MAX_FAILURES)

    with pytest.raises(UnrepairedListError, match=r"nord/newsletter .* is INCOMPLETE since .* Send nothing to it"):
        look(shop)


def test_a_replay_that_broke_off_is_replayed_and_not_overwritten_by_what_it_was_to_undo(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        shop.run("nord", instance)
        with shop.state() as state:
            (good,) = state.replacements.proven_snapshots("nord", "newsletter")
        shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
        shop.run("nord", instance, assets=[("nord", "newsletter_recipient_list")], tags={REPLAY_TAG: good})

    found = look(shop)
    assert isinstance(found, dg.SensorResult)
    (request,) = found.run_requests or []
    assert request.tags[REPLAY_TAG] == good


def test_a_run_whose_process_died_is_told_to_have_failed_and_holds_nothing_up(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(shop.configuration, shop.retry_policy).resolve_job_def("nord_daily_replace")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, {MANDATOR_TAG: "nord"})
        break_off(shop)
        context = dg.build_sensor_context(instance=instance)
        sensor = unfinished_replace_sensor(shop.configuration, "nord")
        assert isinstance(sensor(context), dg.SkipReason), "as far as anybody knows it is alive"
        with shop.state() as state:
            subprocess.run([sys.executable, "-c", HOLD_AND_DIE, state_url(shop), run.run_id], check=False)
            assert state.locks.dead_holder(NEWSLETTER) == run.run_id

        assert len(requests(sensor(context))) == 2  # type: ignore[arg-type]
        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        assert failed.status is dg.DagsterRunStatus.FAILURE


def test_a_run_that_died_before_it_held_anything_keeps_nobody_waiting(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(shop.configuration, shop.retry_policy).resolve_job_def("nord_daily_replace")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, {MANDATOR_TAG: "nord"})
        with shop.state():
            subprocess.run([sys.executable, "-c", GIVE_SIGNS_AND_DIE, state_url(shop), run.run_id], check=False)
        with dg.build_sensor_context(instance=instance) as context:
            unfinished_replace_sensor(shop.configuration, "nord")(context)

        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        assert failed.status is dg.DagsterRunStatus.FAILURE
        with shop.state() as state:
            assert state.heartbeats.dead_runs() == []


def test_a_run_that_died_before_its_first_sign_of_life_keeps_nobody_waiting_for_ever(shop: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(shop.configuration, shop.retry_policy).resolve_job_def("nord_daily_replace")
        run, others = (
            instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
            for tags in ({MANDATOR_TAG: "nord"}, {})
        )

        def statuses() -> list[dg.DagsterRunStatus]:
            with dg.build_sensor_context(instance=instance) as context:
                unfinished_replace_sensor(shop.configuration, "nord")(context)
            return [found.status for one in (run, others) if (found := instance.get_run_by_id(one.run_id))]

        started = dg.DagsterRunStatus.STARTED
        assert statuses() == [started, started], "it may be about to give one"
        with time_machine.travel(datetime.now(UTC) + STALLED_AFTER):
            assert statuses() == [dg.DagsterRunStatus.FAILURE, started], "of runs that aren't ours nothing is known"


def test_a_run_that_dagster_starts_once_more_by_itself_is_not_mended_a_second_time(shop: Installation) -> None:
    break_off(shop)
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(shop.configuration, shop.retry_policy).resolve_job_def("nord_daily_replace")
        tags = {MANDATOR_TAG: "nord", "dagster/will_retry": "true"}
        dead = instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
        sensor = unfinished_replace_sensor(shop.configuration, "nord")
        with dg.build_sensor_context(instance=instance) as context:
            assert isinstance(sensor(context), dg.SkipReason)
            instance.add_run_tags(dead.run_id, {"dagster/auto_retry_run_id": "another"})
            assert len(requests(sensor(context))) == 2, "that one has ended without a proof"  # type: ignore[arg-type]


GIVE_SIGNS_AND_DIE = """
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


def test_it_looks_every_minute_unless_somebody_stops_it(shop: Installation) -> None:
    sensor = unfinished_replace_sensor(shop.configuration, "nord")
    assert sensor.minimum_interval_seconds == timedelta(minutes=1).total_seconds()
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
