"""What becomes of lists between a proof and the next replace is noticed, and nobody is alarmed for nothing."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import dagster as dg
import pytest
import time_machine

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.list_drift import ListDrift, ReadBack
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.drift_sensor import list_drift_sensor
from campaign_sync.orchestration.resources import Resources
from campaign_sync.replacement.drift_check import DriftCheck
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.sandbox import list_order
from campaign_sync.sandbox.vendor_state import Recipient
from campaign_sync.telemetry.metrics import LIST_DRIFTED
from campaign_sync_tests.installation import NEWSLETTER, NORD, Installation

PEOPLE = 12


@pytest.fixture
def proven(installation: Installation) -> Installation:
    """An installation whose lists were proven; twelve people are in the newsletter."""
    for number in range(6, PEOPLE + 1):
        installation.add_contact(f"c{number}", f"person{number}@example.org")
    installation.list_settings()["limits"] = {"max_shrink": 1}
    installation.day()
    return installation


def check_drift(
    installation: Installation, place: int = 0, meanwhile: Callable[[], object] = lambda: None
) -> ListDrift | None:
    """Check the newsletter, as the asset does.

    `place` is the first row of the page, or the last possible one; `meanwhile` is called while the list is read.
    """
    ports = Resources(installation.configuration)

    def first_row(places: int) -> int:
        meanwhile()
        return min(place, places - 1)

    try:
        drift_check = DriftCheck(
            lambda: ports.vendor("nord"),
            lambda: ports.crm.snapshot(),
            ports.state,
            ports.frames,
            place=first_row,
        )
        return drift_check.check(list_settings(installation.configuration, "nord", "newsletter"))
    finally:
        ports.close()


def remove(installation: Installation, *numbers: int) -> None:
    """Let somebody at the vendor take people out of the list."""
    with installation.vendor.transaction() as database:
        database.executemany(
            "DELETE FROM recipient WHERE list_id = ? AND key = ?",
            [(NEWSLETTER, f"person{number}@example.org") for number in numbers],
        )


def calls(installation: Installation) -> dict[str, int]:
    """How often the newsletter was asked for what, by operation."""
    names = [call.operation for call in installation.vendor.calls() if call.list_id == NEWSLETTER]
    return {name: names.count(name) for name in ("getCount", "getAllAdvanced", "getAll", "containsAll")}


def test_a_list_that_is_as_it_was_costs_two_calls(proven: Installation) -> None:
    before = calls(proven)

    found = check_drift(proven)

    assert found is not None
    assert (found.in_list, found.read_back, found.drifted_since) == (PEOPLE, None, None)
    assert {name: number - before[name] for name, number in calls(proven).items() if number - before[name]} == {
        "getCount": 1,
        "getAllAdvanced": 1,
    }


def test_a_list_that_was_emptied_is_noticed(proven: Installation) -> None:
    with proven.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])

    found = check_drift(proven)

    assert found is not None
    assert found.drifted_since is not None
    assert found.read_back == ReadBack(PEOPLE, 0, PEOPLE, 0, 0, 0)
    with proven.state() as state:
        levels = [
            one for one in state.gauges.all(proven.configuration, datetime.now(UTC)) if one.metric is LIST_DRIFTED
        ]
    assert [(one.value, one.labels["list"]) for one in levels] == [(1, "newsletter")], "the other was never looked at"


def test_people_who_signed_up_at_the_vendor_are_told_apart_from_people_who_are_missing(proven: Installation) -> None:
    proven.fill_by_hand(NEWSLETTER, [f"guest{number}@example.com" for number in range(3)])
    found = check_drift(proven)
    assert found is not None
    assert (found.in_list, found.read_back) == (PEOPLE + 3, None), "the growth explains them"

    remove(proven, 1, 2, 3, 4)
    found = check_drift(proven)
    assert found is not None
    assert found.read_back == ReadBack(PEOPLE, PEOPLE - 1, 4, 0, 0, 3)
    assert found.drifted_since is not None


def test_people_who_took_the_place_of_others_are_noticed_though_the_count_is_the_same(proven: Installation) -> None:
    remove(proven, 1, 2, 3, 4)
    proven.fill_by_hand(NEWSLETTER, [f"guest{number}@example.com" for number in range(4)])

    found = check_drift(proven)

    assert found is not None
    assert found.read_back == ReadBack(PEOPLE, PEOPLE, 4, 0, 0, 4)
    assert found.drifted_since is not None


def test_people_who_left_and_were_removed_by_the_vendor_alarm_nobody(proven: Installation) -> None:
    for number in (1, 2):
        proven.leave(f"person{number}@example.org")
    proven.vendor.block(NORD, "person3@*")
    proven.vendor.bounce(NORD, "person4@example.org")
    proven.vendor.publish(
        NORD, "getOutBounces", [["person4@example.org", str(int(datetime.now(UTC).timestamp() * 1000))]]
    )
    feedback = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
    assert proven.run("nord", assets=feedback).success
    remove(proven, 1, 2, 3, 4)

    found = check_drift(proven)

    assert found is not None
    assert found.read_back == ReadBack(PEOPLE, PEOPLE - 4, 0, 4, 0, 0)
    assert found.drifted_since is None
    before = calls(proven)
    assert check_drift(proven) is not None
    assert calls(proven)["getAllAdvanced"] - before["getAllAdvanced"] == 1, "what is explained isn't read again"


def test_values_that_were_changed_at_the_vendor_are_noticed_and_an_edited_profile_alarms_nobody(
    proven: Installation,
) -> None:
    def change(number: int) -> None:
        who = next(one for one in proven.vendor.recipients(NEWSLETTER) if one["id"] == f"person{number}@example.org")
        changed = Recipient(id=who["id"], address=who["address"], attributes={**who["attributes"], "Ort": "Wien"})
        proven.vendor.put(NEWSLETTER, [changed])

    change(1)
    found = check_drift(proven)
    assert found is not None
    assert found.read_back == ReadBack(PEOPLE, PEOPLE, 0, 0, 1, 0)
    assert found.drifted_since is None

    for number in (2, 3, 4):
        change(number)
    found = check_drift(proven)
    assert found is not None
    assert found.read_back == ReadBack(PEOPLE, PEOPLE, 0, 0, 4, 0)
    assert found.drifted_since is not None


def test_a_list_that_is_whole_again_is_told_to_be_so(proven: Installation) -> None:
    held = proven.vendor.recipients(NEWSLETTER)
    remove(proven, 1, 2, 3, 4)
    drifted = check_drift(proven)
    assert drifted is not None
    assert drifted.drifted_since is not None
    proven.vendor.put(NEWSLETTER, held)

    found = check_drift(proven)

    assert found is not None
    assert found.drifted_since is None


def test_a_list_that_is_being_replaced_or_is_incomplete_is_left_alone(proven: Installation) -> None:
    remove(proven, *range(1, PEOPLE + 1))
    with proven.state() as state, state.locks.acquire(NEWSLETTER, "another-run"):
        assert check_drift(proven) is None
    proven.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    proven.run("nord")
    assert check_drift(proven) is None
    with proven.state() as state:
        replaces = state.replacements.last_proven("nord", "newsletter")
        assert replaces is not None
        assert state.list_drifts.of("nord", "newsletter", replaces.id).checked_at is None


def test_a_list_whose_replacement_begins_while_it_is_read_has_no_drift(proven: Installation) -> None:
    remove(proven, *range(1, PEOPLE + 1))

    with ExitStack() as stack:
        state = stack.enter_context(proven.state())
        assert (
            check_drift(proven, meanwhile=lambda: stack.enter_context(state.locks.acquire(NEWSLETTER, "run"))) is None
        )
    with proven.state() as state:
        newest = state.replacements.last_proven("nord", "newsletter")
        assert newest is not None
        assert state.list_drifts.of("nord", "newsletter", newest.id).drifted_since is None


def test_a_vendor_that_cannot_be_asked_is_no_drift_but_not_checked_since(proven: Installation) -> None:
    assert check_drift(proven) is not None
    proven.environment["PASSWORD_OF_BOTH"] = "wrong horse"

    found = check_drift(proven)
    assert found is not None
    assert found.drifted_since is None
    assert found.in_list == PEOPLE, "what was known is still known"
    since = found.not_checked_since
    again = check_drift(proven)
    assert again is not None
    assert since is not None
    assert again.not_checked_since == since
    assert "doesn't let this user in" in (again.not_checked_because or "")

    proven.environment["PASSWORD_OF_BOTH"] = "correct horse"
    found = check_drift(proven)
    assert found is not None
    assert found.not_checked_since is None


def test_attributes_that_are_configured_otherwise_since_are_not_compared(proven: Installation) -> None:
    del proven.list_settings()["attributes"]["Ort"]

    found = check_drift(proven)

    assert found is not None
    assert found.drifted_since is None
    assert "configured otherwise when the list was proven" in (found.not_checked_because or "")


def test_pages_that_shift_while_they_are_read_alarm_nobody(
    proven: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many share an entity id at the vendor, so the order of pages isn't stable: then the list is read in one piece."""
    monkeypatch.setattr("campaign_sync.replacement.drift_check.READ_BACK_ROWS", 3)
    positions, asked = list_order.Orders.positions, iter(range(1000))

    def shifting(*arguments: object, **options: object) -> object:
        found = positions(*arguments, **options)  # type: ignore[arg-type]
        return found[::-1] if next(asked) % 2 else found

    monkeypatch.setattr(list_order.Orders, "positions", shifting)
    remove(proven, 1)

    for place in range(4):
        found = check_drift(proven, place)
        assert found is not None
        assert found.read_back == ReadBack(PEOPLE, PEOPLE - 1, 1, 0, 0, 0)
        assert found.drifted_since is None


