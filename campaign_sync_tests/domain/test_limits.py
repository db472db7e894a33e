"""Whether a new size is plausible."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.limits import SizeBaseline, SizeLimits, size_violations

LAST = SizeBaseline(100, "last replace")
shares = st.integers(0, 100).map(lambda percent: percent / 100)


@pytest.mark.parametrize(
    ("rows", "violation"),
    [
        (79, "the list shrinks by 21% from 100 (last replace) to 79, more than max_shrink 20%"),
        (151, "the list grows by 51% from 100 (last replace) to 151, more than max_growth 50%"),
    ],
)
def test_a_list_that_moves_too_far_is_told_in_a_sentence(rows: int, violation: str) -> None:
    assert size_violations(rows, SizeLimits(), LAST) == [violation]


def test_without_a_baseline_only_the_absolute_limits_count() -> None:
    limits = SizeLimits(min_rows=10, max_rows=20)
    assert size_violations(9, limits, None) == ["9 rows are fewer than min_rows 10"]
    assert size_violations(21, limits, None) == ["21 rows are more than max_rows 20"]
    assert size_violations(10, limits, None) == size_violations(20, limits, None) == []


def test_an_empty_selection_is_implausible_unless_it_is_allowed() -> None:
    assert size_violations(0, SizeLimits(), None)
    assert not size_violations(0, SizeLimits(min_rows=0), None)


def test_whatever_grows_from_nothing_has_grown_too_far() -> None:
    assert size_violations(1, SizeLimits(), SizeBaseline(0, "the list now")) == [
        "the list grows from 0 (the list now) to 1, more than max_growth 50%"
    ]


@given(st.integers(1, 10**7), shares, shares)
def test_moving_exactly_as_far_as_allowed_is_allowed_and_one_row_more_is_not(
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
