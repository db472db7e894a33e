"""Members of a proven list, and the rejections that explain who isn't one."""

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
REJECTED = Rejection("vendor", "bounced", 4, NOON - HOUR / 2, NOON - HOUR / 2, "today")
"""A rejection by today's replacement."""
PEOPLE = pd.DataFrame({"entity_type": "contact", "entity_id": ["1", "2", "3"]}, dtype="str")


def ids(members: Members) -> list[str]:
    return members.rows["entity_id"].tolist()


@pytest.mark.parametrize("stage", ["gate", "vendor", "sweep", "a stage of tomorrow"])
def test_people_rejected_by_the_replacement_are_not_in_the_list(stage: str) -> None:
    members = list_members(PEOPLE, TODAY, {"contact:2": [replace(REJECTED, stage=stage)]})
    assert (ids(members), members.uncertain) == (["1", "3"], 0)


@pytest.mark.parametrize(
    "rejection",
    [
        replace(REJECTED, run_id="yesterday", first_seen=NOON - DAY, last_seen=NOON - DAY),
        replace(REJECTED, run_id="tomorrow", first_seen=NOON + DAY, last_seen=NOON + DAY),
        replace(REJECTED, stage="selection"),
    ],
    ids=["before", "afterwards", "selection"],
)
def test_rejections_by_other_replacements_and_stages_do_not_affect_the_list(rejection: Rejection) -> None:
    assert ids(list_members(PEOPLE, TODAY, {"contact:2": [rejection]})) == ["1", "2", "3"]


def test_rejections_by_an_earlier_attempt_of_the_same_run_do_not_affect_the_list() -> None:
    retried = replace(TODAY, retried_after=NOON - HOUR / 4)
    assert ids(list_members(PEOPLE, retried, {"contact:2": [REJECTED]})) == ["1", "2", "3"]


OVERWRITTEN = replace(REJECTED, first_seen=NOON - 9 * DAY, last_seen=NOON + DAY, run_id="tomorrow")
"""A rejection before and after, so that it is unknown whether today's replacement rejected the row as well."""


@pytest.mark.parametrize(
    ("in_list", "expected", "uncertain"),
    [(3, ["1", "2", "3"], 0), (1, ["1"], 0), (2, ["1"], 2), (None, ["1"], 0)],
    ids=["none is missing", "all are missing", "one is missing", "not counted"],
)
def test_the_proven_count_decides_about_rejections_that_a_later_run_overwrote(
    in_list: int | None, expected: list[str], uncertain: int
) -> None:
    rejections = {"contact:2": [OVERWRITTEN], "contact:3": [OVERWRITTEN]}
    members = list_members(PEOPLE, replace(TODAY, in_list=in_list), rejections)
    assert (ids(members), members.uncertain) == (expected, uncertain)


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_the_members_are_those_proven_unless_some_are_uncertain(
    rejected: set[int], overwritten: set[int], other: set[int]
) -> None:
    """Of people with overwritten rejections, `other` weren't rejected by this replacement."""
    people = pd.DataFrame({"entity_type": "contact", "entity_id": [str(number) for number in range(10)]}, dtype="str")
    hidden = overwritten - rejected
    rejections: Mapping[str, list[Rejection]] = {
        **{f"contact:{number}": [REJECTED] for number in rejected},
        **{f"contact:{number}": [OVERWRITTEN] for number in hidden},
    }
    truth = {str(number) for number in range(10)} - {str(number) for number in rejected | (hidden - other)}

    members = list_members(people, replace(TODAY, in_list=len(truth)), rejections)

    assert set(ids(members)) <= truth
    assert members.uncertain or set(ids(members)) == truth
    assert len(members.rows) <= len(truth) <= len(members.rows) + members.uncertain


def selection(reason: str, first: datetime, last: datetime, run_id: str) -> Rejection:
    return Rejection("selection", reason, None, first, last, run_id)


def test_the_reason_is_that_of_the_replacement_or_its_snapshot() -> None:
    own = selection("no_consent", NOON - 9 * DAY, NOON - 2 * HOUR, "today")
    earlier = selection("bounced", NOON - 3 * HOUR, NOON - 3 * HOUR, "an attempt at eight")
    assert absence_reason([earlier, own], TODAY, in_snapshot=False) is own
    assert absence_reason([own, REJECTED], TODAY, in_snapshot=True) is REJECTED


def test_if_a_later_run_overwrote_it_the_reason_that_began_last_counts() -> None:
    long_ago = selection("no_address", NOON - 9 * DAY, NOON + DAY, "tomorrow")
    lately = selection("no_consent", NOON - 2 * HOUR, NOON + DAY, "tomorrow")
    afterwards = selection("bounced", NOON + HOUR, NOON + DAY, "tomorrow")
    assert absence_reason([long_ago, lately, afterwards], TODAY, in_snapshot=False) is lately


def test_a_reason_that_ended_before_the_previous_proof_explains_nothing() -> None:
    over = selection("no_consent", NOON - 9 * DAY, NOON - 2 * DAY, "last week")
    assert absence_reason([over], TODAY, in_snapshot=False) is None
    assert absence_reason([over], replace(TODAY, since=None), in_snapshot=False) is over


def test_the_reason_for_a_replayed_snapshot_is_that_of_its_own_run() -> None:
    over = selection("no_consent", NOON - 9 * DAY, NOON - 2 * DAY, "last week")
    assert absence_reason([over], replace(TODAY, snapshot_run_id="last week"), in_snapshot=False) is over


def test_rejections_after_the_proof_are_separate_from_those_before() -> None:
    old = selection("no_consent", NOON - 9 * DAY, NOON - 8 * DAY, "last week")
    new = selection("bounced", NOON + HOUR, NOON + HOUR, "refused")
    assert explain_membership([old, new], TODAY, in_snapshot=True, in_list=True) == MembershipExplanation(
        None, (new,), (old,)
    )
    assert explain_membership([old, new, REJECTED], TODAY, in_snapshot=True, in_list=False) == MembershipExplanation(
        REJECTED, (new,), (old,)
    )


def test_all_rejections_from_a_list_that_was_never_proven_are_listed_newest_first() -> None:
    old = selection("no_consent", NOON - 9 * DAY, NOON - 8 * DAY, "last week")
    new = selection("bounced", NOON + HOUR, NOON + HOUR, "refused")
    assert explain_membership([old, new], None, in_snapshot=False, in_list=False) == MembershipExplanation(
        None, (new, old), ()
    )
