"""What a delivery yields: people, picks, opt-ins, consents and bounces, with the columns of the contract."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.mirror.source import EVENT_COLUMNS, MEMBER_COLUMNS, STATE_COLUMNS, SourceReader, SourceRows
from campaign_sync.crm.port import CrmError, CrmNeeds, CrmSetupError, Pick
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.files.deliveries import NOW, TABLES, Table, deliver, manifest, settings


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@contextmanager
def reading(outbox: Path, changed: dict[str, Table] | None = None, **changes: Any) -> Iterator[SourceReader]:
    deliver(outbox, {**TABLES, **(changed or {})})
    with FilesSource(settings(outbox, **changes), outbox.parent / "copies", lambda: NOW).read(CrmNeeds()) as reader:
        yield reader


def everything(rows: SourceRows | None) -> tuple[tuple[str, ...], list[list[object]]]:
    assert rows is not None
    values = [list(row) for chunk in rows.chunks for row in chunk]
    assert rows.expected() == len(values)
    return rows.columns, values


def refused(outbox: Path, use: Callable[[SourceReader], object], changed: dict[str, Table], **changes: Any) -> str:
    def attempt() -> None:
        with reading(outbox, changed, **changes) as reader:
            use(reader)

    with pytest.raises(CrmError) as error:
        attempt()
    assert "@" not in str(error.value)
    return str(error.value)


def test_people_come_with_all_columns_of_the_file(outbox: Path) -> None:
    with reading(outbox) as reader:
        columns, people = everything(reader.people(EntityType.CONTACT))
        assert columns == ("id", "email", "first_name", "Ort")
        assert people[1] == [" K2 ", "ben@example.org", 'Ben "der Schnelle"; Meier', "Bad\r\nHomburg"]
        assert people[2] == ["K3", None, "💌", None]
        assert everything(reader.people(EntityType.LEAD)) == (("id", "email"), [])
        assert everything(reader.people(EntityType.ACCOUNT)) == (("id", "email"), [])


def test_other_names_of_columns_are_mapped_and_trailing_delimiters_ignored(outbox: Path) -> None:
    contact = [["PARTNER", "SMTP_ADDR", "CITY1", "email", ""], ["4711", "a@example.org", "Köln", "old@example.org", ""]]
    tables: dict[str, Any] = {name: {} for name in TABLES if not name.startswith("report_")}
    tables["contact"] = {"columns": {"id": "PARTNER", "email": "SMTP_ADDR", "city": "CITY1"}}
    with reading(outbox, {"contact": contact}, tables=tables) as reader:
        columns, people = everything(reader.people(EntityType.CONTACT))
    assert dict(zip(columns, people[0], strict=True)) == {"id": "4711", "email": "a@example.org", "city": "Köln"}


def test_a_constant_is_the_same_in_all_rows(outbox: Path) -> None:
    states = [["entity_id", "opt_in_id", "kind"], ["K1", "newsletter", "granted"]]
    tables: dict[str, Any] = {name: {} for name in TABLES if not name.startswith("report_")}
    tables["consent_state"] = {"constants": {"entity_type": "contact", "source": "SAP"}}
    with reading(outbox, {"consent_state": states}, tables=tables) as reader:
        columns, values = everything(reader.consent_states(None))
    state = dict(zip(columns, values[0], strict=True))
    assert (state["entity_type"], state["entity_id"], state["source"]) == ("contact", "K1", "SAP")


def test_states_of_addresses_need_no_record(outbox: Path) -> None:
    states = [["address", "opt_in_id", "kind"], ["Anna@Example.org", "newsletter", "granted"]]
    with reading(outbox, {"consent_state": states}) as reader:
        columns, values = everything(reader.consent_states({"newsletter"}))
        assert reader.consent_events(None) is None
    assert columns == (*STATE_COLUMNS, "text_version")
    assert values == [[None, None, "Anna@Example.org", "newsletter", "granted", None, None, None, None]]


def test_a_state_may_lack_its_opt_in(outbox: Path) -> None:
    """Which ones may is decided where states are loaded, for every CRM that is copied."""
    header = ["entity_type", "entity_id", "opt_in_id", "kind"]
    with reading(outbox, {"consent_state": [header, ["contact", "K1", "", "GRANTED"]]}) as reader:
        assert everything(reader.consent_states(None))[1][0][3:5] == [None, "GRANTED"]


def test_events_come_with_the_columns_of_the_contract(outbox: Path) -> None:
    names = ["kind", "id", "entity_type", "entity_id", "opt_in_id", "occurred_at", "text_version", "changed_by"]
    events = [names, ["granted", "E1", "contact", "K1", "newsletter", "2026-01-01", "v2", "SAP"]]
    tables: dict[str, Any] = {"contact": {}, "consent_event": {}, "opt_in": {}}
    changed: dict[str, Table] = {"consent_event": events}
    delivery = {name: table for name, table in {**TABLES, **changed}.items() if name in tables}
    deliver(outbox, delivery)
    source = FilesSource(settings(outbox, tables=tables), outbox.parent / "copies", lambda: NOW)
    with source.read(CrmNeeds()) as reader:
        columns, values = everything(reader.consent_events({"newsletter"}))
        assert reader.consent_states(None) is None
        assert everything(reader.address_states())[1] == []
        with pytest.raises(CrmSetupError, match=r"crm\.tables has no report, so there is no report 'North'; add it"):
            reader.pick(Pick("report", "North"))
    assert columns == (*EVENT_COLUMNS, "text_version")
    assert values == [["E1", "contact", "K1", "newsletter", "granted", "2026-01-01", None, None, "v2"]]


def test_opt_ins_and_bounces_are_those_of_the_files(outbox: Path) -> None:
    with reading(outbox) as reader:
        assert reader.opt_ins() == [OptIn("newsletter", "nord", "Monthly", "email")]
        assert everything(reader.address_states())[1] == [
            ["carl@example.org", "hard", "2026-02-01T12:00:00Z", "nord", None]
        ]


def test_a_marketing_list_is_found_by_its_name_and_has_its_own_members_only(outbox: Path) -> None:
    with reading(outbox) as reader:
        columns, members = everything(reader.pick(Pick("marketing_list", " Newsletter Nord")))
    assert columns == MEMBER_COLUMNS
    assert members == [["contact", "K1"], ["contact", "K2"]]


def test_a_report_has_its_members_and_columns_of_its_own(outbox: Path) -> None:
    with reading(outbox) as reader:
        columns, members = everything(reader.pick(Pick("report", "Firmen im Norden")))
    assert columns == (*MEMBER_COLUMNS, "last_order")
    assert members == [["contact", "K2", "2026-02-28"], ["contact", "K1", None]]


def test_a_report_may_call_its_key_id(outbox: Path) -> None:
    with reading(outbox, {"report_north": [["id"], ["K1"]]}) as reader:
        assert everything(reader.pick(Pick("report", "Firmen im Norden"))) == (
            (*MEMBER_COLUMNS, "id"),
            [["contact", "K1", "K1"]],
        )


@pytest.mark.parametrize(
    ("pick", "changed", "says"),
    [
        (Pick("marketing_list", "Süd"), {}, "no marketing list 'Süd' .*; it has 'Aus Abfrage', 'Newsletter Nord'"),
        (Pick("marketing_list", "Aus Abfrage"), {}, "isn't static, and files have no others"),
        (
            Pick("marketing_list", "X"),
            {"marketing_list": [["id", "name"], ["1", "X"], ["2", "X "]]},
            "has 2 marketing list 'X'",
        ),
        (Pick("report", "Süd"), {}, "the CRM has no report 'Süd'"),
        (
            Pick("report", "A"),
            {"report": [["name", "entity_type", "view_name"], ["A", "person", "north"]]},
            "must be contact, lead or account",
        ),
        (
            Pick("report", "A"),
            {"report": [["name", "entity_type", "view_name"], ["A", "lead", "../north"]]},
            "view_name of the report 'A'",
        ),
        (
            Pick("report", "A"),
            {"report": [["name", "entity_type", "view_name"], ["A", "lead", "south"]]},
            "the delivery has no report_south.csv",
        ),
        (Pick("query", "SELECT 1", EntityType.CONTACT), {}, "delivered files can't answer a query"),
    ],
)
def test_a_pick_that_the_delivery_doesnt_have_is_named(
    outbox: Path, pick: Pick, changed: dict[str, Table], says: str
) -> None:
    with reading(outbox, changed) as reader, pytest.raises(CrmError, match=says):
        reader.pick(pick)


@pytest.mark.parametrize(
    ("name", "table", "says"),
    [
        ("contact", [["id", "first_name"]], "contact.csv has no column email; its first line must have the names"),
        ("contact", [["anna@example.org", "Anna"]], "contact.csv has no column id, email"),
        ("contact", [["id", "email", "id"]], "contact.csv has two columns of the same name"),
        ("consent_state", [["opt_in_id", "kind"]], "no column entity_type and entity_id, or address"),
        ("consent_state", [["entity_id", "opt_in_id", "kind"]], "no column entity_type and entity_id, or address"),
        ("marketing_list_member", [["entity_type", "entity_id"]], "no column marketing_list_id"),
        ("report_north", [["partner"]], "report_north.csv has no column entity_id or id"),
    ],
)
def test_a_missing_column_stops_the_delivery_before_anything_is_read(
    outbox: Path, name: str, table: Table, says: str
) -> None:
    assert says in refused(outbox, lambda reader: None, {name: table})


def test_a_mapped_column_that_the_file_lacks_is_named_as_it_is_mapped(outbox: Path) -> None:
    tables: dict[str, Any] = {name: {} for name in TABLES if not name.startswith("report_")}
    tables["contact"] = {"columns": {"id": "PARTNER", "city": "CITY1"}}
    assert "contact.csv has no column PARTNER, CITY1" in refused(outbox, lambda reader: None, {}, tables=tables)


def test_an_opt_in_without_a_value_is_refused(outbox: Path) -> None:
    opt_in = [["opt_in_id", "mandator", "description", "media_type"], ["newsletter", "", "Monthly", "email"]]
    assert "opt_in.csv: a value in row 1 is missing" in refused(
        outbox, lambda reader: reader.opt_ins(), {"opt_in": opt_in}
    )


def test_a_delivery_in_parquet_is_read_alike(outbox: Path) -> None:
    outbox.mkdir()
    files = {}
    for name, (header, *values) in TABLES.items():
        columns = list(zip(*values, strict=True)) or [()] * len(header)
        table = pa.table({column: pa.array(column_values, pa.string()) for column, column_values in
                          zip(header, columns, strict=True)})  # fmt: skip
        pq.write_table(table, outbox / f"{name}.parquet")
        files[f"{name}.parquet"] = ((outbox / f"{name}.parquet").read_bytes(), len(values))
    (outbox / "manifest.json").write_bytes(manifest(files))
    form = settings(outbox, format={"kind": "parquet"})
    with FilesSource(form, outbox.parent / "copies", lambda: NOW).read(CrmNeeds()) as reader:
        assert everything(reader.people(EntityType.CONTACT))[1][2] == ["K3", None, "💌", None]
        assert len(everything(reader.pick(Pick("marketing_list", "Newsletter Nord")))[1]) == 2
        assert len(everything(reader.pick(Pick("report", "Firmen im Norden")))[1]) == 2
