"""Filters, queries and members of picks."""

import random

import pytest
from hypothesis import HealthCheck, given, settings

from campaign_sync.crm.exclusions import read_excluded
from campaign_sync.crm.port import SELECTION_COLUMNS, CrmError, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.filter import Comparison, Condition, NotOf, Operator, Value, filter_fields
from campaign_sync.domain.filter_columns import UNREADABLE
from campaign_sync.domain.text import NOT_UTF8
from campaign_sync_tests.crm.mirror.copied_crm import MariaSmallCrm
from campaign_sync_tests.crm.small_crm import EVERYBODY, SmallCrm
from campaign_sync_tests.domain.filters import TEXTS, Row, conditions, reference

FIELDS = ("city", "first_name")


def by(condition: Condition, entity_type: EntityType = EntityType.CONTACT) -> Pick:
    return Pick("filter", "city", entity_type, condition)


def where(field: str, value: Value) -> Pick:
    return by(Comparison(field, "=", (value,)))


def picked(small: SmallCrm, pick: Pick) -> list[str]:
    with small.crm.snapshot() as snapshot:
        return [entity_id for frame in snapshot.select(pick, "news", []) for entity_id in frame["entity_id"]]


def members(small: SmallCrm, pick: Pick) -> list[tuple[Entity, str | None]]:
    with small.crm.snapshot() as snapshot:
        return [member for chunk in snapshot.members(pick) for member in chunk]


def test_an_exclusion_by_report_goes_by_the_records_own_address(small: SmallCrm) -> None:
    small.person("c1", "ben@example.org")
    small.execute("CREATE VIEW fans AS SELECT id AS entity_id, NULL AS email FROM contact")
    small.add(schema.report, id="r", name="Fans", entity_type="contact", view_name="fans")
    assert members(small, Pick("report", "Fans")) == [(Entity(EntityType.CONTACT, "c1"), "ben@example.org")]


@pytest.fixture
def table(small: SmallCrm) -> dict[str, Row]:
    """Return the rows of the contacts in the CRM, by id."""
    chance = random.Random(11)
    values = (None, *TEXTS)
    rows: dict[str, Row] = {
        f"c{number:03}": {"city": value, "first_name": chance.choice(values)}
        for number, value in enumerate((*values, *chance.choices(values, k=60)))
    }
    for entity_id, row in rows.items():
        small.add(schema.contact, id=entity_id, email=f"{entity_id}@example.org", **row)
    small.add(schema.lead, id="c001", email="lead@example.org", city="Köln")
    return rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions(FIELDS))
def test_exactly_those_are_picked_who_fulfil_the_table_of_truth(
    small: SmallCrm, table: dict[str, Row], condition: Condition
) -> None:
    expected = {entity_id: reference(condition, row) for entity_id, row in table.items()}
    unreadable = {
        entity_id
        for entity_id, row in table.items()
        if expected[entity_id] is None and any(NOT_UTF8 in (row[field] or "") for field in filter_fields(condition))
    }

    with small.crm.snapshot() as snapshot:
        frames = list(snapshot.select(by(condition), "news", ["city"], chunk_rows=7))
        members = {entity.entity_id for chunk in snapshot.members(by(condition)) for entity, _ in chunk}

    flags = {
        entity_id: flag
        for frame in frames
        for entity_id, flag in zip(frame["entity_id"], frame[UNREADABLE], strict=True)
    }
    matching = {entity_id for entity_id, outcome in expected.items() if outcome}
    assert {entity_id for entity_id, flag in flags.items() if not flag} == matching
    assert {entity_id for entity_id, flag in flags.items() if flag} == unreadable
    assert members == matching | unreadable
    assert all(list(frame.columns) == [*SELECTION_COLUMNS, "city", UNREADABLE] for frame in frames)


COLUMNS = ("points NUMERIC(9,2)", "member_since DATE", "vip BOOLEAN")

VALUES = (("7.00", "'2026-03-01'", "TRUE"), ("20.5", "'2026-03-02'", "FALSE"), ("NULL", "NULL", "NULL"))
"""Of the contacts `c1` to `c3`."""


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("points", "=", 7, ["c1"]),
        ("points", "<", 10.5, ["c1"]),
        ("points", ">", "10", ["c1", "c2"]),
        ("member_since", "=", "2026-03-01", ["c1"]),
        ("member_since", ">", "2026-03-01", ["c2"]),
        ("member_since", "<", "2026-03-02T00:00:00+00:00", ["c1"]),
        ("vip", "=", "true", ["c1"]),
        ("entity_id", "=", "C2", ["c2"]),
        ("email", "like", "%@EXAMPLE.org", ["c1", "c2", "c3"]),
    ],
)
def test_numbers_dates_and_truth_values_are_compared_as_the_text_that_is_sent(
    small: SmallCrm, field: str, operator: Operator, value: Value, expected: list[str]
) -> None:
    if isinstance(small, MariaSmallCrm):
        small.columns = frozenset({field})
        value = 1 if field == "vip" else value  # MariaDB has numbers in such columns
    for column in COLUMNS:
        small.execute(f"ALTER TABLE contact ADD COLUMN {column}")
    for number, (points, member_since, vip) in enumerate(VALUES, 1):
        small.add(schema.contact, id=f"c{number}", email=f"c{number}@example.org")
        assignments = f"points = {points}, member_since = {member_since}, vip = {vip}"
        small.execute(f"UPDATE contact SET {assignments} WHERE id = 'c{number}'")

    comparison = Comparison(field, operator, (value,))
    assert picked(small, by(comparison)) == expected
    known = ["c1", "c2", "c3"] if field in ("entity_id", "email") else ["c1", "c2"]
    assert picked(small, by(NotOf(comparison))) == [entity_id for entity_id in known if entity_id not in expected]


