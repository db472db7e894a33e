"""The table of truth of filters."""

import unicodedata
from itertools import product

import hypothesis
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.filter import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    NotOf,
    Operator,
    Value,
    filter_fields,
    rule_of,
)
from campaign_sync.domain.filter_columns import UNREADABLE, matching_rows
from campaign_sync.domain.like_pattern import LikePattern
from campaign_sync.domain.text import NOT_UTF8
from campaign_sync_tests.domain import filters
from campaign_sync_tests.domain.filters import FIELDS, Row, conditions, reference, rows


def kept(condition: Condition, table: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame({name: pd.Series([row[name] for row in table], dtype="str") for name in FIELDS})
    return matching_rows(condition, frame.assign(number=range(len(table))))


def matching(condition: Condition, table: list[Row]) -> list[int]:
    selected = kept(condition, table)
    numbers: list[int] = selected.loc[~selected[UNREADABLE].astype("bool"), "number"].tolist()
    return numbers


@given(conditions(), rows())
def test_whole_columns_are_filtered_as_each_row_alone(condition: Condition, table: list[Row]) -> None:
    assert matching(condition, table) == [
        number for number, row in enumerate(table) if reference(condition, row) is True
    ]


@given(conditions(), rows())
def test_no_row_is_lost_for_a_text_that_is_not_utf8(condition: Condition, table: list[Row]) -> None:
    selected = kept(condition, table)
    expected = [
        number
        for number, row in enumerate(table)
        if reference(condition, row) is None
        and any(NOT_UTF8 in (row[field] or "") for field in filter_fields(condition))
    ]
    assert selected.loc[selected[UNREADABLE].astype("bool"), "number"].tolist() == expected


@given(conditions(), conditions(), rows())
def test_the_laws_of_de_morgan_hold_for_null_as_well(left: Condition, right: Condition, table: list[Row]) -> None:
    assert matching(NotOf(AllOf((left, right))), table) == matching(AnyOf((NotOf(left), NotOf(right))), table)
    assert matching(NotOf(AnyOf((left, right))), table) == matching(AllOf((NotOf(left), NotOf(right))), table)


@given(conditions(), rows())
def test_no_row_fulfils_a_condition_and_its_opposite(condition: Condition, table: list[Row]) -> None:
    assert not set(matching(condition, table)) & set(matching(NotOf(condition), table))
    assert matching(NotOf(NotOf(condition)), table) == matching(condition, table)


@pytest.mark.parametrize(
    ("text", "operator", "value", "expected"),
    [
        (None, "=", "x", None),
        ("  ", "=", "x", None),
        ("KÖLN ", "=", "köln", True),
        ("Ko\u0308ln", "=", "Köln", True),
        ("Koln", "=", "Köln", False),
        ("STRASSE", "=", "Straße", True),
        ("ODYSSEUΣ", "=", "odysseuς", True),
        ("a\r\nb", "=", "a\nb", True),
        ("7.0", "=", 7, True),
        ("7.0", "=", "7", False),
        ("01067", "=", 1067, True),
        ("1.234,56", ">", 1, None),
        ("n/a", "=", 7, None),
        ("9", "<", "70000", False),
        ("9", "<", 70000, True),
        ("true", "=", "true", True),
        ("zebra", "<", "ähre", True),
        ("2026-03-01T23:59:59+00:00", "=", "2026-03-01", True),
        ("2026-03-02T00:30:00+01:00", "=", "2026-03-01", True),
        ("2026-03-01T23:59:59+00:00", ">", "2026-03-01", False),
        ("2026-03-02", ">", "2026-03-01", True),
        ("2026-03-01", "<", "2026-03-01T00:00:01+00:00", True),
        ("2026-03-01 12:00", "=", "2026-03-01T13:00:00+01:00", True),
        ("soon", "<", "2026-03-01", None),
        (f"K{NOT_UTF8}ln", "=", "Köln", None),
        ("Straße 5", "like", "strasse%", True),
        ("Straße", "like", "Stra_e", True),
        ("Straße", "like", "stra__e", True),
        ("STRASSE", "like", "Stra__e", True),
        ("STRASSE", "like", "Stra_e", False),
        ("Straße Fuß", "like", "%STRASSE Fu_", True),
        ("İzmir", "like", "_zmir", True),
        ("100%", "like", "100\\%", True),
        ("100 Euro", "like", "100\\%", False),
        ("a\nb", "like", "a_b", True),
        ("Müller GmbH & Co. KG", "like", "%gmbh%", True),
    ],
)
def test_a_value_is_compared_by_the_table_in_the_documentation(
    text: str | None, operator: Operator, value: Value, expected: bool | None
) -> None:
    assert rule_of(Comparison("field", operator, (value,)))(text) is expected
    assert reference(Comparison("field", operator, (value,)), {"field": text}) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [(None, True), ("", True), (" \u00a0", True), ("x", False), (NOT_UTF8, False)]
)
def test_blank_text_is_null(text: str | None, expected: bool) -> None:
    assert rule_of(Comparison("field", "is null"))(text) is expected


