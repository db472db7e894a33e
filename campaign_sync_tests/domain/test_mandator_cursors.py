"""One cursor for all mandators."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.mandator_cursors import format_cursors, parse_cursors

CURSORS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5)


@given(CURSORS, st.sets(st.text(max_size=5)))
def test_each_mandator_gets_back_its_cursor_and_unknown_ones_are_dropped(
    cursors: dict[str, str], others: set[str]
) -> None:
    text = format_cursors(cursors)
    assert text, "Dagster keeps no empty cursor"
    assert parse_cursors(text, cursors.keys() | others) == cursors
    assert parse_cursors(text, others) == {name: cursor for name, cursor in cursors.items() if name in others}


@given(CURSORS)
def test_the_same_cursors_have_the_same_text_in_whatever_order(cursors: dict[str, str]) -> None:
    assert format_cursors(dict(reversed(cursors.items()))) == format_cursors(cursors)


def test_without_a_cursor_there_is_none_of_any_mandator() -> None:
    assert parse_cursors(None, {"nord"}) == {}
    assert parse_cursors("", {"nord"}) == {}


@pytest.mark.parametrize(
    "text", ["usable", "2026-11-26T07:00:00+00:00", '"nord"', "[]", '{"nord": 1}', "{", "[" * 100_000]
)
def test_a_cursor_of_an_older_version_is_not_taken_for_one(text: str) -> None:
    assert parse_cursors(text, {"nord"}) is None


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert parse_cursors(text, {"nord"}) in (None, {}) or '"nord"' in text
