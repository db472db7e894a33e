"""The log of inquiries, on both databases."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, select

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.erasure import Erasure, ErasureKey
from campaign_sync.erasure.subjects import ErasedSubjects
from campaign_sync.storage.erased_rows import SubjectLookup
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import inquiry
from campaign_sync_tests.storage.test_replacement_history import reject

NOON, DAY = datetime(2026, 11, 23, 12, tzinfo=UTC), timedelta(days=1)
ANNA = "anna@example.org"


def test_who_asked_about_an_erased_person_is_found_with_the_key_of_erasures_only(database_url: str) -> None:
    secret = "k" * 32
    key = ErasureKey(secret)
    with State(database_url, erasure_key=lambda: secret) as state:
        state.inquiries.record("why", "kim@host", NOON, about=ANNA)
        state.inquiries.record("why", "kim@host", NOON, about="bo@example.org")
        subjects = key.subjects([ANNA], [], [state.pseudonyms.of(ANNA)])
        erasure = Erasure("e", NOON, "officer", "request 7", key.probe, subjects)
        state.erasures.record(erasure)
        known = ErasedSubjects(key, [erasure])
        lookup = SubjectLookup(known.of_recipient_id, known.of_address, known.of_record, known.token_of_address, key)
        assert state.erased_rows.remove(lookup, [erasure])[erasure] == 1
        state.inquiries.record("access", "kim@host", NOON + DAY, about=ANNA)
        assert [entry.command for entry in state.inquiries.about([ANNA])] == ["access", "why"]
        with create_engine(database_url).connect() as connection:
            assert state.pseudonyms.of(ANNA) not in str(connection.execute(select(inquiry)).all())
    with State(database_url) as state:
        assert state.inquiries.about([ANNA]) == []
        assert len(state.inquiries.about(["bo@example.org"])) == 1


def test_inquiries_name_who_asked_and_their_subject_by_a_keyed_pseudonym_only(database_url: str) -> None:
    with State(database_url) as state:
        state.inquiries.record("why", "kim@host", NOON - 40 * DAY, about=ANNA)
        state.inquiries.record("prove", "kim@host", NOON, about="contact:4711", mandator="nord", name="newsletter")
        state.inquiries.record("diff", "lee@host", NOON - DAY, mandator="nord", name="products")
        accepted = SizeAcceptance("run", "nord", "newsletter", "max@host", "a fair", NOON - 2 * DAY)
        state.recipient_lists.accept_size(accepted)

        log = [(entry.command, entry.asked_by, entry.list) for entry in state.inquiries.since(NOON - 30 * DAY)]
        assert log == [
            ("prove", "kim@host", "newsletter"),
            ("diff", "lee@host", "products"),
            ("run --accept-size", "max@host", "newsletter"),
        ]
        assert [entry.command for entry in state.inquiries.about([ANNA, "contact:4711"])] == ["prove", "why"]
        with create_engine(database_url).connect() as connection:
            stored = str(connection.execute(select(inquiry)).all())
        assert ANNA not in stored
        assert "4711" not in stored
        assert state.pseudonyms.of(ANNA) in stored

        reject(database_url, "4711", "vendor", NOON, NOON)
        reject(database_url, "4712", "vendor", NOON, NOON)
        tokens = {ANNA, state.pseudonyms.of(ANNA)}
        rows = state.person_rows.find(tokens, [Entity(EntityType.CONTACT, "4711")])
        assert {name: len(of_table) for name, of_table in rows.items()} == {"inquiry": 1, "rejection": 1}
        assert state.person_rows.find(set(), []) == {}

        assert state.expired_rows.remove_inquiries(NOON - 30 * DAY) == 1
        assert state.inquiries.about([ANNA]) == []