def test_fields_of_a_filter_are_read_beside_the_attributes_and_not_handed_on(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org", city="Köln", first_name="Ännchen")
    small.person("c2", "bert@example.org", city=None, first_name="Bert")
    people = small.selected(where("city", "köln"), columns=["first_name"])
    assert people["first_name"].tolist() == ["Ännchen"]
    assert "city" not in people.columns


def test_people_in_a_filter_have_the_consent_that_decides(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org", city="Köln")
    small.consent("c1", event="withdrawn", days=1)
    small.consent("c1")
    assert small.selected(where("city", "Köln"))["consent_kind"].tolist() == ["withdrawn"]


@pytest.mark.parametrize("field", ["town", "consent_kind", "entity_type"])
def test_an_unknown_field_refuses_the_list_and_says_which_columns_there_are(small: SmallCrm, field: str) -> None:
    small.person("c1", "anna@example.org")
    for read in (small.selected, lambda pick: members(small, pick)):
        with pytest.raises(CrmError, match=rf"has no column {field} .* correct it in the filter, .* there are .*city"):
            read(where(field, "x"))


def test_a_text_that_is_not_utf8_leaves_a_record_in_doubt(small_sqlite: SmallCrm) -> None:
    small_sqlite.person("c1", "anna@example.org", city="Köln")
    small_sqlite.person("c2", "bert@example.org", city="Bonn")
    small_sqlite.person("c3", "carl@example.org", city="Bonn")
    small_sqlite.execute("UPDATE contact SET city = CAST(x'4bf66c6e' AS TEXT) WHERE id = 'c3'")

    people = small_sqlite.selected(where("city", "köln"))
    assert dict(zip(people["entity_id"], people[UNREADABLE], strict=True)) == {"c1": False, "c3": True}
    assert [entity.entity_id for entity, _ in members(small_sqlite, where("city", "köln"))] == ["c1", "c3"]


QUERY = Pick("query", "SELECT id AS entity_id FROM lead WHERE city <> 'a:b' -- all;\n;", EntityType.LEAD)


def test_a_query_picks_records_of_its_type(small: SmallCrm) -> None:
    small.person("l1", " Anna@example.org", kind="lead", city="Köln")
    small.person("l2", None, kind="lead", city="Bonn")
    small.person("l1", "other@example.org")
    people = small.selected(QUERY, columns=["city"])
    assert people[["entity_type", "entity_id", "city"]].to_numpy().tolist() == [
        ["lead", "l1", "Köln"],
        ["lead", "l2", "Bonn"],
    ]
    assert members(small, QUERY) == [
        (Entity(EntityType.LEAD, "l1"), " Anna@example.org"),
        (Entity(EntityType.LEAD, "l2"), None),
    ]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (" -- nothing;", r"is empty; write a SELECT|is an empty query"),
        ("SELECT NULL AS entity_id", "rows without an entity_id"),
        ("SELECT id FROM nowhere", r"reading (the query of contacts|a query of select or exclude)"),
    ],
)
def test_a_query_that_can_not_be_used_is_refused(small: SmallCrm, query: str, problem: str) -> None:
    small.person("1", "anna@example.org")
    pick = Pick("query", query, EntityType.CONTACT)
    for read in (small.selected, lambda chosen: members(small, chosen)):
        with pytest.raises(CrmError, match=problem):
            read(pick)


def test_a_query_that_yields_numbers_is_refused_where_it_is_read_directly(small_direct: SmallCrm) -> None:
    small_direct.person("1", "anna@example.org")
    pick = Pick("query", "SELECT 1 AS entity_id", EntityType.CONTACT)
    for read in (small_direct.selected, lambda chosen: members(small_direct, chosen)):
        with pytest.raises(CrmError, match=r"must be text|must yield text"):
            read(pick)


def test_an_exclusion_names_records_and_all_their_usable_addresses(small: SmallCrm) -> None:
    small.person("c1", " Anna@EXAMPLE.org ")
    small.person("c2", "no address")
    small.person("l1", None, kind="lead")
    small.add(schema.marketing_list_member, marketing_list_id="all", entity_type="contact", entity_id="gone")
    with small.crm.snapshot() as snapshot:
        excluded = read_excluded(snapshot, {"exclude.0": EVERYBODY})
    assert excluded.records == {"contact:c1", "contact:c2", "contact:gone", "lead:l1"}
    assert excluded.addresses == {"anna@example.org"}


def test_an_exclusion_that_can_not_be_read_is_named_by_its_place(small: SmallCrm) -> None:
    with small.crm.snapshot() as snapshot, pytest.raises(CrmError, match=r"exclude.1: the .* report 'Gone'"):
        read_excluded(snapshot, {"exclude.0": EVERYBODY, "exclude.1": Pick("report", "Gone")})
