"""Changes of lists between a proof and the next replacement are noticed, without false alarms."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import dagster as dg
import pytest
import time_machine

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.list_drift import ListDrift, ReadBack
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.replacement.drift_check import DriftCheck
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.sandbox import list_order
from campaign_sync.sandbox.vendor_state import Recipient
from campaign_sync.telemetry.metrics import LIST_DRIFTED
from campaign_sync_tests.installation import NEWSLETTER, NORD, Installation
from campaign_sync_tests.opened import opened

PEOPLE = 12


@pytest.fixture
def proven(installation: Installation) -> Installation:
    """Return an installation whose lists were proven, with twelve people in the newsletter."""
    for number in range(6, PEOPLE + 1):
        installation.add_contact(f"c{number}", f"person{number}@example.org")
    installation.list_settings()["limits"] = {"max_shrink": 1}
    installation.first_day()
    return installation


def check_drift(
    installation: Installation, place: int = 0, meanwhile: Callable[[], object] = lambda: None
) -> ListDrift | None:
    """Check the newsletter, as the asset does.

    `place` is the first row of the page, or the last possible one; `meanwhile` is called while the list is read.
    """

    def first_row(places: int) -> int:
        meanwhile()
        return min(place, places - 1)

    with opened(installation.configuration) as resources:
        drift_check = DriftCheck(
            resources.vendor,
            lambda opt_in_ids: resources.crm.snapshot(opt_in_ids),
            resources.state,
            resources.files,
            place=first_row,
        )
        return drift_check.check(list_settings(installation.configuration, "nord", "newsletter"))


def remove_people(installation: Installation, *numbers: int) -> None:
    """Remove people from the list at the vendor."""
    with installation.vendor.transaction() as database:
        database.executemany(
            "DELETE FROM recipient WHERE list_id = ? AND key = ?",
            [(NEWSLETTER, f"person{number}@example.org") for number in numbers],
        )


def call_counts(installation: Installation) -> dict[str, int]:
    """Return how often each operation was called for the newsletter."""
    names = [call.operation for call in installation.vendor.calls() if call.list_id == NEWSLETTER]
    return {name: names.count(name) for name in ("getCount", "getAllAdvanced", "getAll", "containsAll")}


def test_an_unchanged_list_needs_two_calls(proven: Installation) -> None:
    before = call_counts(proven)

    drift = check_drift(proven)

    assert drift is not None
    assert (drift.in_list, drift.read_back, drift.drifted_since) == (PEOPLE, None, None)
    assert {name: number - before[name] for name, number in call_counts(proven).items() if number - before[name]} == {
        "getCount": 1,
        "getAllAdvanced": 1,
    }


def test_a_list_that_was_emptied_is_noticed(proven: Installation) -> None:
    with proven.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])

    drift = check_drift(proven)

    assert drift is not None
    assert drift.drifted_since is not None
    assert drift.read_back == ReadBack(PEOPLE, 0, PEOPLE, 0, 0, 0)
    with proven.state() as state:
        gauges = [
            gauge for gauge in state.gauges.all(proven.configuration, datetime.now(UTC)) if gauge.metric is LIST_DRIFTED
        ]
    assert [(gauge.value, gauge.labels["list"]) for gauge in gauges] == [(1, "newsletter")], "only this was checked"


def test_people_who_signed_up_at_the_vendor_are_no_drift_but_missing_people_are(proven: Installation) -> None:
    proven.fill_by_hand(NEWSLETTER, [f"guest{number}@example.com" for number in range(3)])
    drift = check_drift(proven)
    assert drift is not None
    assert (drift.in_list, drift.read_back) == (PEOPLE + 3, None), "the growth explains them"

    remove_people(proven, 1, 2, 3, 4)
    drift = check_drift(proven)
    assert drift is not None
    assert drift.read_back == ReadBack(PEOPLE, PEOPLE - 1, 4, 0, 0, 3)
    assert drift.drifted_since is not None


def test_people_in_place_of_others_are_noticed_although_the_count_is_the_same(proven: Installation) -> None:
    remove_people(proven, 1, 2, 3, 4)
    proven.fill_by_hand(NEWSLETTER, [f"guest{number}@example.com" for number in range(4)])

    drift = check_drift(proven)

    assert drift is not None
    assert drift.read_back == ReadBack(PEOPLE, PEOPLE, 4, 0, 0, 4)
    assert drift.drifted_since is not None


def test_people_whom_the_vendor_removed_because_they_left_are_no_drift(proven: Installation) -> None:
    for number in (1, 2):
        proven.leave(f"person{number}@example.org")
    proven.vendor.block(NORD, "person3@*")
    proven.vendor.bounce(NORD, "person4@example.org")
    proven.vendor.publish(
        NORD, "getOutBounces", [["person4@example.org", str(int(datetime.now(UTC).timestamp() * 1000))]]
    )
    feedback = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
    assert proven.run("nord", assets=feedback).success
    remove_people(proven, 1, 2, 3, 4)

    drift = check_drift(proven)

    assert drift is not None
    assert drift.read_back == ReadBack(PEOPLE, PEOPLE - 4, 0, 4, 0, 0)
    assert drift.drifted_since is None
    before = call_counts(proven)
    assert check_drift(proven) is not None
    assert call_counts(proven)["getAllAdvanced"] - before["getAllAdvanced"] == 1, "what is explained isn't read again"


def test_changed_values_are_a_drift_only_if_several_people_have_them(
    proven: Installation,
) -> None:
    def change(number: int) -> None:
        by_id = {recipient["id"]: recipient for recipient in proven.vendor.recipients(NEWSLETTER)}
        old = by_id[f"person{number}@example.org"]
        new = Recipient(id=old["id"], address=old["address"], attributes={**old["attributes"], "Ort": "Wien"})
        proven.vendor.put(NEWSLETTER, [new])

    change(1)
    drift = check_drift(proven)
    assert drift is not None
    assert drift.read_back == ReadBack(PEOPLE, PEOPLE, 0, 0, 1, 0)
    assert drift.drifted_since is None

    for number in (2, 3, 4):
        change(number)
    drift = check_drift(proven)
    assert drift is not None
    assert drift.read_back == ReadBack(PEOPLE, PEOPLE, 0, 0, 4, 0)
    assert drift.drifted_since is not None


def test_a_list_that_is_complete_again_has_no_drift(proven: Installation) -> None:
    held = proven.vendor.recipients(NEWSLETTER)
    remove_people(proven, 1, 2, 3, 4)
    drifted = check_drift(proven)
    assert drifted is not None
    assert drifted.drifted_since is not None
    proven.vendor.put(NEWSLETTER, held)

    drift = check_drift(proven)

    assert drift is not None
    assert drift.drifted_since is None


def test_a_list_that_is_being_replaced_or_is_incomplete_is_not_checked(proven: Installation) -> None:
    remove_people(proven, *range(1, PEOPLE + 1))
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
    remove_people(proven, *range(1, PEOPLE + 1))

    with ExitStack() as stack:
        state = stack.enter_context(proven.state())
        assert (
            check_drift(proven, meanwhile=lambda: stack.enter_context(state.locks.acquire(NEWSLETTER, "run"))) is None
        )
    with proven.state() as state:
        newest = state.replacements.last_proven("nord", "newsletter")
        assert newest is not None
        assert state.list_drifts.of("nord", "newsletter", newest.id).drifted_since is None


def test_a_vendor_that_cannot_be_called_is_no_drift_but_recorded_as_not_checked_since(proven: Installation) -> None:
    assert check_drift(proven) is not None
    proven.environment["PASSWORD_OF_BOTH"] = "wrong horse"

    drift = check_drift(proven)
    assert drift is not None
    assert drift.drifted_since is None
    assert drift.in_list == PEOPLE, "what was known is still known"
    since = drift.not_checked_since
    again = check_drift(proven)
    assert again is not None
    assert since is not None
    assert again.not_checked_since == since
    assert "doesn't let this user in" in (again.not_checked_because or "")

    proven.environment["PASSWORD_OF_BOTH"] = "correct horse"
    drift = check_drift(proven)
    assert drift is not None
    assert drift.not_checked_since is None


def test_attributes_that_were_configured_differently_at_the_proof_are_not_compared(proven: Installation) -> None:
    del proven.list_settings()["attributes"]["Ort"]

    drift = check_drift(proven)

    assert drift is not None
    assert drift.drifted_since is None
    assert "configured otherwise when the list was proven" in (drift.not_checked_because or "")


def test_pages_that_shift_while_they_are_read_are_no_drift(
    proven: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many share an entity id at the vendor, so the order of pages isn't stable: then the list is read in one piece."""
    monkeypatch.setattr("campaign_sync.replacement.drift_check.READ_BACK_ROWS", 3)
    positions, numbers = list_order.Orders.positions, iter(range(1000))

    def shifting(*arguments: object, **options: object) -> object:
        order = positions(*arguments, **options)  # type: ignore[arg-type]
        return order[::-1] if next(numbers) % 2 else order

    monkeypatch.setattr(list_order.Orders, "positions", shifting)
    remove_people(proven, 1)

    for place in range(4):
        drift = check_drift(proven, place)
        assert drift is not None
        assert drift.read_back == ReadBack(PEOPLE, PEOPLE - 1, 1, 0, 0, 0)
        assert drift.drifted_since is None


