"""The tests of what a snapshot reads about people."""

from typing import Final

import pytest

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.testing.reads import granted, select
from campaign_sync.crm.testing.under_test import (
    COLUMNS,
    EVERYBODY,
    NEWS,
    REPORT_COLUMN,
    VISITORS,
    Capability,
    Consent,
    CrmUnderTest,
    Person,
)
from campaign_sync.domain.entity import Entity, EntityType

UGLY: Final = (
    "Jürgen Groß-Öttinger",
    "O'Neill \"Zoë\" ''",
    "👩‍👩‍👧‍👦 Ωmega",
    "a;b,c\\d|e\tf",
    "first line\r\nsecond",
    "%s {0} :name ?",
    "NULL",
    "  outer blanks ",
)
"""Values of columns that CRMs really have."""


def contact(entity_id: str, email: str | None = None, first_name: str | None = None, city: str | None = None) -> Person:
    """Return a contact."""
    return Person(Entity(EntityType.CONTACT, entity_id), email, first_name, city)


class SnapshotTests:
    """People of lists and reports, and records by id and address."""

    def test_check_passes(self, under_test: CrmUnderTest) -> None:
        under_test.open().check()

    def test_opt_ins_are_as_defined(self, under_test: CrmUnderTest) -> None:
        with under_test.open().snapshot() as snapshot:
            assert [snapshot.opt_in(opt_in.opt_in_id) for opt_in in under_test.opt_ins] == list(under_test.opt_ins)
            assert snapshot.opt_in("no such opt-in") is None
            for mandator in ("nord", "sued"):
                own = {opt_in.opt_in_id for opt_in in under_test.opt_ins if opt_in.mandator == mandator}
                assert snapshot.opt_in_ids(mandator) == own

    def test_everybody_in_a_list_comes_once_contacts_before_leads_before_accounts(
        self, under_test: CrmUnderTest
    ) -> None:
        types = [kind for kind in EntityType if kind in under_test.entity_types]
        people = [
            Person(Entity(kind, f"{kind}-{number}"), f"{kind}{number}@example.org")
            for kind in reversed(types)
            for number in (2, 1)
        ]
        under_test.set_up(people)
        frame = select(under_test, rows=1)
        assert frame["entity_id"].tolist() == [f"{kind}-{number}" for kind in types for number in (1, 2)]
        assert frame["entity_type"].tolist() == [kind.value for kind in types for _ in (1, 2)]

    def test_an_empty_list_has_no_people(self, under_test: CrmUnderTest) -> None:
        assert select(under_test).empty

    def test_values_come_as_the_crm_has_them(self, under_test: CrmUnderTest) -> None:
        people = [contact(f"c{number}", f"p{number}@example.org", value, value) for number, value in enumerate(UGLY)]
        under_test.set_up(people)
        frame = select(under_test, columns=COLUMNS)
        for column in COLUMNS:
            assert frame[column].tolist() == list(UGLY)

    def test_addresses_come_as_the_crm_spells_them(self, under_test: CrmUnderTest) -> None:
        spellings = ["Anna@Example.ORG", "müller@bücher.example", "o'neill+news@example.org", "no address"]
        under_test.set_up([contact(f"c{number}", email) for number, email in enumerate(spellings)])
        assert select(under_test)["email"].tolist() == spellings

    def test_a_person_without_an_address_is_in_the_selection(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([contact("c1")])
        frame = select(under_test)
        assert frame["entity_id"].tolist() == ["c1"]
        assert [address for address in frame["email"].fillna("") if address] == []

    def test_a_list_larger_than_every_part_of_a_read_is_complete(self, under_test: CrmUnderTest) -> None:
        people = [contact(f"c{number:06}", f"p{number}@example.org") for number in range(under_test.largest_chunk + 3)]
        under_test.set_up(people, *(Consent(person) for person in people))
        expected = [person.entity.entity_id for person in people]
        assert select(under_test, rows=under_test.largest_chunk // 2)["entity_id"].tolist() == expected
        assert granted(under_test) == set(expected)

    def test_ids_that_differ_in_case_only_are_different_people(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.IDS_BY_CASE)
        upper, lower = contact("AbC", "upper@example.org"), contact("aBc", "lower@example.org")
        under_test.set_up([upper, lower], Consent(upper))
        assert dict(select(under_test)[["entity_id", "email"]].itertuples(index=False)) == {
            "AbC": "upper@example.org",
            "aBc": "lower@example.org",
        }
        assert granted(under_test) == {"AbC"}
        with under_test.open().snapshot() as snapshot:
            assert snapshot.records([upper.entity]) == {upper.entity: upper.entity}
            assert snapshot.records([Entity(EntityType.CONTACT, "ABC")]) == {}

    def test_letters_with_and_without_accents_are_different_people(self, under_test: CrmUnderTest) -> None:
        plain, accented = contact("c1", "muller@example.org"), contact("c2", "müller@example.org")
        under_test.set_up([plain, accented], Consent(accented))
        assert granted(under_test) == {"c2"}
        with under_test.open().snapshot() as snapshot:
            assert snapshot.entities_with("MULLER@example.org") == [plain.entity]
            assert snapshot.entities_with("Müller@example.org") == [accented.entity]

    def test_members_without_a_record_or_a_known_type_are_in_the_selection(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.ANY_MEMBER)
        under_test.add_members([("contact", "gone"), ("partner", "p1")])
        frame = select(under_test)
        assert list(frame[["entity_type", "entity_id"]].itertuples(index=False, name=None)) == [
            ("contact", "gone"),
            ("partner", "p1"),
        ]
        assert frame["email"].isna().all()
        with under_test.open().snapshot() as snapshot:
            members = [member for chunk in snapshot.members(EVERYBODY) for member in chunk]
        assert members == [(Entity(EntityType.CONTACT, "gone"), None)]

    def test_members_come_with_their_addresses(self, under_test: CrmUnderTest) -> None:
        people = [contact(f"c{number}", f"P{number}@example.org") for number in range(9)]
        under_test.set_up(people)
        with under_test.open().snapshot() as snapshot:
            members = dict(member for chunk in snapshot.members(EVERYBODY) for member in chunk)
        assert members == {person.entity: person.email for person in people}

    def test_a_report_offers_its_own_columns_and_names_everybody_once(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.REPORTS)
        under_test.add_people([contact("c1", "a@example.org", "Anna"), contact("c2", "b@example.org", "Ben")])
        under_test.set_report([("c2", 5), ("c1", 7), ("c2", 3)])
        frame = select(under_test, VISITORS, ["first_name", REPORT_COLUMN])
        assert frame["entity_id"].tolist() == ["c1", "c2"]
        assert frame["first_name"].tolist() == ["Anna", "Ben"]
        assert frame[REPORT_COLUMN].tolist() == ["7", "3"]

    def test_what_the_crm_does_not_have_is_named(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([contact("c1", "anna@example.org")])
        with under_test.open().snapshot() as snapshot:
            with pytest.raises(CrmError, match="no_such_column"):
                list(snapshot.select(EVERYBODY, NEWS, ["no_such_column"]))
            with pytest.raises(CrmError, match="No such list"):
                list(snapshot.select(Pick("marketing_list", "No such list"), NEWS, []))

    def test_records_are_looked_up_by_id_and_address(self, under_test: CrmUnderTest) -> None:
        anna, ben, cem = contact("c1", " Anna@Example.org"), contact("c2", "anna@example.org"), contact("c3")
        under_test.set_up([anna, ben, cem])
        gone = Entity(EntityType.CONTACT, "gone")
        with under_test.open().snapshot() as snapshot:
            assert snapshot.entities_with("ANNA@example.org") == [anna.entity, ben.entity]
            assert snapshot.entities_with("unknown@example.org") == []
            assert snapshot.emails([anna.entity, cem.entity, gone]) == {
                anna.entity: " Anna@Example.org",
                cem.entity: "",
            }
            assert (snapshot.email(ben.entity), snapshot.email(gone)) == ("anna@example.org", None)
            assert snapshot.records([Entity(EntityType.CONTACT, " c1 "), gone]) == {
                Entity(EntityType.CONTACT, " c1 "): anna.entity
            }
