"""The tests of filters, which every adapter applies by the same table of truth."""

from typing import Final

import pytest

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.testing.reads import select
from campaign_sync.crm.testing.under_test import NEWS, Consent, CrmUnderTest, Person
from campaign_sync.domain.consent import GRANTING
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.filter import AllOf, AnyOf, Comparison, Condition, NotOf

_PEOPLE: Final = {
    "a": ("Anna", "Köln"),
    "b": ("anna ", "KÖLN"),
    "c": ("Ben", "Koln"),
    "d": ("7", "Ko\u0308ln"),
    "e": ("10", None),
    "f": (None, "Bonn"),
    "g": ("2026-03-01", "Straße 5"),
    "h": ("2026-03-02T00:30:00+01:00", "100%"),
    "i": ("O'Neill", "  "),
}
"""First name and city by id."""

_COLOGNE: Final = Comparison("city", "=", ("köln",))

_TABLE: Final[tuple[tuple[Condition, str], ...]] = (
    (_COLOGNE, "abd"),
    (NotOf(_COLOGNE), "cfgh"),
    (Comparison("city", "is null"), "ei"),
    (NotOf(Comparison("city", "is null")), "abcdfgh"),
    (Comparison("city", "in", ("bonn", "KOLN")), "cf"),
    (NotOf(Comparison("city", "in", ("bonn", "KOLN"))), "abdgh"),
    (Comparison("city", "like", ("k_ln",)), "abcd"),
    (Comparison("city", "like", ("%strasse%",)), "g"),
    (Comparison("city", "like", ("Stra_e%",)), "g"),
    (Comparison("city", "like", ("%\\%",)), "h"),
    (Comparison("first_name", "=", ("ANNA",)), "ab"),
    (Comparison("first_name", "=", ("7.0",)), ""),
    (Comparison("first_name", "=", (7.0,)), "d"),
    (Comparison("first_name", ">", (7,)), "e"),
    (NotOf(Comparison("first_name", ">", (7,))), "d"),
    (Comparison("first_name", "<", ("3",)), "egh"),
    (Comparison("first_name", "=", ("2026-03-01",)), "gh"),
    (Comparison("first_name", ">", ("2026-03-01T12:00:00+00:00",)), "h"),
    (AllOf((_COLOGNE, Comparison("first_name", "=", ("anna",)))), "ab"),
    (NotOf(AllOf((_COLOGNE, Comparison("first_name", "=", ("anna",))))), "cdefghi"),
    (AnyOf((_COLOGNE, Comparison("first_name", "=", ("anna",)))), "abd"),
    (NotOf(AnyOf((_COLOGNE, Comparison("first_name", "=", ("anna",))))), "cgh"),
)
"""Conditions, and the ids of those who fulfil them."""


def _filter(condition: Condition, entity_type: EntityType = EntityType.CONTACT) -> Pick:
    return Pick("filter", "conformance", entity_type, condition)


def _people() -> list[Person]:
    return [
        Person(Entity(EntityType.CONTACT, entity_id), f"{entity_id}@example.org", first_name, city)
        for entity_id, (first_name, city) in _PEOPLE.items()
    ]


class FilterTests:
    """People by the values of their columns."""

    def test_filters_pick_by_the_table_of_truth(self, under_test: CrmUnderTest) -> None:
        under_test.add_people(_people())
        with under_test.open().snapshot([NEWS]) as snapshot:
            for condition, expected in _TABLE:
                pick = _filter(condition)
                picked = [entity_id for frame in snapshot.select(pick, NEWS, []) for entity_id in frame["entity_id"]]
                assert "".join(picked) == expected, condition
                members = [entity.entity_id for chunk in snapshot.members(pick) for entity, _ in chunk]
                assert "".join(sorted(members)) == expected, condition

    def test_people_in_a_filter_have_their_consents(self, under_test: CrmUnderTest) -> None:
        people = _people()
        under_test.add_people(people)
        under_test.add_consents([Consent(people[1])])
        frame = select(under_test, _filter(_COLOGNE), ["first_name"])
        assert frame["consent_kind"].isin([kind.value for kind in GRANTING]).tolist() == [False, True, False]
        assert frame["first_name"].str.strip().tolist() == ["Anna", "anna", "7"]

    def test_an_unknown_field_of_a_filter_is_named(self, under_test: CrmUnderTest) -> None:
        under_test.add_people(_people())
        pick = _filter(Comparison("no_such_column", "is null"))
        with under_test.open().snapshot() as snapshot:
            with pytest.raises(CrmError, match="no_such_column"):
                list(snapshot.select(pick, NEWS, []))
            with pytest.raises(CrmError, match="no_such_column"):
                list(snapshot.members(pick))