def run_job(installation: Installation, name: str, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    result = installation.definitions.resolve_job_def(name).execute_in_process(instance=instance)
    assert result.success
    (evaluation,) = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.asset_key == asset_key("nord", AssetKind.LIST_DRIFT)
    ]
    return evaluation


@pytest.mark.parametrize("job", ["nord_feedback", "nord_list_drift"])
def test_the_asset_check_reports_every_drifted_list(
    proven: Installation, instance: dg.DagsterInstance, job: str
) -> None:
    assert run_job(proven, job, instance).passed
    remove_people(proven, *range(1, PEOPLE + 1))

    evaluation = run_job(proven, job, instance)

    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert evaluation.description == "newsletter: 0 people are in it where 12 were proven: 12 are missing"


def test_lists_are_checked_once_before_their_deadline(proven: Installation) -> None:
    assert "campaign_sync_list_drift" not in {sensor.name for sensor in proven.definitions.sensors or []}
    proven.settings["mandators"]["nord"]["deadline"] = "0 8 * * *"
    sensor = proven.sensor("list_drift")

    def tick(moment: str, cursor: str | None) -> dg.SensorResult:
        with time_machine.travel(datetime.fromisoformat(moment), tick=False):
            result = sensor(dg.build_sensor_context(cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        return result

    assert not tick("2026-11-26T06:00:00+00:00", None).run_requests
    due = tick("2026-11-26T06:31:00+00:00", None)  # the deadline is at 8 in Berlin
    assert [request.run_key for request in due.run_requests or []] == ["nord:2026-11-26T07:00:00+00:00"]
    assert not tick("2026-11-26T06:32:00+00:00", due.cursor).run_requests
    assert tick("2026-11-27T06:32:00+00:00", due.cursor).run_requests
