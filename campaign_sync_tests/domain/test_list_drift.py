"""Drift of lists after their proof, and when they are read back in full."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.list_drift import ListDrift, ReadBack, needs_full_read_back

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
people = st.integers(min_value=0, max_value=2_000_000)


@st.composite
def read_backs(draw: st.DrawFn) -> ReadBack:
    proven = draw(people)
    missing = draw(st.integers(0, proven))
    departed = draw(st.integers(0, proven - missing))
    changed = draw(st.integers(0, proven - missing - departed))
    unexpected = draw(people)
    return ReadBack(proven, proven - missing - departed + unexpected, missing, departed, changed, unexpected)


@given(proven=people, added=people)
def test_people_who_sign_up_are_no_drift_however_many(proven: int, added: int) -> None:
    assert not ReadBack(proven, proven + added, 0, 0, 0, added).drifted


@given(proven=people, data=st.data())
def test_people_who_left_are_no_drift_however_many(proven: int, data: st.DataObject) -> None:
    departed = data.draw(st.integers(0, proven))
    assert not ReadBack(proven, proven - departed, 0, departed, 0, 0).drifted


@given(proven=st.integers(1, 2_000_000), added=people)
def test_an_emptied_list_has_drifted_even_if_people_signed_up_since(proven: int, added: int) -> None:
    assert ReadBack(proven, added, proven, 0, 0, added).drifted


@given(read_backs())
def test_more_people_missing_never_make_it_better(read_back: ReadBack) -> None:
    if read_back.departed and read_back.drifted:
        worse = ReadBack(
            read_back.proven,
            read_back.in_list,
            read_back.missing + 1,
            read_back.departed - 1,
            read_back.changed,
            read_back.unexpected,
        )
        assert worse.drifted


@pytest.mark.parametrize(
    ("proven", "missing", "changed", "drifted"),
    [
        (16_922, 1, 0, False),  # a person was erased by hand
        (16_922, 16, 0, False),  # one of a thousand
        (16_922, 17, 0, True),
        (16_922, 0, 169, False),  # one of a hundred has edited the profile
        (16_922, 0, 170, True),
        (5, 2, 0, False),
        (5, 3, 0, True),
        (2, 1, 0, True),
        (1_000_000, 1_001, 0, True),
        (0, 0, 0, False),
    ],
)
def test_tolerated_differences_are_no_drift(proven: int, missing: int, changed: int, drifted: bool) -> None:
    assert ReadBack(proven, proven - missing, missing, 0, changed, 0).drifted is drifted


@given(proven=people)
def test_an_unchanged_list_is_not_read_in_full(proven: int) -> None:
    assert not needs_full_read_back(proven, None, proven, 0)


@given(proven=people, added=people, unexpected=st.integers(0, 200))
def test_unexpected_rows_that_the_growth_explains_are_not_read_in_full(
    proven: int, added: int, unexpected: int
) -> None:
    assert needs_full_read_back(proven, None, proven + added, unexpected) is (unexpected > added)


@given(proven=st.integers(1, 2_000_000), data=st.data())
def test_a_count_below_the_proven_one_is_read_in_full(proven: int, data: st.DataObject) -> None:
    assert needs_full_read_back(proven, None, data.draw(st.integers(0, proven - 1)), 0)


@given(read_backs())
def test_known_differences_are_not_read_again_until_they_change(read_back: ReadBack) -> None:
    known = min(200, read_back.unexpected + read_back.changed)
    assert needs_full_read_back(read_back.proven, read_back, read_back.in_list, known) is read_back.drifted
    if read_back.in_list:
        assert needs_full_read_back(read_back.proven, read_back, read_back.in_list - 1, 0)


def test_the_start_of_a_drift_remains_until_it_ends() -> None:
    bad, good = ReadBack(5, 0, 5, 0, 0, 0), ReadBack(5, 5, 0, 0, 0, 0)
    drift = ListDrift("nord", "newsletter", "r1").after_check(0, bad, NOON)
    assert drift.drifted_since == NOON
    later = drift.after_check(0, bad, NOON + timedelta(hours=1))
    assert (later.drifted_since, later.checked_at) == (NOON, NOON + timedelta(hours=1))
    assert later.after_check(5, good, NOON + timedelta(hours=2)).drifted_since is None


def test_a_failed_check_says_nothing_about_the_list() -> None:
    drift = ListDrift("nord", "newsletter", "r1").after_failed_check("out of reach", NOON)
    assert drift.drifted_since is None
    again = drift.after_failed_check("out of reach, still", NOON + timedelta(hours=1))
    assert (again.not_checked_since, again.not_checked_because) == (NOON, "out of reach, still")
    assert again.after_check(5, None, NOON + timedelta(hours=2)).not_checked_since is None


def test_a_read_back_is_summarized_in_counts() -> None:
    assert str(ReadBack(16_922, 16_922, 0, 0, 0, 0)) == "16,922 people are in it where 16,922 were proven"
    assert str(ReadBack(1000, 907, 100, 5, 3, 12)) == (
        "907 people are in it where 1,000 were proven: 100 are missing, 3 have other values, 5 have left since, "
        "12 were added at the vendor"
    )
