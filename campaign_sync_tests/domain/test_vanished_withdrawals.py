"""Withdrawals that apply although the CRM doesn't show them any more."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.vanished_withdrawals import (
    AbsentWithdrawals,
    ConsentingPerson,
    KnownWithdrawal,
    ShownWithdrawal,
    check_withdrawals,
    updated_withdrawals,
    with_refused,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def day(number: int) -> datetime:
    return NOW - timedelta(days=30 - number)


def known(entity: str = "e1", address: str | None = "a1", at: int = 5) -> KnownWithdrawal:
    return KnownWithdrawal(entity, address, day(at))


def person(entity: str = "e1", address: str | None = "a1", at: int = 1) -> ConsentingPerson:
    return ConsentingPerson(f"contact:{entity}", address, entity, address, day(at))


def vanished(
    remembered: list[KnownWithdrawal], people: list[ConsentingPerson], *shown: ShownWithdrawal
) -> dict[str, list[str]]:
    """Return the entities of the vanished withdrawals by the people that they apply to."""
    review = AbsentWithdrawals.of(remembered, shown).review(people)
    return {entry.person.key: [withdrawal.entity for withdrawal in entry.withdrawals] for entry in review.vanished}


def test_a_vanished_withdrawal_applies_to_people_without_a_newer_consent() -> None:
    assert vanished([known()], [person(at=1), person("e2", "a2")]) == {"contact:e1": ["e1"]}
    assert vanished([known()], [person(at=5)]) == {"contact:e1": ["e1"]}, "at the same moment the withdrawal counts"


def test_it_applies_to_its_record_with_any_address() -> None:
    assert vanished([known()], [person(address="other")]) == {"contact:e1": ["e1"]}
    assert vanished([known()], [person(address=None)]) == {"contact:e1": ["e1"]}


def test_it_applies_to_everybody_with_the_address_of_a_deleted_record_who_did_not_consent_later() -> None:
    assert vanished([known("gone")], [person("e2", "a1", at=1), person("e3", "a1", at=6)]) == {"contact:e2": ["gone"]}


def test_a_newer_consent_of_its_own_record_supersedes_it_for_everybody_with_the_address() -> None:
    people = [person("e1", "a1", at=6), person("e2", "a1", at=1)]
    assert vanished([known()], people) == {}
    assert AbsentWithdrawals.of([known()], ()).review(people).superseded == {"e1"}


def test_a_newer_consent_of_another_record_supersedes_nothing() -> None:
    assert vanished([known()], [person("e1", at=1), person("e2", "a1", at=9)]) == {"contact:e1": ["e1"]}


def test_a_withdrawal_that_the_crm_shows_is_not_absent() -> None:
    shown = ShownWithdrawal("e1", "a1", day(5))
    assert not AbsentWithdrawals.of([known()], [shown])


def test_the_withdrawal_of_a_record_that_lost_its_address_applies_to_that_address() -> None:
    assert vanished([known()], [person("e2", "a1", at=1)], ShownWithdrawal("e1", None, day(5))) == {
        "contact:e2": ["e1"]
    }


def test_a_vanished_newer_withdrawal_of_a_record_applies_to_its_address() -> None:
    people = [person("e2", "a1", at=3)]
    assert vanished([known()], people, ShownWithdrawal("e1", "a1", day(2))) == {"contact:e2": ["e1"]}


def test_a_merged_record_that_kept_its_withdrawal_has_no_vanished_one() -> None:
    merged = [known("old"), known("new")]
    assert vanished(merged, [person("e3", "a1", at=9)], ShownWithdrawal("new", "a1", day(5))) == {}


def test_all_withdrawals_against_a_person_are_listed_newest_first() -> None:
    remembered = [known("e1", at=3), known("gone", at=7), known("gone-too", at=5)]
    assert vanished(remembered, [person()]) == {"contact:e1": ["gone", "gone-too", "e1"]}


def test_the_newest_time_is_stored_and_an_address_is_kept() -> None:
    before = {"e1": known(at=5)}
    shown = [ShownWithdrawal("e1", None, day(9)), ShownWithdrawal("e2", "a2", day(1))]
    assert updated_withdrawals(before, shown, NOW) == {"e1": known(at=9), "e2": known("e2", "a2", 1)}
    assert updated_withdrawals(before, [ShownWithdrawal("e1", "a1", day(2))], NOW) == {}


def test_a_missing_withdrawal_that_is_shown_again_is_not_missing_any_more() -> None:
    before = {"e1": known()._replace(missing_since=day(6))}
    assert updated_withdrawals(before, [ShownWithdrawal("e1", "a1", day(5))], NOW) == {"e1": known()}


@pytest.mark.parametrize("at", [None, NOW + timedelta(days=13_000)])
def test_a_withdrawal_without_a_past_time_counts_from_when_it_was_first_seen(at: datetime | None) -> None:
    shown = [ShownWithdrawal("e1", "a1", at)]
    first = updated_withdrawals({}, shown, NOW)
    assert first["e1"].withdrawn_at == NOW
    assert updated_withdrawals(first, shown, NOW + timedelta(days=1)) == {}
    assert not AbsentWithdrawals.of(first.values(), shown)


ENTITIES, ADDRESSES, DAYS = st.sampled_from(["e1", "e2", "e3"]), st.sampled_from(["a1", "a2", None]), st.integers(0, 9)
KNOWN = st.lists(st.builds(known, ENTITIES, ADDRESSES, DAYS), unique_by=lambda withdrawal: withdrawal.entity)
PEOPLE = st.lists(st.builds(person, ENTITIES, ADDRESSES, DAYS), unique_by=lambda person: person.key)


@given(KNOWN, PEOPLE)
def test_only_a_consent_newer_than_the_own_withdrawal_supersedes_it(
    remembered: list[KnownWithdrawal], people: list[ConsentingPerson]
) -> None:
    withdrawn = {withdrawal.entity: withdrawal.withdrawn_at for withdrawal in remembered}
    kept_out = vanished(remembered, people)
    for consenting in people:
        at = withdrawn.get(consenting.entity_pseudonym)
        if at is not None and consenting.consented_at <= at:
            assert consenting.key in kept_out


@given(KNOWN, PEOPLE)
def test_vanished_withdrawals_are_not_older_than_the_consents_they_contradict(
    remembered: list[KnownWithdrawal], people: list[ConsentingPerson]
) -> None:
    for consenting, withdrawals in AbsentWithdrawals.of(remembered, ()).review(people).vanished:
        for withdrawal in withdrawals:
            assert withdrawal.withdrawn_at >= consenting.consented_at
            is_own = consenting.entity_pseudonym == withdrawal.entity
            assert is_own or consenting.address_pseudonym == withdrawal.address


@pytest.mark.parametrize(
    ("people", "remembered", "passed", "stops"),
    [
        (0, 500, True, False),
        (1, 1, False, False),
        (9, 9, False, False),
        (10, 1_000, False, True),
        (10, 1_001, False, False),
        (12, 40, False, True),
    ],
)
def test_from_ten_people_and_one_percent_on_the_list_is_stopped(
    people: int, remembered: int, passed: bool, stops: bool
) -> None:
    outcome = check_withdrawals("news", people, remembered, "campaign-sync run nord")
    assert (outcome.passed, outcome.stops) == (passed, stops)
    assert passed or (str(people) in outcome.summary and "`campaign-sync run nord`" in outcome.summary)


def test_a_withdrawal_that_changes_has_to_be_compared_with_everybody_again() -> None:
    compared = known()._replace(absent_since=NOW)
    same = ShownWithdrawal("e1", "a1", day(5))
    assert updated_withdrawals({"e1": compared}, [same], NOW) == {}
    for shown in (same._replace(withdrawn_at=day(6)), same._replace(address="other")):
        assert updated_withdrawals({"e1": compared}, [shown], NOW)["e1"].absent_since is None
    (newer,) = with_refused({"e1": compared}, [known(address="e1", at=7)]).values()
    assert (newer.withdrawn_at, newer.absent_since) == (day(7), None)
