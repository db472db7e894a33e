"""Foreign schemas as the contract's tables, on every kind of database."""

import uuid
from datetime import UTC, datetime

import pytest

from campaign_sync.crm.mirror.source import STATE_COLUMNS
from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.instant import parse_instant
from campaign_sync_tests.crm.foreign_schema import MAPPING, ForeignCrm, all_rows

HALF_PAST = "2026-03-01 12:30:00.250000"


@pytest.fixture
def foreign(foreign_url: str) -> ForeignCrm:
    return ForeignCrm(foreign_url)


def test_a_mapped_schema_passes_the_check(foreign: ForeignCrm) -> None:
    foreign.source.check(exports=False)


def test_people_have_text_ids_and_the_columns_that_lists_need(foreign: ForeignCrm) -> None:
    prospect = uuid.uuid4()
    foreign.people((1, "anna@example.org"), (2, None))
    foreign.execute("INSERT INTO prospect VALUES (:nr, '  Ben@Example.ORG ')", {"nr": str(prospect)})
    foreign.execute("INSERT INTO prospect VALUES (:nr, 'no address')", {"nr": str(uuid.uuid4())})
    with foreign.reading("town", "age", "unknown") as reader:
        contacts, leads = reader.people(EntityType.CONTACT), reader.people(EntityType.LEAD)
        assert contacts.columns == ("id", "email", "age", "town")
        assert sorted(all_rows(contacts)) == [("1", "anna@example.org", 40, "Köln"), ("2", None, 40, "Köln")]
        assert all_rows(leads) == [(str(prospect), "  Ben@Example.ORG ")]
        assert all_rows(reader.people(EntityType.ACCOUNT)) == []


def test_states_carry_constants_and_times_with_fractions(foreign: ForeignCrm) -> None:
    foreign.people((1, "anna@example.org"), (2, "ben@example.org"))
    foreign.execute("UPDATE person SET newsletter = 1")
    foreign.execute(f"UPDATE person SET newsletter_at = '{HALF_PAST}' WHERE nr = 1")
    with foreign.reading() as reader:
        states = reader.consent_states(["news"])
        assert states is not None
        rows = [dict(zip(states.columns, row, strict=True)) for row in sorted(all_rows(states), key=lambda row: row[1])]
        assert reader.consent_events(["news"]) is None
        assert all_rows(reader.consent_states(["other"])) == []
        assert reader.opt_ins() == [OptIn("news", "nord", "News: monthly", "email")]
    assert [(row["entity_type"], row["entity_id"], row["address"], row["kind"]) for row in rows] == [
        ("contact", "1", None, "1"),
        ("contact", "2", None, "1"),
    ]
    assert parse_instant(rows[0]["changed_at"]) == datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC)
    assert rows[1]["changed_at"] is None
    assert {row["source"] for row in rows} == {"CRM"}


def test_lists_reports_and_queries_name_their_people(foreign: ForeignCrm) -> None:
    foreign.people((1, "anna@example.org"), (2, "ben@example.org"), (3, "cleo@example.org"))
    foreign.execute("UPDATE person SET age = 7 WHERE nr = 2")
    foreign.execute("INSERT INTO list (id, title, kind) VALUES (10, ' Newsletter ', 'Static')")
    foreign.execute(
        "INSERT INTO list (id, title, kind, entity_type, query) VALUES (11, 'Old ones', 'dynamic', 'contact', :query)",
        {"query": "SELECT nr FROM person WHERE age > 8 AND 'a:b' <> '' -- colons\n;"},
    )
    foreign.execute("INSERT INTO list_person VALUES (10, 1);\nINSERT INTO list_person VALUES (10, 3)")
    foreign.execute("INSERT INTO list_person VALUES (11, 2)")
    foreign.execute("INSERT INTO saved_report VALUES ('Adults', 'adults')")
    with foreign.reading("remark", "town") as reader:
        assert sorted(all_rows(reader.pick(Pick("marketing_list", "Newsletter")))) == [
            ("contact", "1"),
            ("contact", "3"),
        ]
        assert sorted(all_rows(reader.pick(Pick("marketing_list", "Old ones")))) == [("contact", "1"), ("contact", "3")]
        report = reader.pick(Pick("report", "Adults"))
        assert report.columns == ("entity_type", "entity_id", "remark")
        assert ("contact", "3", "of age: yes") in all_rows(report)
        query = Pick("query", "SELECT nr AS id, mail FROM person WHERE nr = 2", EntityType.CONTACT)
        assert all_rows(reader.pick(query)) == [("contact", "2")]
        with pytest.raises(CrmError, match=r"no marketing list 'Nothing' .* it has 'Newsletter', 'Old ones'"):
            reader.pick(Pick("marketing_list", "Nothing"))
        with pytest.raises(CrmError, match="needs a column entity_id or id"):
            reader.pick(Pick("query", "SELECT nr, mail FROM person", EntityType.CONTACT))
        with pytest.raises(CrmError, match="reading a query of select or exclude failed"):
            reader.pick(Pick("query", "SELECT nr FROM nowhere", EntityType.CONTACT))
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 3  # the failure has spoiled nothing


def test_a_read_sees_one_moment(foreign: ForeignCrm) -> None:
    foreign.people((1, "anna@example.org"))
    with foreign.reading() as reader:
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 1
        ForeignCrm.people(foreign, (2, "ben@example.org"))
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 1
        assert len(all_rows(reader.consent_states(None))) == 1
    with foreign.reading() as reader:
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 2


