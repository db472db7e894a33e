"""The removal of erased people from the tables, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, make_url, select

from campaign_sync.domain.erasure import Erasure, ErasureKey
from campaign_sync.erasure.subjects import ErasedSubjects
from campaign_sync.storage import consent_tables, tables
from campaign_sync.storage.erased_rows import SubjectLookup
from campaign_sync.storage.state import State

KEY = ErasureKey("k" * 32)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=2), NOW + timedelta(days=2)
GONE, STAYS = "quentin.zyxwutz@example.net", "anna@example.org"
ERASURE = Erasure("e1", NOW, "officer@host", "request 7", KEY.probe, KEY.subjects([GONE], ["contact:xq7-4711"]))


def fill(state: State, address: str, entity_id: str, at: datetime, number: int) -> None:
    """Add a row about a person to every table that can have one, all of that time."""
    person, record = state.pseudonyms.of(address), state.pseudonyms.of(f"contact:{entity_id}")
    entity = {"entity_type": "contact", "entity_id": entity_id}
    recipient = {"mandator": "nord", "recipient_id": address}
    opt_out = {"event_id": f"event-{number}", "opt_in_id": "news", "occurred_at": at, "source": "x", **entity}
    rows: list[tuple[Any, dict[str, Any]]] = [
        (tables.unsubscribed_recipient, {**recipient, "since": at, "known_to_crm": False}),
        (tables.list_unsubscribe, {**recipient, "recipient_list_id": 1, "since": at, "known_to_crm": False}),
        (
            tables.blocked_address,
            {"mandator": "nord", "address": address, "first_seen": at, "last_seen": at, "source": "x"},
        ),
        (tables.unmatched_feedback, {**recipient, "kind": "unsubscribes", "occurred_at": at, **entity}),
        (
            tables.refused_withdrawal,
            {**recipient, **opt_out, "dated": True, "attribution": "x", "shown": False},
        ),
        (
            tables.write_back,
            {
                **opt_out,
                "id": f"id-{number}",
                "mandator": "nord",
                "kind": "unsubscribes",
                "recipient": person,
                "dated": True,
                "written_at": at,
            },
        ),
        (
            tables.rejection,
            {
                "mandator": "nord",
                "list": "news",
                **entity,
                "stage": "gate",
                "reason": "x",
                "first_seen": at,
                "last_seen": at,
                "run_id": "r",
            },
        ),
        (
            tables.known_withdrawal,
            {"mandator": "nord", "opt_in_id": "news", "entity": record, "address": person, "withdrawn_at": at},
        ),
        (
            consent_tables.consent_observation,
            {"opt_in_id": "news", "subject": record, "granted": True, "since": at},
        ),
        (
            consent_tables.unshown_withdrawal,
            {**opt_out, "evidence": "x", "address": person, "written_at": at},
        ),
        (
            consent_tables.shown_withdrawal,
            {"event_id": f"shown-{number}", "subject": record, "address": person, "written_at": at},
        ),
        (
            consent_tables.unshown_bounce,
            {
                "address": person,
                "kind": "hard",
                "occurred_at": at,
                "mandator": "nord",
                "source": "x",
                "written_at": at,
            },
        ),
        (
            tables.size_acceptance,
            {
                "run_id": f"run-{number}",
                "mandator": "nord",
                "list": "news",
                "accepted_by": "me",
                "reason": f"asked by <{address}>.",
                "accepted_at": at,
            },
        ),
    ]
    with state._engine.begin() as connection:
        for table, values in rows:
            connection.execute(table.insert().values(values))


def contents(url: str) -> dict[str, list[Any]]:
    """Return the rows of all tables."""
    engine, found_tables = create_engine(url), MetaData()
    found_tables.reflect(engine)
    with engine.connect() as connection:
        rows = {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in found_tables.tables.values()
        }
    engine.dispose()
    return rows


def erase(state: State) -> int:
    records = ["contact:xq7-4711"]
    hashes = KEY.subjects([GONE], records, map(state.pseudonyms.of, [GONE, *records]))
    erasure = replace(ERASURE, subjects=hashes)
    subjects = ErasedSubjects(KEY, [erasure])
    lookup = SubjectLookup(
        subjects.of_recipient_id, subjects.of_address, subjects.of_record, subjects.token_of_address, KEY
    )
    removed = state.erased_rows.remove(lookup, [erasure])
    state.erased_rows.compact()
    return removed[erasure]


def test_all_rows_about_an_erased_person_go_or_name_a_hash(database_url: str) -> None:
    with State(database_url) as state:
        fill(state, STAYS, "c1", EARLIER, 1)
        before = contents(database_url)
        fill(state, GONE, "xq7-4711", EARLIER, 2)
        pseudonyms = {state.pseudonyms.of(text) for text in (GONE, "contact:xq7-4711")}

        assert erase(state) >= 13
        after = contents(database_url)
        assert erase(state) == 0  # a second time changes nothing
    assert contents(database_url) == after
    text = repr(after)
    assert [needle for needle in (GONE, "zyxwutz", "xq7-4711", *pseudonyms) if needle in text] == []
    for table, rows in before.items():
        assert set(map(repr, rows)) <= set(map(repr, after[table])), table
    token = KEY.of_address(GONE)
    for name in ("unsubscribed_recipient", "list_unsubscribe", "blocked_address", "unmatched_feedback"):
        assert sum(token in repr(row) for row in after[name]) == 1, name
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        file = Path(str(url.database))
        raw = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
        assert [needle for needle in (GONE, "zyxwutz", "xq7-4711", *pseudonyms) if needle.encode() in raw] == []
    else:
        engine = create_engine(database_url)
        with engine.connect() as connection:
            statistics = repr(connection.exec_driver_sql("SELECT * FROM pg_stats WHERE schemaname = 'public'").all())
        engine.dispose()
        assert GONE not in statistics


def test_what_is_newer_than_an_erasure_stays(database_url: str) -> None:
    with State(database_url) as state:
        fill(state, GONE, "xq7-4711", LATER, 1)
        before = contents(database_url)
        assert erase(state) == 1  # the typed text has no time
    after = contents(database_url)
    assert {name for name, rows in before.items() if rows != after[name]} == {"size_acceptance"}
