"""Who is in a list that was proven, and which entry of the ledger says why somebody isn't."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.membership import (
    Members,
    MembershipExplanation,
    ProvenReplacement,
    Rejection,
    absence_reason,
    explain_membership,
    list_members,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = ProvenReplacement("today", "today", NOON - HOUR, NOON, None, since=NOON - DAY)
REFUSED = Rejection("vendor", "bounced", 4, NOON - HOUR / 2, NOON - HOUR / 2, "today")
"""Turned away by today's replace."""
PEOPLE = pd.DataFrame({"entity_type": "contact", "entity_id": ["1", "2", "3"]}, dtype="str")


def who(found: Members) -> list[str]:
    return found.rows["entity_id"].tolist()


@pytest.mark.parametrize("stage", ["gate", "vendor", "sweep", "a stage of tomorrow"])
def test_whoever_that_replace_turned_away_is_not_in_the_list(stage: str) -> None:
    found = list_members(PEOPLE, TODAY, {"contact:2": [replace(REFUSED, stage=stage)]})
    assert (who(found), found.uncertain) == (["1", "3"], 0)


@pytest.mark.parametrize(
    "entry",
    [
        replace(REFUSED, run_id="yesterday", first_seen=NOON - DAY, last_seen=NOON - DAY),
        replace(REFUSED, run_id="tomorrow", first_seen=NOON + DAY, last_seen=NOON + DAY),
        replace(REFUSED, stage="selection"),
    ],
    ids=["before", "afterwards", "selection"],
)
def test_what_other_replaces_and_stages_turned_away_says_nothing_about_this_list(entry: Rejection) -> None:
    assert who(list_members(PEOPLE, TODAY, {"contact:2": [entry]})) == ["1", "2", "3"]


def test_what_an_earlier_attempt_of_the_same_run_turned_away_may_be_in_the_list_by_now() -> None:
    retried = replace(TODAY, retried_after=NOON - HOUR / 4)
    assert who(list_members(PEOPLE, retried, {"contact:2": [REFUSED]})) == ["1", "2", "3"]


WRITTEN_OVER = replace(REFUSED, first_seen=NOON - 9 * DAY, last_seen=NOON + DAY, run_id="tomorrow")
"""Turned away before and after, so that the ledger doesn't tell whether today's replace did as well."""


@pytest.mark.parametrize(
    ("in_list", "expected", "uncertain"),
    [(3, ["1", "2", "3"], 0), (1, ["1"], 0), (2, ["1"], 2), (None, ["1"], 0)],
    ids=["nobody is missing", "all are missing", "one of them is missing", "nobody counted"],
)
def test_the_number_that_was_proven_tells_what_a_later_run_has_written_over(
    in_list: int | None, expected: list[str], uncertain: int
) -> None:
    ledger = {"contact:2": [WRITTEN_OVER], "contact:3": [WRITTEN_OVER]}
    found = list_members(PEOPLE, replace(TODAY, in_list=in_list), ledger)
    assert (who(found), found.uncertain) == (expected, uncertain)


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_as_many_are_found_as_were_proven_unless_it_says_how_many_are_in_doubt(
    refused: set[int], refused_before_and_after: set[int], other: set[int]
) -> None:
    """Of those whose entries were written over, `other` weren't turned away by this replace."""
    people = pd.DataFrame({"entity_type": "contact", "entity_id": [str(number) for number in range(10)]}, dtype="str")
    hidden = refused_before_and_after - refused
    ledger: Mapping[str, list[Rejection]] = {
        **{f"contact:{number}": [REFUSED] for number in refused},
        **{f"contact:{number}": [WRITTEN_OVER] for number in hidden},
    }
    truth = {str(number) for number in range(10)} - {str(number) for number in refused | (hidden - other)}

    found = list_members(people, replace(TODAY, in_list=len(truth)), ledger)

    assert set(who(found)) <= truth
    assert found.uncertain or set(who(found)) == truth
    assert len(found.rows) <= len(truth) <= len(found.rows) + found.uncertain


def selection(reason: str, first: datetime, last: datetime, run_id: str) -> Rejection:
    return Rejection("selection", reason, None, first, last, run_id)


def test_the_reason_is_what_the_replace_or_its_snapshot_entered() -> None:
    own = selection("no_consent", NOON - 9 * DAY, NOON - 2 * HOUR, "today")
    earlier = selection("bounced", NOON - 3 * HOUR, NOON - 3 * HOUR, "an attempt at eight")
    assert absence_reason([earlier, own], TODAY, in_snapshot=False) is own
    assert absence_reason([own, REFUSED], TODAY, in_snapshot=True) is REFUSED


def test_where_a_later_run_has_written_over_it_the_reason_is_what_came_up_last() -> None:
    long_ago = selection("no_address", NOON - 9 * DAY, NOON + DAY, "tomorrow")
    lately = selection("no_consent", NOON - 2 * HOUR, NOON + DAY, "tomorrow")
    afterwards = selection("bounced", NOON + HOUR, NOON + DAY, "tomorrow")
    assert absence_reason([long_ago, lately, afterwards], TODAY, in_snapshot=False) is lately


def test_a_reason_that_was_over_before_the_proof_before_explains_nothing() -> None:
    over = selection("no_consent", NOON - 9 * DAY, NOON - 2 * DAY, "last week")
    assert absence_reason([over], TODAY, in_snapshot=False) is None
    assert absence_reason([over], replace(TODAY, since=None), in_snapshot=False) is over


def test_the_reason_of_an_old_snapshot_that_was_sent_once_more_is_what_its_own_run_entered() -> None:
    over = selection("no_consent", NOON - 9 * DAY, NOON - 2 * DAY, "last week")
    assert absence_reason([over], replace(TODAY, snapshot_run_id="last week"), in_snapshot=False) is over


def test_what_runs_since_the_proof_found_is_told_apart_from_what_was_before() -> None:
    old = selection("no_consent", NOON - 9 * DAY, NOON - 8 * DAY, "last week")
    new = selection("bounced", NOON + HOUR, NOON + HOUR, "refused")
    assert explain_membership([old, new], TODAY, in_snapshot=True, in_list=True) == MembershipExplanation(
        None, (new,), (old,)
    )
    assert explain_membership([old, new, REFUSED], TODAY, in_snapshot=True, in_list=False) == MembershipExplanation(
        REFUSED, (new,), (old,)
    )


def test_of_a_list_that_was_never_proven_everything_is_told_newest_first() -> None:
    old = selection("no_consent", NOON - 9 * DAY, NOON - 8 * DAY, "last week")
    new = selection("bounced", NOON + HOUR, NOON + HOUR, "refused")
    assert explain_membership([old, new], None, in_snapshot=False, in_list=False) == MembershipExplanation(
        None, (new, old), ()
    )
