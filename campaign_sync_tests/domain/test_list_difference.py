"""The difference between two states of a list."""

from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.list_difference import ListDifference, compare_lists
from campaign_sync.domain.snapshot import KEY_COLUMNS

Person = dict[str, Any]
SENT = ("address", "list:Vorname", "list:Ort")


def frame(people: list[Person], columns: tuple[str, ...] = SENT) -> pd.DataFrame:
    rows = [
        {"recipient_id": person["address"], "consent_event_id": "e", **person, "opt_in_id": "news"} for person in people
    ]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*KEY_COLUMNS, *columns]))).astype(
        {"entity_type": "str", "entity_id": "str", **dict.fromkeys(columns, "str")}
    )


def lists() -> st.SearchStrategy[list[Person]]:
    value = st.sampled_from(["", "a", "b", None])
    person = st.fixed_dictionaries(
        {
            "entity_type": st.sampled_from(["contact", "lead"]),
            "entity_id": st.integers(1, 6).map(str),
            **dict.fromkeys(SENT, value),
        }
    )
    return st.lists(person, max_size=8, unique_by=lambda row: (row["entity_type"], row["entity_id"]))


def by_key(people: list[Person]) -> dict[str, Person]:
    return {f"{person['entity_type']}:{person['entity_id']}": person for person in people}


@given(lists(), lists())
def test_everybody_joined_left_changed_or_is_unchanged(before: list[Person], after: list[Person]) -> None:
    difference = compare_lists(frame(before), frame(after))

    old, new = by_key(before), by_key(after)
    assert difference.joined == tuple(sorted(new.keys() - old.keys()))
    assert difference.left == tuple(sorted(old.keys() - new.keys()))
    assert difference.changed == {
        key: differing
        for key in sorted(old.keys() & new.keys())
        if (
            differing := tuple(
                name.removeprefix("list:") for name in SENT if (old[key][name] or "") != (new[key][name] or "")
            )
        )
    }


@given(lists())
def test_the_same_rows_in_any_order_show_no_difference(people: list[Person]) -> None:
    assert compare_lists(frame(people), frame(people[::-1])) == ListDifference((), (), {})


@given(lists(), lists())
def test_in_the_opposite_direction_joining_is_leaving(before: list[Person], after: list[Person]) -> None:
    forth, back = compare_lists(frame(before), frame(after)), compare_lists(frame(after), frame(before))
    assert (forth.joined, forth.left, forth.changed) == (back.left, back.joined, back.changed)


def test_an_attribute_that_only_one_side_has_counts_if_it_is_filled() -> None:
    people = [
        {"entity_type": "contact", "entity_id": "1", "address": "a", "list:Ort": "Köln"},
        {"entity_type": "contact", "entity_id": "2", "address": "b", "list:Ort": ""},
    ]
    difference = compare_lists(frame(people, ("address",)), frame(people, ("address", "list:Ort")))
    assert difference.changed == {"contact:1": ("Ort",)}


def test_the_column_that_changed_for_most_people_comes_first() -> None:
    difference = ListDifference(
        (), (), {"contact:1": ("Vorname", "Ort"), "contact:2": ("Ort",), "contact:3": ("address",)}
    )
    assert list(difference.changed_columns.items()) == [("Ort", 2), ("Vorname", 1), ("address", 1)]
