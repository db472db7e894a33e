"""Looking up records by address or by id."""

from datetime import timedelta

import pandas as pd
import pytest

from campaign_sync.crm.testing.reads import consenting
from campaign_sync.domain.consent import ConsentEvent, ConsentKind
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.small_crm import NOON, SmallCrm

ANNA = Entity(EntityType.CONTACT, "c1")


def test_all_records_with_an_address_are_found_in_any_spelling(small: SmallCrm) -> None:
    small.person("a1", "ANNA@büro.example.org", kind="account")
    small.person("l1", " anna@xn--bro-hoa.example.org", kind="lead")
    small.person("c2", "Anna@BÜRO.example.org ")
    small.person("c1", "anna@büro.example.org")
    small.person("c3", "bea@büro.example.org")
    small.person("c4", None)
    with small.crm.snapshot() as snapshot:
        entities = snapshot.entities_with("Anna@Büro.Example.org")
        assert [str(entity) for entity in entities] == ["contact:c1", "contact:c2", "lead:l1", "account:a1"]
        assert snapshot.entities_with("unknown@example.org") == snapshot.entities_with("") == []


def test_an_address_that_mail_cannot_be_sent_to_is_found_as_well(small: SmallCrm) -> None:
    small.person("c1", "Anna Example.org")
    with small.crm.snapshot() as snapshot:
        assert snapshot.entities_with("anna example.org") == [ANNA]


def test_an_entity_has_an_address_none_or_is_not_there(small: SmallCrm) -> None:
    small.person("c1", " Anna@example.org")
    small.person("c2", None)
    with small.crm.snapshot() as snapshot:
        assert snapshot.email(ANNA) == " Anna@example.org"
        assert snapshot.email(Entity(EntityType.CONTACT, "c2")) == ""
        assert snapshot.email(Entity(EntityType.LEAD, "c1")) is None


def test_an_address_that_is_not_utf8_is_marked_and_the_others_are_found(small_sqlite: SmallCrm) -> None:
    small_sqlite.person("c1", "anna@example.org")
    small_sqlite.person("c2", "ben@example.org")
    small_sqlite.execute("UPDATE contact SET email = CAST(x'FC406578' AS TEXT) WHERE id = 'c1'")
    with small_sqlite.crm.snapshot() as snapshot:
        assert snapshot.email(ANNA) == "\ufffd@ex"
        assert snapshot.entities_with("ben@example.org") == [Entity(EntityType.CONTACT, "c2")]


def test_consent_events_come_by_opt_in_and_in_order_of_time(small: SmallCrm) -> None:
    small.consent("c1", event="withdrawn", days=2, event_id="w")
    small.consent("c1", event="granted", days=1, event_id="g")
    small.consent("c1", "press", "confirmed", event_id="p")
    small.consent("c1", kind="lead")
    with small.crm.snapshot() as snapshot:
        assert snapshot.consents(ANNA) == {
            "news": [
                ConsentEvent("g", ConsentKind.GRANTED, NOON + timedelta(days=1), "form"),
                ConsentEvent("w", ConsentKind.WITHDRAWN, NOON + timedelta(days=2), "form"),
            ],
            "press": [ConsentEvent("p", ConsentKind.CONFIRMED, NOON, "form")],
        }
        assert snapshot.consents(Entity(EntityType.CONTACT, "c2")) == {}