def run_job(installation: Installation, name: str, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    result = installation.definitions.resolve_job_def(name).execute_in_process(instance=instance)
    assert result.success
    (found,) = [
        one for one in result.get_asset_check_evaluations() if one.asset_key == asset_key("nord", AssetKind.LIST_DRIFT)
    ]
    return found


@pytest.mark.parametrize("job", ["nord_feedback", "nord_list_drift"])
def test_the_asset_tells_of_every_list(proven: Installation, instance: dg.DagsterInstance, job: str) -> None:
    assert run_job(proven, job, instance).passed
    remove(proven, *range(1, PEOPLE + 1))

    found = run_job(proven, job, instance)

    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert found.description == "newsletter: 0 people are in it where 12 were proven: 12 are missing"


def test_lists_are_looked_at_before_their_deadline_and_once(proven: Installation) -> None:
    assert list_drift_sensor(proven.configuration, "nord") is None
    proven.settings["mandators"]["nord"]["deadline"] = "0 8 * * *"
    sensor = list_drift_sensor(proven.configuration, "nord")
    assert sensor is not None

    def tick(moment: str, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
        with time_machine.travel(datetime.fromisoformat(moment), tick=False):
            found = sensor(dg.build_sensor_context(cursor=cursor))
        assert isinstance(found, dg.SensorResult | dg.SkipReason)
        return found

    assert isinstance(tick("2026-11-26T06:00:00+00:00", None), dg.SkipReason)
    due = tick("2026-11-26T06:31:00+00:00", None)  # the deadline is at 8 in Berlin
    assert isinstance(due, dg.SensorResult)
    assert [one.run_key for one in due.run_requests or []] == ["2026-11-26T07:00:00+00:00"]
    assert isinstance(tick("2026-11-26T06:32:00+00:00", due.cursor), dg.SkipReason)
    assert isinstance(tick("2026-11-27T06:32:00+00:00", due.cursor), dg.SensorResult)
