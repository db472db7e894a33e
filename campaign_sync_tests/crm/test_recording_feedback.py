"""Writing the vendor's feedback into the CRM."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.port import CrmError, WriteBack
from campaign_sync.crm.sql import chunks, feedback_recorder, schema
from campaign_sync.domain.address import InvalidAddressError, normalize_address
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, BounceKind, ConsentRef, CrmEntry, Unsubscribe
from campaign_sync_tests.crm.small_crm import NOON, SmallCrm


def bounced(address: str, days: float = 0, kind: BounceKind = BounceKind.HARD) -> Bounce:
    return Bounce(address, NOON + timedelta(days=days), "nord", "optimizely:getOutBounces", kind)


def unsubscribed(address: str, days: float = 0, mandator: str = "nord") -> Unsubscribe:
    return Unsubscribe(address, NOON + timedelta(days=days), mandator, "optimizely:getUnsubscribes")


def test_a_bounce_is_written_once_under_the_normalized_address(small: SmallCrm) -> None:
    small.person("c1", " Anna@Example.ORG")
    assert small.crm.record_bounces([bounced("anna@example.org")]) == WriteBack(written=1, already_known=0)
    assert small.crm.record_bounces([bounced("anna@example.org")]) == WriteBack(written=0, already_known=1)
    assert small.rows(schema.address_state) == [
        {"address": "anna@example.org", "bounce_kind": "hard", "bounced_at": NOON, "mandator": "nord"}
        | {"source": "optimizely:getOutBounces"}
    ]


def test_a_newer_bounce_replaces_an_older_one_and_never_the_reverse(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.crm.record_bounces([bounced("anna@example.org", days=1), bounced("anna@example.org", days=3)])
    assert small.crm.record_bounces([bounced("anna@example.org", days=2)]) == WriteBack(0, 1)
    assert [row["bounced_at"] for row in small.rows(schema.address_state)] == [NOON + timedelta(days=3)]
    assert small.crm.record_bounces([bounced("anna@example.org", days=4)]) == WriteBack(1, 0)


def test_many_bounces_are_renewed_at_once(small: SmallCrm) -> None:
    names = ("anna", "ben", "cem")
    for name in names:
        small.person(name, f"{name}@example.org")
    small.crm.record_bounces([bounced(f"{name}@example.org") for name in names])
    assert small.crm.record_bounces([bounced(f"{name}@example.org", days=1) for name in names]) == WriteBack(3, 0)
    assert {row["bounced_at"] for row in small.rows(schema.address_state)} == {NOON + timedelta(days=1)}


def test_a_soft_bounce_never_softens_a_hard_one(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.crm.record_bounces([bounced("anna@example.org")])
    assert small.crm.record_bounces([bounced("anna@example.org", 5, BounceKind.SOFT)]) == WriteBack(0, 1)
    assert not small.suppressed().empty


def test_a_hard_bounce_replaces_a_soft_one_that_the_crm_spells_its_own_way(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.add(schema.address_state, address="ANNA@example.org ", bounce_kind="soft", bounced_at=NOON)
    assert small.crm.record_bounces([bounced("anna@example.org", days=-1)]) == WriteBack(1, 0)
    in_the_crm = [(row["address"], row["bounce_kind"]) for row in small.rows(schema.address_state)]
    if small.url.startswith("mariadb"):  # the statements of the preset look for the normalized address only
        assert in_the_crm == [("ANNA@example.org ", "soft"), ("anna@example.org", "hard")]
        assert small.suppressed()["address"].tolist() == ["anna@example.org"]
    else:
        assert in_the_crm == [("ANNA@example.org ", "hard")]


def test_a_person_with_a_new_address_is_no_longer_suppressed(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.crm.record_bounces([bounced("anna@example.org")])
    small.execute("UPDATE contact SET email = 'anna@example.net'")
    assert small.crm.record_bounces([bounced("anna@example.org", days=1)]).unmatched == ("anna@example.org",)
    assert small.suppressed()["address"].tolist() == ["anna@example.org"]


@pytest.mark.parametrize(
    "in_the_crm",
    [
        "Jörg@BÜRO.example.com",
        "  jörg@büro.example.com\t",
        "jo\u0308rg@bu\u0308ro.example.com",
        "JÖRG@xn--bro-hoa.example.com",
    ],
)
def test_people_are_found_however_the_crm_spells_their_address(small: SmallCrm, in_the_crm: str) -> None:
    small.person("c1", in_the_crm)
    small.consent("c1")
    assert small.crm.record_unsubscribes([unsubscribed("jörg@xn--bro-hoa.example.com", 1)]) == WriteBack(1, 0)
    assert small.selected()["consent_kind"].tolist() == ["withdrawn"]


def test_an_unsubscribe_withdraws_what_everybody_with_that_address_granted_to_that_mandator(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.person("l1", "Anna@example.org", kind="lead")
    small.person("c2", "ben@example.org")
    for opt_in_id in ("news", "press"):
        small.consent("c1", opt_in_id)
    small.consent("l1", "offers", kind="lead")
    small.consent("c2")
    assert small.crm.record_unsubscribes([unsubscribed("anna@example.org", 1)]) == WriteBack(2, 0)
    withdrawn = [row for row in small.rows(schema.consent_event) if row["kind"] == "withdrawn"]
    assert {(row["entity_type"], row["entity_id"], row["opt_in_id"]) for row in withdrawn} == {
        ("contact", "c1", "news"),
        ("lead", "l1", "offers"),
    }
    assert {(row["occurred_at"], row["source"]) for row in withdrawn} == {
        (NOON + timedelta(days=1), "optimizely:getUnsubscribes")
    }


def test_the_same_unsubscribe_read_again_adds_nothing(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1")
    cet = Unsubscribe(
        "anna@example.org", NOON.astimezone(timezone(timedelta(hours=1))), "nord", "optimizely:getUnsubscribes"
    )
    assert small.crm.record_unsubscribes([unsubscribed("anna@example.org")] * 2) == WriteBack(1, 0)
    assert small.crm.record_unsubscribes([cet, unsubscribed("anna@example.org", 1)]) == WriteBack(1, 1)


def test_a_consent_granted_after_the_unsubscribe_stays_granted(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", days=0)
    small.consent("c1", days=5, event_id="again")
    small.crm.record_unsubscribes([unsubscribed("anna@example.org", 3)])
    assert small.selected()["consent_event_id"].tolist() == ["again"]


def test_unknown_addresses_are_returned_once(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1")
    unknown = ("who@example.net", "not an address")
    assert small.crm.record_unsubscribes([unsubscribed(address) for address in (*unknown, unknown[0])]) == WriteBack(
        0, 0, unknown
    )
    assert small.crm.record_bounces([bounced(address) for address in unknown]) == WriteBack(0, 0, unknown)
    assert small.rows(schema.address_state) == []


def test_an_unsubscribe_of_a_person_without_consents_is_returned_so_that_the_address_is_remembered(
    small: SmallCrm,
) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", "press")
    assert small.crm.record_unsubscribes([unsubscribed("anna@example.org")]).unmatched == ("anna@example.org",)


def test_many_unsubscribes_take_one_call(small: SmallCrm) -> None:
    with_umlaut = [f"ärzt{number}@example.org" for number in range(700)]
    for number, address in enumerate(with_umlaut[:3]):
        small.person(f"c{number}", address)
        small.consent(f"c{number}")
    outcome = small.crm.record_unsubscribes([unsubscribed(address) for address in with_umlaut])
    assert (outcome.written, len(outcome.unmatched)) == (3, 697)


def test_no_feedback_needs_no_database(small: SmallCrm) -> None:
    small.execute("DROP TABLE address_state")
    assert small.crm.record_bounces([]) == small.crm.record_unsubscribes([]) == WriteBack(0, 0)


def test_unsubscribes_of_a_mandator_the_crm_does_not_know_are_refused(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    with pytest.raises(CrmError, match="no opt-in for mandator west") as caught:
        small.crm.record_unsubscribes([unsubscribed("anna@example.org", mandator="west")])
    assert "anna" not in str(caught.value)


def test_the_error_of_feedback_that_cannot_be_written_names_the_place_and_no_person(small_direct: SmallCrm) -> None:
    small_direct.person("c1", "anna@example.org")
    small_direct.execute("DROP TABLE address_state")
    with pytest.raises(CrmError, match=r"recording bounces failed in the CRM at .*address_state") as caught:
        small_direct.crm.record_bounces([bounced("anna@example.org")])
    assert "anna" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_chunk_is_written_wholly_or_not_at_all_and_reported_only_after_the_commit(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    small = SmallCrm(sqlite_url)
    names = ("anna", "ben", "cem", "dora")
    for name in names:
        small.person(name, f"{name}@example.org")
    small.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON address_state WHEN NEW.address LIKE 'dora%' "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    entries: list[CrmEntry] = []
    with pytest.raises(CrmError, match="recording bounces"):
        small.crm.record_bounces([bounced(f"{name}@example.org") for name in names], entries.extend)
    assert [row["address"] for row in small.rows(schema.address_state)] == ["anna@example.org", "ben@example.org"]
    assert [entry.feedback.address for entry in entries] == ["anna@example.org", "ben@example.org"]

    small.execute("DROP TRIGGER refuse")
    assert small.crm.record_bounces([bounced(f"{name}@example.org") for name in names]) == WriteBack(2, 2)


def test_the_withdrawal_of_an_unsubscribe_is_reported(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1")
    entries: list[CrmEntry] = []
    for _ in range(2):
        small.crm.record_unsubscribes([unsubscribed("anna@example.org", 1)], entries.extend)
    (event,) = [row["id"] for row in small.rows(schema.consent_event) if row["kind"] == "withdrawn"]
    anna = Entity(EntityType.CONTACT, "c1")
    assert [(entry.new, entry.entity, entry.opt_in_id, entry.event_id) for entry in entries] == [
        (True, anna, "news", event),
        (False, anna, "news", event),
    ]


def withdrawn(small: SmallCrm) -> list[tuple[str, str]]:
    return [
        (row["entity_id"], row["opt_in_id"]) for row in small.rows(schema.consent_event) if row["kind"] == "withdrawn"
    ]


def through(address: str, entity_id: str, opt_in_id: str) -> Unsubscribe:
    entity = Entity(EntityType.CONTACT, entity_id)
    return dataclasses.replace(unsubscribed(address, 1), consents=frozenset({ConsentRef(entity, opt_in_id)}))


def test_an_unsubscribe_ends_the_consent_that_the_mailing_was_sent_on_and_no_other(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.person("c2", "anna@example.org")
    for entity_id in ("c1", "c2"):
        small.consent(entity_id, "news")
        small.consent(entity_id, "offers")
    small.crm.record_unsubscribes([through("anna@example.org", "c1", "offers")])
    assert sorted(withdrawn(small)) == [("c1", "offers"), ("c2", "offers")], "also of people who share the address"


def test_a_person_with_a_new_address_is_withdrawn_all_the_same(small: SmallCrm) -> None:
    small.person("c1", "anna@example.net")
    small.consent("c1")
    outcome = small.crm.record_unsubscribes([through("anna@example.org", "c1", "news")])
    assert withdrawn(small) == [("c1", "news")]
    assert outcome.unmatched == ()


def test_an_erased_person_stays_erased_and_the_address_is_remembered(small: SmallCrm) -> None:
    outcome = small.crm.record_unsubscribes([through("anna@example.org", "c1", "news")])
    assert withdrawn(small) == []
    assert outcome.unmatched == ("anna@example.org",)


def test_an_unsubscribe_without_anything_to_withdraw_is_returned_so_that_its_address_is_remembered(
    small: SmallCrm,
) -> None:
    small.person("c9", "anna@example.org")
    small.consent("c9", "offers")
    outcome = small.crm.record_unsubscribes([through("anna@example.org", "c1", "news")])
    assert withdrawn(small) == []
    assert outcome.unmatched == ("anna@example.org",)


def naming(address: str, opt_in_id: str, entity_id: str | None = None, days: float = 1) -> Unsubscribe:
    entity = Entity(EntityType.CONTACT, entity_id) if entity_id else None
    return dataclasses.replace(unsubscribed(address, days), opt_in_id=opt_in_id, entity=entity)


def test_an_unsubscribe_that_names_an_opt_in_ends_it_for_the_record_and_the_mailbox_and_ends_no_other(
    small: SmallCrm,
) -> None:
    for entity_id, address in (("c1", "anna@example.net"), ("c2", "anna@example.org"), ("c3", "ben@example.org")):
        small.person(entity_id, address)
        small.consent(entity_id, "news")
        small.consent(entity_id, "offers")
    small.crm.record_unsubscribes([naming("anna@example.org", "offers", "c1")])
    assert sorted(withdrawn(small)) == [("c1", "offers"), ("c2", "offers")]


def test_a_named_opt_in_without_a_consent_ends_no_other_consent(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", "news")
    unsubscribes = [naming("anna@example.org", "offers", "c1"), naming("anna@example.org", "gone")]
    assert small.crm.record_unsubscribes(unsubscribes).unmatched == ("anna@example.org",)
    assert withdrawn(small) == []


def test_two_unsubscribes_of_one_moment_that_name_two_opt_ins_are_two(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    for opt_in_id in ("news", "offers"):
        small.consent("c1", opt_in_id)
    both = [naming("anna@example.org", opt_in_id, "c1") for opt_in_id in ("news", "offers")]
    assert small.crm.record_unsubscribes(both) == WriteBack(2, 0)
    assert small.crm.record_unsubscribes(both) == WriteBack(0, 2)


@pytest.mark.parametrize("theirs", [BounceKind.HARD, BounceKind.SOFT])
def test_a_bounce_that_another_run_writes_at_the_same_time_is_replaced_only_by_one_that_takes_precedence(
    small_direct: SmallCrm, monkeypatch: pytest.MonkeyPatch, theirs: BounceKind
) -> None:
    small_direct.person("c1", "anna@example.org")
    written = chunks.written

    def overtaken(engine: Engine, doing: str, work: Callable[[Connection], Any]) -> Any:
        monkeypatch.setattr(feedback_recorder, "written", written)
        small_direct.crm.record_bounces([bounced("anna@example.org", 0, theirs)])
        return written(engine, doing, work)

    monkeypatch.setattr(feedback_recorder, "written", overtaken)
    mine = BounceKind.SOFT if theirs is BounceKind.HARD else BounceKind.HARD
    small_direct.crm.record_bounces([bounced("anna@example.org", 1, mine)])
    assert [row["bounce_kind"] for row in small_direct.rows(schema.address_state)] == ["hard"]


def test_a_bounce_without_a_time_is_no_news_about_an_address_that_bounced(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    undated = [dataclasses.replace(bounced("anna@example.org", day, BounceKind.LIMIT), dated=False) for day in (1, 2)]
    assert small.crm.record_bounces(undated[:1]) == WriteBack(1, 0)
    assert small.crm.record_bounces(undated[1:]) == WriteBack(0, 1)
    assert [row["bounced_at"] for row in small.rows(schema.address_state)] == [NOON + timedelta(days=1)]


@pytest.mark.parametrize(("kind", "kept_out"), [(BounceKind.HARD, 1), (BounceKind.LIMIT, 1), (BounceKind.SOFT, 0)])
def test_a_soft_bounce_alone_suppresses_no_address(small: SmallCrm, kind: BounceKind, kept_out: int) -> None:
    small.person("c1", "anna@example.org")
    small.crm.record_bounces([bounced("anna@example.org", kind=kind)])
    assert len(small.suppressed()) == kept_out


addresses = st.one_of(
    st.emails(),
    st.from_regex(r"\s?[a-zA-Z.+äÖß]{1,8}@[a-zA-ZüÉ-]{1,6}(\.[a-z]{1,3}){0,2}\s?", fullmatch=True),
    st.text(max_size=12),
)


@given(addresses)
def test_the_key_of_a_good_address_is_its_normal_form(raw: str) -> None:
    try:
        normal = normalize_address(raw)
    except InvalidAddressError:
        return
    assert address_key(raw) == normal


@given(st.sampled_from(["jörg@büro.example.com", "anna@example.org"]), addresses)
def test_no_bad_address_shares_a_key_with_a_good_one(good: str, raw: str) -> None:
    try:
        normalize_address(raw)
    except InvalidAddressError:
        assert address_key(raw) != normalize_address(good)


def test_what_is_no_text_has_no_key() -> None:
    assert address_key(None) is address_key(b"anna@example.org") is None