def test_a_consent_event_has_its_evidence_and_its_text_version(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", event_id="g")
    small.execute("UPDATE consent_event SET evidence = 'mail of 1 March', text_version = '2026-03'")

    with small.crm.snapshot() as snapshot:
        (event,) = snapshot.consents(ANNA)["news"]
    assert (event.source, event.evidence, event.text_version) == ("form", "mail of 1 March", "2026-03")
    columns = ["consent_source", "consent_evidence", "consent_text_version"]
    assert small.selected()[columns].values.tolist() == [["form", "mail of 1 March", "2026-03"]]


def test_an_event_of_an_unknown_kind_is_unclear(small: SmallCrm) -> None:
    small.consent("c1", event="maybe", event_id="m")
    with small.crm.snapshot() as snapshot:
        assert snapshot.consents(ANNA) == {"news": [ConsentEvent("m", ConsentKind.UNCLEAR, NOON, "form")]}


def test_only_a_grant_and_a_confirmation_make_a_person_consenting(small: SmallCrm) -> None:
    for number, event in enumerate(("granted", "confirmed", "withdrawn", "revoked", "requested"), start=1):
        small.person(f"c{number}", f"person{number}@example.org")
        small.consent(f"c{number}")
        small.consent(f"c{number}", event=event, days=1)
    with small.crm.snapshot() as snapshot:
        assert sorted(entity for entity, *_ in consenting(snapshot, "news")) == ["contact:c1", "contact:c2"]


def test_consenting_people_come_with_the_time_of_the_consent_that_decides(small: SmallCrm) -> None:
    small.person("c1", " Anna@example.org")
    small.consent("c1")
    small.consent("c1", event="confirmed", days=2)
    with small.crm.snapshot() as snapshot:
        assert consenting(snapshot, "news") == [("contact:c1", " Anna@example.org", NOON + timedelta(days=2))]


def test_of_a_large_crm_only_the_records_that_matter_are_read_and_judged_alike(small: SmallCrm) -> None:
    kinds = ("granted", "withdrawn", "revoked", "confirmed", "requested")
    for number in range(40):
        small.person(f"c{number}", f"person{number}@example.org", kind=("contact", "lead")[number % 2])
        for step in range(number % 4):
            event = kinds[(number + 3 * step) % 5]
            small.consent(f"c{number}", event=event, kind=("contact", "lead")[number % 2], days=step)
    among = pd.DataFrame({"entity_type": ["lead", "contact", "contact"], "entity_id": ["c5", "c15", "c2"]}, dtype="str")
    with small.crm.snapshot() as snapshot:
        everybody = consenting(snapshot, "news")
        keys = set(among["entity_type"] + ":" + among["entity_id"])
        expected = sorted(person for person in everybody if person[0] in keys)
        assert 0 < len(expected) < len(everybody)
        assert sorted(consenting(snapshot, "news", among)) == expected
        assert consenting(snapshot, "news", among.head(0)) == []


def add_consenting(small: SmallCrm, people: int, record: str = "c{}", event: str = "c{}") -> None:
    """Add people who consent, with these ids in their records and in their events."""
    for number in range(people):
        small.person(record.format(number), f"person{number}@example.org")
        small.consent(event.format(number))


def contacts(*ids: str) -> pd.DataFrame:
    return pd.DataFrame({"entity_type": "contact", "entity_id": ids}, dtype="str")


def test_where_many_records_matter_all_are_read(small: SmallCrm) -> None:
    add_consenting(small, 3)
    with small.crm.snapshot() as snapshot:
        assert consenting(snapshot, "news", contacts("c1")) == consenting(snapshot, "news")


@pytest.mark.parametrize(("record", "event"), [(" c{}", "c{} "), (" c{}", "c{}"), ("c{}", "c{} ")])
def test_where_ids_have_blanks_around_them_all_are_read_at_once(small: SmallCrm, record: str, event: str) -> None:
    add_consenting(small, 20, record, event)
    with small.crm.snapshot() as snapshot:
        everybody = consenting(snapshot, "news")
        assert len(everybody) == 20
        assert consenting(snapshot, "news", contacts("c7")) == everybody


def test_the_events_of_an_opt_in_are_counted_once_in_a_view_and_anew_in_the_next(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1")
    with small.crm.snapshot() as snapshot:
        first = snapshot.consent_rows("news")
        small.consent("c1", event="withdrawn", days=1)
        assert snapshot.consent_rows("news") is first
        assert [key for key, *_ in consenting(snapshot, "news")] == ["contact:c1"]
    with small.crm.snapshot() as snapshot:
        assert snapshot.consent_rows("news").rows == first.rows + 1
        assert consenting(snapshot, "news") == []


def test_the_addresses_of_many_records_come_at_once_without_records_that_are_gone(small: SmallCrm) -> None:
    everybody = [Entity(EntityType.CONTACT, f"c{number}") for number in range(1_200)]
    for entity in everybody[:3]:
        small.person(entity.entity_id, f"{entity.entity_id}@example.org")
    small.person("c1", None, kind="lead")
    lead = Entity(EntityType.LEAD, "c1")
    with small.crm.snapshot() as snapshot:
        emails = snapshot.emails([*everybody, lead])
    assert emails == {entity: f"{entity.entity_id}@example.org" for entity in everybody[:3]} | {lead: ""}
