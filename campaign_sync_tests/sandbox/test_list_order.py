"""The order of a list is sorted once, and anew as soon as the list has changed, by whomever."""

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


def remove_by_another_process(world: VendorState) -> None:
    with closing(VendorState(world.path)) as other, other.transaction() as database:
        database.execute("DELETE FROM recipient WHERE key = 'b@example.org'")


@pytest.mark.parametrize(
    ("change", "order"),
    [
        (lambda nord, world: nord.add_all(NEWSLETTER, ["d@example.org"], ["Ort"], [["Bochum"]]), "cdba"),
        (lambda nord, world: nord.call("Recipient", "removeAll", NEWSLETTER, ["b@example.org"]), "ca"),
        (
            lambda nord, world: nord.call("Recipient", "setAttributes", NEWSLETTER, "b@example.org", ["Ort"], ["Zons"]),
            "cab",
        ),
        (lambda nord, world: nord.call("Recipient", "clear", NEWSLETTER), ""),
        (lambda nord, world: world.put(NEWSLETTER, [{"id": "d@example.org", "attributes": {"Ort": "Bochum"}}]), "cdba"),
        (lambda nord, world: world.put(NEWSLETTER, [{"id": "c@example.org", "attributes": {"Ort": "Ulm"}}]), "bac"),
        (lambda nord, world: world.put(NEWSLETTER, [{"id": "d@example.org"}]), "dcba"),
        (lambda nord, world: (world.block(NORD, "c@*"), nord.call("Recipient", "removeBlacklisted", NEWSLETTER)), "ba"),
        (lambda nord, world: remove_by_another_process(world), "ca"),
    ],
)
def test_a_list_that_changed_is_read_in_its_new_order(
    world: VendorState, nord_with_people: Client, change: Callable[[Client, VendorState], object], order: str
) -> None:
    assert by_place(nord_with_people) == ["c", "b", "a"]
    change(nord_with_people, world)
    assert by_place(nord_with_people) == list(order)


def test_a_change_that_was_undone_is_none(world: VendorState, nord_with_people: Client) -> None:
    assert by_place(nord_with_people) == ["c", "b", "a"]
    with suppress(RuntimeError), world.transaction() as database:
        database.execute("DELETE FROM recipient")
        raise RuntimeError
    assert by_place(nord_with_people) == ["c", "b", "a"]


def test_a_list_is_sorted_once_however_many_pages_are_read_and_others_change(
    world: VendorState, nord_with_people: Client
) -> None:
    with world.transaction() as database:
        remembered = world.orders.positions(database, NEWSLETTER, "Ort", ascending=True)
    world.put(OPT_IN_LIST, [{"id": "d@example.org"}])
    assert by_place(nord_with_people) == ["c", "b", "a"]
    with world.transaction() as database:
        assert world.orders.positions(database, NEWSLETTER, "Ort", ascending=True) is remembered
        assert world.orders.positions(database, NEWSLETTER, "Ort", ascending=False) is not remembered
