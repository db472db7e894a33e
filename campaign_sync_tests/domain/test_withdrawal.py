"""Which withdrawals count although the CRM doesn't show them any more."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.withdrawal import (
    AbsentWithdrawals,
    ConsentingPerson,
    KnownWithdrawal,
    ShownWithdrawal,
    check_withdrawals,
    updated_withdrawals,
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
    """Whom withdrawals that vanished keep out, and whose withdrawals these are."""
    judgement = AbsentWithdrawals.of(remembered, shown).review(people)
    return {each.person.key: [one.entity for one in each.withdrawals] for each in judgement.vanished}


def test_a_withdrawal_that_is_gone_counts_for_who_has_no_newer_consent() -> None:
    assert vanished([known()], [person(at=1), person("e2", "a2")]) == {"contact:e1": ["e1"]}
    assert vanished([known()], [person(at=5)]) == {"contact:e1": ["e1"]}, "at the same moment a withdrawal wins"


def test_it_counts_whatever_address_its_record_has_by_now() -> None:
    assert vanished([known()], [person(address="other")]) == {"contact:e1": ["e1"]}
    assert vanished([known()], [person(address=None)]) == {"contact:e1": ["e1"]}


def test_whoever_has_the_address_of_a_record_that_is_gone_is_kept_out_unless_they_consented_later() -> None:
    assert vanished([known("gone")], [person("e2", "a1", at=1), person("e3", "a1", at=6)]) == {"contact:e2": ["gone"]}


def test_a_newer_consent_of_its_own_record_ends_it_for_everybody_with_the_address() -> None:
    people = [person("e1", "a1", at=6), person("e2", "a1", at=1)]
    assert vanished([known()], people) == {}
    assert AbsentWithdrawals.of([known()], ()).review(people).superseded == {"e1"}


def test_a_newer_consent_of_another_record_ends_nothing() -> None:
    assert vanished([known()], [person("e1", at=1), person("e2", "a1", at=9)]) == {"contact:e1": ["e1"]}


def test_what_the_crm_still_shows_is_not_absent() -> None:
    shown = ShownWithdrawal("e1", "a1", day(5))
    assert not AbsentWithdrawals.of([known()], [shown])


def test_a_record_that_withdrew_and_lost_its_address_still_speaks_for_the_address_it_had() -> None:
    assert vanished([known()], [person("e2", "a1", at=1)], ShownWithdrawal("e1", None, day(5))) == {
        "contact:e2": ["e1"]
    }


def test_a_record_whose_newer_withdrawal_is_gone_still_speaks_for_its_address() -> None:
    people = [person("e2", "a1", at=3)]
    assert vanished([known()], people, ShownWithdrawal("e1", "a1", day(2))) == {"contact:e2": ["e1"]}


def test_a_merged_record_whose_withdrawal_came_along_is_no_finding() -> None:
    merged = [known("old"), known("new")]
    assert vanished(merged, [person("e3", "a1", at=9)], ShownWithdrawal("new", "a1", day(5))) == {}


def test_all_withdrawals_that_keep_somebody_out_are_named_the_newest_first() -> None:
    remembered = [known("e1", at=3), known("gone", at=7), known("gone-too", at=5)]
    assert vanished(remembered, [person()]) == {"contact:e1": ["gone", "gone-too", "e1"]}


def test_the_newest_time_is_remembered_and_an_address_is_not_forgotten() -> None:
    before = {"e1": known(at=5)}
    shown = [ShownWithdrawal("e1", None, day(9)), ShownWithdrawal("e2", "a2", day(1))]
    assert updated_withdrawals(before, shown, NOW) == {"e1": known(at=9), "e2": known("e2", "a2", 1)}
    assert updated_withdrawals(before, [ShownWithdrawal("e1", "a1", day(2))], NOW) == {}


def test_one_that_was_missing_and_is_shown_again_is_missing_no_longer() -> None:
    before = {"e1": known()._replace(missing_since=day(6))}
    assert updated_withdrawals(before, [ShownWithdrawal("e1", "a1", day(5))], NOW) == {"e1": known()}


@pytest.mark.parametrize("at", [None, NOW + timedelta(days=13_000)])
def test_a_withdrawal_without_a_time_or_with_one_to_come_happened_when_it_was_first_seen(at: datetime | None) -> None:
    shown = [ShownWithdrawal("e1", "a1", at)]
    first = updated_withdrawals({}, shown, NOW)
    assert first["e1"].withdrawn_at == NOW
    assert updated_withdrawals(first, shown, NOW + timedelta(days=1)) == {}
    assert not AbsentWithdrawals.of(first.values(), shown)


ENTITIES, ADDRESSES, DAYS = st.sampled_from(["e1", "e2", "e3"]), st.sampled_from(["a1", "a2", None]), st.integers(0, 9)
KNOWN = st.lists(st.builds(known, ENTITIES, ADDRESSES, DAYS), unique_by=lambda one: one.entity)
PEOPLE = st.lists(st.builds(person, ENTITIES, ADDRESSES, DAYS), unique_by=lambda one: one.key)


@given(KNOWN, PEOPLE)
def test_nobody_consents_again_without_a_consent_newer_than_their_own_withdrawal(
    remembered: list[KnownWithdrawal], people: list[ConsentingPerson]
) -> None:
    withdrawn = {one.entity: one.withdrawn_at for one in remembered}
    kept_out = vanished(remembered, people)
    for one in people:
        at = withdrawn.get(one.entity_pseudonym)
        if at is not None and one.consented_at <= at:
            assert one.key in kept_out


@given(KNOWN, PEOPLE)
def test_whoever_is_kept_out_has_a_withdrawal_against_them_that_is_not_older_than_their_consent(
    remembered: list[KnownWithdrawal], people: list[ConsentingPerson]
) -> None:
    for each in AbsentWithdrawals.of(remembered, ()).review(people).vanished:
        for one in each.withdrawals:
            assert one.withdrawn_at >= each.person.consented_at
            assert each.person.entity_pseudonym == one.entity or each.person.address_pseudonym == one.address


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
def test_from_ten_people_and_one_percent_on_the_list_is_refused(
    people: int, remembered: int, passed: bool, stops: bool
) -> None:
    outcome = check_withdrawals("news", people, remembered, "campaign-sync run nord")
    assert (outcome.passed, outcome.stops) == (passed, stops)
    assert passed or (str(people) in outcome.summary and "`campaign-sync run nord`" in outcome.summary)
