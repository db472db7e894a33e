"""Plausibility of a list's new size."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.size_limits import (
    SizeBaseline,
    SizeLimits,
    change_violations,
    exceeds_growth,
    limit_violations,
    may_be_partial_fill,
    median_baseline,
)

LAST = SizeBaseline(100, "last replace")


def size_violations(rows: int, limits: SizeLimits, baseline: SizeBaseline | None) -> list[str]:
    leaps = change_violations({"contact": rows}, limits, [baseline] if baseline else [])
    return limit_violations(rows, limits) + leaps


shares = st.integers(0, 100).map(lambda percent: percent / 100)


@pytest.mark.parametrize(
    ("rows", "violation"),
    [
        (79, "the list shrinks by 21% from 100 (last replace) to 79, more than max_shrink 20%"),
        (151, "the list grows by 51% from 100 (last replace) to 151, more than max_growth 50%"),
    ],
)
def test_a_list_that_changes_too_much_gets_a_sentence(rows: int, violation: str) -> None:
    assert size_violations(rows, SizeLimits(), LAST) == [violation]


def test_without_a_baseline_only_the_absolute_limits_count() -> None:
    limits = SizeLimits(min_rows=10, max_rows=20)
    assert size_violations(9, limits, None) == ["9 rows are fewer than min_rows 10"]
    assert size_violations(21, limits, None) == ["21 rows are more than max_rows 20"]
    assert size_violations(10, limits, None) == size_violations(20, limits, None) == []


def test_an_empty_selection_is_implausible_unless_it_is_allowed() -> None:
    assert size_violations(0, SizeLimits(), None)
    assert not size_violations(0, SizeLimits(min_rows=0), None)


def test_any_growth_from_nothing_is_too_much() -> None:
    assert size_violations(1, SizeLimits(), SizeBaseline(0, "the list now")) == [
        "the list grows from 0 (the list now) to 1, more than max_growth 50%"
    ]


@given(st.integers(1, 10**7), shares, shares)
def test_a_change_of_exactly_the_limit_is_allowed_and_one_row_more_is_not(
    rows: int, shrink: float, growth: float
) -> None:
    limits = SizeLimits(min_rows=0, max_shrink=shrink, max_growth=growth)
    baseline = SizeBaseline(rows, "last replace")
    least = -(-rows * (100 - round(shrink * 100)) // 100)
    most = rows + rows * round(growth * 100) // 100
    assert Fraction(least) <= rows <= most
    assert size_violations(least, limits, baseline) == size_violations(most, limits, baseline) == []
    assert size_violations(most + 1, limits, baseline)
    assert size_violations(least - 1, limits, baseline)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_same_size_again_is_plausible_under_all_relative_limits(rows: int, floor: int) -> None:
    limits = SizeLimits(min_rows=min(rows, floor), max_shrink=0, max_growth=0)
    assert size_violations(rows, limits, SizeBaseline(rows, "last replace")) == []


def test_an_entity_type_that_vanishes_is_reported_even_if_the_list_hardly_changed() -> None:
    before = SizeBaseline(1020, "last replace", {"contact": 1000, "account": 20})
    assert change_violations({"contact": 1000}, SizeLimits(), [before]) == [
        "its part of accounts shrinks by 100% from 20 (last replace) to 0, more than max_shrink 20%"
    ]


def test_small_entity_types_may_change_freely() -> None:
    before = SizeBaseline(1019, "last replace", {"contact": 1000, "account": 19})
    assert change_violations({"contact": 1000}, SizeLimits(), [before]) == []


def test_a_change_of_the_whole_list_is_reported_once() -> None:
    before = SizeBaseline(200, "last replace", {"contact": 100, "lead": 100})
    assert len(change_violations({"contact": 50, "lead": 50}, SizeLimits(), [before])) == 1


def test_gradual_shrinking_is_detected_by_the_median_of_the_history() -> None:
    sizes = [round(1000 * 0.93**day) for day in range(10)]
    caught = []
    for day in range(1, len(sizes)):
        history = [{"contact": size} for size in reversed(sizes[:day])]
        baselines = [SizeBaseline(sizes[day - 1], "last replace"), *filter(None, [median_baseline(history)])]
        caught.append(change_violations({"contact": sizes[day]}, SizeLimits(), baselines))
    assert caught[:3] == [[], [], []]
    assert "median of 9 replaces" in caught[-1][0]


def test_the_median_is_calculated_by_entity_type_and_needs_a_minimum_of_history() -> None:
    assert median_baseline([{"contact": 1}, {"contact": 2}]) is None
    history = [{"contact": 10, "lead": 5}, {"contact": 12}, {"contact": 11, "lead": 1}]
    assert median_baseline(history) == SizeBaseline(12, "median of 3 replaces", {"contact": 11, "lead": 1})


@pytest.mark.parametrize(
    ("held", "known", "expected", "verdict"),
    [
        (50, 50, 100, True),
        (50, 40, 100, True),  # who left since yesterday is in the list, and not in the snapshot
        (50, 39, 100, False),
        (79, 79, 100, True),
        (80, 80, 100, False),
        (0, 0, 100, False),
        (50, 0, 100, False),
    ],
)
def test_a_list_with_a_part_of_a_snapshot_and_few_others_may_be_a_partial_fill(
    held: int, known: int, expected: int, verdict: bool
) -> None:
    assert may_be_partial_fill(held, known, expected, SizeLimits(max_shrink=0.2)) is verdict


@given(st.integers(1, 10**6), st.integers(0, 10**6), shares, shares)
def test_a_list_of_an_allowed_size_is_never_a_partial_fill(
    expected: int, swept: int, max_shrink: float, max_growth: float
) -> None:
    limits = SizeLimits(max_shrink=max_shrink, max_growth=max_growth)
    held = max(0, expected - swept)
    if not size_violations(held, limits, SizeBaseline(expected, "as sent")):
        assert not may_be_partial_fill(held, held, expected, limits)


@given(st.integers(0, 10**6), st.integers(1, 10**6), shares)
def test_a_size_exceeds_the_growth_exactly_if_there_is_a_violation(rows: int, before: int, max_growth: float) -> None:
    limits, baseline = SizeLimits(max_growth=max_growth), SizeBaseline(before, "last replace")
    said = any("grows" in violation for violation in change_violations({"contact": rows}, limits, [baseline]))
    assert exceeds_growth(rows, limits, [baseline]) is said
