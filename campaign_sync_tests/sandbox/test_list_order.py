"""The order of a list is cached until the list changes, by whatever process."""

from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.sandbox.client import Client
from campaign_sync_tests.sandbox.conftest import NEWSLETTER, NORD, OPT_IN_LIST

PEOPLE = {"a": "Köln", "b": "Bonn", "c": "Aachen"}


def by_place(nord: Client, list_id: int = NEWSLETTER) -> list[str]:
    rows: list[list[str]] = nord.call("Recipient", "getAllAdvanced", list_id, ["Recipient"], 0, "Ort", True, 0, 10)
    return [recipient_id[0] for (recipient_id,) in rows]


@pytest.fixture
def nord_with_people(nord: Client) -> Client:
    nord.add_all(
        NEWSLETTER, [f"{name}@example.org" for name in PEOPLE], ["Ort"], [[place] for place in PEOPLE.values()]
    )
    return nord


def remove_by_another_process(state: VendorState) -> None:
    with closing(VendorState(state.path)) as other, other.transaction() as database:
        database.execute("DELETE FROM recipient WHERE key = 'b@example.org'")


@pytest.mark.parametrize(
    ("change", "order"),
    [
        (lambda nord, state: nord.add_all(NEWSLETTER, ["d@example.org"], ["Ort"], [["Bochum"]]), "cdba"),
        (lambda nord, state: nord.call("Recipient", "removeAll", NEWSLETTER, ["b@example.org"]), "ca"),
        (
            lambda nord, state: nord.call("Recipient", "setAttributes", NEWSLETTER, "b@example.org", ["Ort"], ["Zons"]),
            "cab",
        ),
        (lambda nord, state: nord.call("Recipient", "clear", NEWSLETTER), ""),
        (lambda nord, state: state.put(NEWSLETTER, [{"id": "d@example.org", "attributes": {"Ort": "Bochum"}}]), "cdba"),
        (lambda nord, state: state.put(NEWSLETTER, [{"id": "c@example.org", "attributes": {"Ort": "Ulm"}}]), "bac"),
        (lambda nord, state: state.put(NEWSLETTER, [{"id": "d@example.org"}]), "dcba"),
        (lambda nord, state: (state.block(NORD, "c@*"), nord.call("Recipient", "removeBlacklisted", NEWSLETTER)), "ba"),
        (lambda nord, state: remove_by_another_process(state), "ca"),
    ],
)
def test_a_list_that_changed_is_read_in_its_new_order(
    state: VendorState, nord_with_people: Client, change: Callable[[Client, VendorState], object], order: str
) -> None:
    assert by_place(nord_with_people) == ["c", "b", "a"]
    change(nord_with_people, state)
    assert by_place(nord_with_people) == list(order)


def test_a_rolled_back_change_keeps_the_order(state: VendorState, nord_with_people: Client) -> None:
    assert by_place(nord_with_people) == ["c", "b", "a"]
    with suppress(RuntimeError), state.transaction() as database:
        database.execute("DELETE FROM recipient")
        raise RuntimeError
    assert by_place(nord_with_people) == ["c", "b", "a"]


def test_a_list_is_sorted_once_however_many_pages_are_read_and_others_change(
    state: VendorState, nord_with_people: Client
) -> None:
    with state.transaction() as database:
        remembered = state.orders.positions(database, NEWSLETTER, "Ort", ascending=True)
    state.put(OPT_IN_LIST, [{"id": "d@example.org"}])
    assert by_place(nord_with_people) == ["c", "b", "a"]
    with state.transaction() as database:
        assert state.orders.positions(database, NEWSLETTER, "Ort", ascending=True) is remembered
        assert state.orders.positions(database, NEWSLETTER, "Ort", ascending=False) is not remembered
