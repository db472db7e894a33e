"""What broke off is taken up by itself."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.assets import failures
from campaign_sync.automation.unfinished import GIVES_UP_AFTER, unfinished_replace_sensor
from campaign_sync_tests.rig import NEWSLETTER, Rig, rig

CHAIN = ["bounces", "unsubscribes", "suppression_state", "selection", "snapshot", "recipient_list"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(failures, "_TRIES_AGAIN", 0)
    with rig(tmp_path) as built:
        yield built


def look(shop: Rig) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        found = unfinished_replace_sensor(shop.configuration, "nord")(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def break_off(shop: Rig, runs: int = 1) -> None:
    shop.world.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    for _ in range(runs):
        shop.run("nord")
    with shop.world.transaction() as vendor:
        vendor.execute("DELETE FROM fault")


def requests(found: dg.SensorResult | dg.SkipReason) -> list[list[str]]:
    assert isinstance(found, dg.SensorResult)
    return [[key.to_user_string() for key in one.asset_selection or []] for one in found.run_requests or []]


def test_nothing_is_started_while_every_list_is_whole(shop: Rig) -> None:
    assert requests(look(shop)) == []
    shop.day("nord")
    assert requests(look(shop)) == []


def test_a_list_left_incomplete_is_replaced_again_from_the_snapshot_it_has(shop: Rig) -> None:
    break_off(shop)

    assert requests(look(shop)) == [["nord/recipient_list/newsletter"], ["nord/recipient_list/products"]]


def test_a_list_whose_snapshot_has_grown_too_old_is_picked_anew(shop: Rig) -> None:
    break_off(shop)
    shop.list_settings()["max_snapshot_age"] = "1s"
    (newsletter, _) = requests(look(shop))

    assert [key.split("/")[1] for key in newsletter] == CHAIN


def test_the_same_trouble_has_the_same_key_and_a_new_try_a_new_one(shop: Rig) -> None:
    def keys() -> list[str | None]:
        found = look(shop)
        assert isinstance(found, dg.SensorResult)
        return [one.run_key for one in found.run_requests or []]

    break_off(shop)
    first = keys()
    assert keys() == first
    break_off(shop)
    assert not set(keys()) & set(first)


def test_a_list_that_somebody_is_replacing_is_left_to_them(shop: Rig) -> None:
    break_off(shop)
    with shop.state() as state, state.leases.held(NEWSLETTER, "another-run"):
        assert requests(look(shop)) == [["nord/recipient_list/products"]]


def test_after_a_few_tries_it_says_so_instead_of_trying_for_ever(shop: Rig) -> None:
    break_off(shop, runs=GIVES_UP_AFTER)
    found = look(shop)

    assert isinstance(found, dg.SkipReason)
    assert "nord/newsletter (recipient list 100000000011) is INCOMPLETE since" in (found.skip_message or "")
    assert "Send nothing to it" in (found.skip_message or "")


def test_it_looks_every_minute_unless_somebody_stops_it(shop: Rig) -> None:
    sensor = unfinished_replace_sensor(shop.configuration, "nord")
    assert sensor.minimum_interval_seconds == timedelta(minutes=1).total_seconds()
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
