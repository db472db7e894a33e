"""What is different between the rows that a list holds and those that it is to hold."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.row_changes import NO_RECORD, RowChanges, compare_rows

COLUMNS = [RECIPIENT_ID, ADDRESS, "list:Ort", "list:Vorname"]

Row = tuple[str, str, str, str]
"""Key, address, and the values of two attributes."""


def compare(now: list[Row], planned: list[Row]) -> RowChanges:
    def frame(rows: list[Row]) -> pd.DataFrame:
        return pd.DataFrame([(row[1], *row[1:]) for row in rows], columns=COLUMNS, dtype="str")

    def keys(rows: list[Row]) -> "pd.Series[str]":
        return pd.Series([row[0] for row in rows], dtype="str")

    return compare_rows(frame(now), keys(now), frame(planned), keys(planned))


def test_a_row_belongs_to_its_record_and_else_to_its_address() -> None:
    now: list[Row] = [
        ("contact:1", "a@example.org", "Köln", "Anna"),
        ("contact:2", "b@example.org", "Köln", "Ben"),
        ("contact:3", "c@example.org", "Köln", "Cem"),
        (NO_RECORD, "D@example.org", "", "Dora"),
        (NO_RECORD, "x@example.org", "", ""),
    ]
    planned: list[Row] = [
        ("contact:1", "new@example.org", "Köln", "Anna"),
        ("contact:2", "b@example.org", "Bonn", "Benno"),
        ("contact:4", "d@example.org", "", "Dora"),
        ("contact:5", "e@example.org", "", ""),
    ]
    changes = compare(now, planned)
    assert changes.joined == ["contact:5"]
    assert changes.left == ["contact:3", NO_RECORD]
    assert changes.changed == 3
    assert changes.changed_columns == {ADDRESS: 2, "Ort": 1, "Vorname": 1}


def test_a_record_that_has_taken_the_address_of_another_changes_and_neither_joins_nor_leaves() -> None:
    changes = compare([("lead:1", "a@example.org", "", "")], [("contact:7", "a@example.org", "", "Anna")])
    assert (changes.joined, changes.left, changes.changed_columns) == ([], [], {"Vorname": 1})


People = dict[int, tuple[str, str]]

_people = st.dictionaries(
    st.integers(0, 8), st.tuples(st.sampled_from(["Köln", "Bonn", ""]), st.sampled_from(["Anna", ""])), max_size=8
)


@given(_people, _people)
def test_people_who_stay_join_or_leave_add_up(now: People, planned: People) -> None:
    def rows(people: People) -> list[Row]:
        return [(f"contact:{key}", f"{key}@example.org", *values) for key, values in people.items()]

    changes = compare(rows(now), rows(planned))
    assert sorted(changes.joined) == sorted(f"contact:{key}" for key in planned.keys() - now.keys())
    assert sorted(changes.left) == sorted(f"contact:{key}" for key in now.keys() - planned.keys())
    assert changes.changed == sum(now[key] != planned[key] for key in now.keys() & planned.keys())