def test_more_rows_than_a_chunk_arrive_while_others_are_read_at_the_same_time(foreign: ForeignCrm) -> None:
    foreign.people(*((number, f"person{number}@example.org") for number in range(12_001)))
    with foreign.reading() as first, foreign.reading() as second:
        people, states = first.people(EntityType.CONTACT), second.consent_states(None)
        assert states is not None
        read = [next(people.chunks), next(states.chunks)]
        assert len(read[0]) == len(read[1]) == 5_000
        assert len(all_rows_after(people)) == 7_001
        assert len(all_rows_after(states)) == 7_001


def all_rows_after(rows: object) -> list[object]:
    return [row for chunk in rows.chunks for row in chunk]  # type: ignore[attr-defined]


def test_no_statement_is_sent_while_a_stream_is_open(foreign: ForeignCrm) -> None:
    foreign.people(*((number, "x@example.org") for number in range(6_000)))
    with foreign.reading() as reader:
        people = reader.people(EntityType.CONTACT)
        next(people.chunks)
        with pytest.raises(RuntimeError, match="still open"):
            reader.consent_states(None)


def test_everything_that_is_wrong_is_named_at_once(foreign_url: str) -> None:
    tables = MAPPING["tables"] | {
        "contact": {"table": "person", "columns": {"email": "e_mail"}},
        "lead": {"table": "prospect", "columns": {"email": "mail"}},
        "account": {"query": "SELEKT nr FROM prospect"},
        "consent_state": {"table": "person", "columns": {"kind": "newsletter"}},
        "report": {"table": "nowhere"},
    }
    statements = MAPPING["write_back"] | {"withdrawal": ["UPDATE person SET gone = :entity_type WHERE nr = :entity_id"]}
    foreign = ForeignCrm(foreign_url, tables=tables, write_back=statements)
    with pytest.raises(CrmError) as caught:
        foreign.source.check(exports=True)
    for flaw in (
        "crm.tables.contact has no column e_mail; name its column in crm.tables.contact.columns, it has nr, mail",
        "crm.tables.lead has no column id; name its column in crm.tables.lead.columns, it has nr, mail",
        "reading crm.tables.account failed",
        "crm.tables.consent_state needs address, or entity_type and entity_id",
        "reading crm.tables.report failed",
        "nowhere",
        "checking statement 1 of crm.write_back.withdrawal failed",
        "gone",
        "export_log is missing",
    ):
        assert flaw in str(caught.value)


def test_a_misspelled_column_is_never_read_as_an_empty_one(foreign_url: str) -> None:
    state = MAPPING["tables"]["consent_state"]
    misspelled = state | {
        "columns": state["columns"] | {"opt_in_id": "purpse", "changed_at": "newsleter_at"},
        "constants": {"entity_type": "contact"},
    }
    foreign = ForeignCrm(foreign_url, tables=MAPPING["tables"] | {"consent_state": misspelled})
    foreign.people((1, "anna@example.org"))
    with pytest.raises(CrmError) as caught:
        foreign.source.check(exports=False)
    assert "crm.tables.consent_state has no column purpse" in str(caught.value)
    assert "crm.tables.consent_state has no column newsleter_at" in str(caught.value)
    with foreign.reading() as reader, pytest.raises(CrmError, match=r"consent_state has no column purpse"):
        reader.consent_states(None)


def test_names_of_columns_are_compared_as_the_database_does(foreign_url: str) -> None:
    upper = {"table": "person", "columns": {"id": "NR", "email": "Mail"}}
    foreign = ForeignCrm(foreign_url, tables=MAPPING["tables"] | {"contact": upper})
    foreign.people((1, "anna@example.org"))
    if foreign.engine.dialect.name == "postgresql":
        with pytest.raises(CrmError, match="has no column NR"):
            foreign.source.check(exports=False)
        return
    foreign.source.check(exports=False)
    with foreign.reading() as reader:
        assert all_rows(reader.people(EntityType.CONTACT)) == [("1", "anna@example.org")]


def test_a_state_for_no_opt_in_is_one_of_them_all(foreign_url: str) -> None:
    state = MAPPING["tables"]["consent_state"]
    unnamed = state | {"constants": {"entity_type": "contact"}}
    more = {"offers": {"mandator": "nord", "description": "Offers"}}
    settings = {"tables": MAPPING["tables"] | {"consent_state": unnamed}, "consent_kinds": {"granted": ["1"]}}
    foreign = ForeignCrm(foreign_url, **settings, opt_ins=more)
    foreign.people((1, "anna@example.org"))
    foreign.execute("UPDATE person SET newsletter = 0")
    with foreign.reading() as reader:
        (state_row,) = all_rows(reader.consent_states(None))
    assert state_row[STATE_COLUMNS.index("opt_in_id")] is None, "the copy refuses a grant without an opt-in"


def test_values_without_a_text_form_are_refused_by_column(postgres_url: str) -> None:
    foreign = ForeignCrm(postgres_url)
    foreign.execute("ALTER TABLE person ADD COLUMN tags integer[] DEFAULT '{1}'")
    foreign.people((1, "anna@example.org"))
    with (
        foreign.reading("tags") as reader,
        pytest.raises(CrmError, match=r"crm\.tables\.contact: the column tags holds"),
    ):
        all_rows(reader.people(EntityType.CONTACT))