@pytest.mark.parametrize("pattern", filters.PATTERNS)
def test_the_patterns_of_the_tests_have_no_mistake(pattern: str) -> None:
    assert LikePattern(pattern).mistake is None


def test_every_pattern_matches_every_text_as_the_documentation_says() -> None:
    comparisons = [Comparison("field", "like", (pattern,)) for pattern in filters.PATTERNS]
    for comparison, text in product(comparisons, (*filters.TEXTS, "Straßenfußweg", "Maß", "ßß")):
        assert rule_of(comparison)(text) is reference(comparison, {"field": text}), (comparison, text)


@pytest.mark.parametrize(("pattern", "mistake"), [("a\\", "at the end"), ("a\\ ", "at the end"), ("a\\b", "only %")])
def test_a_backslash_that_escapes_nothing_is_a_mistake(pattern: str, mistake: str) -> None:
    assert mistake in (LikePattern(pattern).mistake or "")


def test_a_pattern_takes_time_in_proportion_to_the_text() -> None:
    """With backtracking this would take years."""
    rule = rule_of(Comparison("field", "like", ("%a" * 30 + "%b",)))
    assert rule("a" * 20_000) is False


@given(st.lists(st.tuples(st.sampled_from("aSsßẞİiŉǰﬁéſ\u0301ιᾳ🚲"), st.sampled_from("x_%")), max_size=7))
@hypothesis.example([("ß", "x"), ("\u0301", "x"), ("ß", "_")])
@hypothesis.example([("ſ", "x"), ("\u0301", "_")])
def test_a_pattern_made_of_a_text_matches_the_text_however_it_is_written(spelling: list[tuple[str, str]]) -> None:
    """An exclusion must not let a person pass because of the spelling."""
    text = "".join(character for character, _ in spelling)
    hypothesis.assume(unicodedata.is_normalized("NFC", text))
    pattern = "".join(character if form == "x" else form for character, form in spelling)
    rule = rule_of(Comparison("field", "like", (pattern,)))
    small = text.casefold()
    same_letters = "_" not in pattern and unicodedata.is_normalized("NFC", small)
    for spelled in (text, unicodedata.normalize("NFD", text), small if same_letters else text):
        assert rule(spelled) is (True if text else None)


@given(st.text(st.sampled_from("aSsßẞİiŉﬁ"), min_size=1, max_size=6), st.sampled_from(filters.PATTERNS))
def test_what_matches_a_text_in_small_letters_matches_it_in_any_case(text: str, pattern: str) -> None:
    rule = rule_of(Comparison("field", "like", (pattern,)))
    if rule(text.casefold()):
        assert rule(text)


def test_single_characters_take_time_in_proportion_to_the_text() -> None:
    assert rule_of(Comparison("field", "like", ("%_a" * 10 + "%b",)))("aß" * 2_000) is False
