"""The people of marketing lists and reports, and the consents that decide."""

import dataclasses
import itertools
import random
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from campaign_sync.crm.port import SELECTION_COLUMNS, CrmError, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.domain.consent import (
    GRANTING,
    UNDATED,
    ConsentEvent,
    ConsentKind,
    ConsentWords,
    OptIn,
    current_consent,
    effective_kind,
)
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.instant import parse_instant
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS
from campaign_sync.domain.text import NOT_UTF8, XML_FORBIDDEN
from campaign_sync_tests import databases
from campaign_sync_tests.crm.small_crm import EVERYBODY, NOON, SmallCrm


def test_everybody_picked_comes_once_contacts_before_leads_before_accounts(small: SmallCrm) -> None:
    for kind in ("account", "lead", "contact"):
        for number in (2, 1):
            small.person(f"{kind}-{number}", f"{kind}{number}@example.org", kind=kind)
    people = small.selected(chunk_rows=1)
    assert people["entity_id"].tolist() == ["contact-1", "contact-2", "lead-1", "lead-2", "account-1", "account-2"]
    assert people["entity_type"].tolist() == ["contact", "contact", "lead", "lead", "account", "account"]


def test_a_person_without_consents_is_picked_without_a_consent(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", "press")
    person = small.selected().iloc[0]
    assert person[["consent_event_id", "consent_kind", "consent_at", "consent_source"]].isna().all()


def test_a_member_whose_record_is_gone_is_picked_without_an_address(small: SmallCrm) -> None:
    small.add(schema.marketing_list_member, marketing_list_id="all", entity_type="contact", entity_id="gone")
    assert small.selected()["entity_id"].tolist() == ["gone"]
    assert small.selected()["email"].isna().all()


def test_a_consent_granted_again_after_a_withdrawal_counts(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", event="withdrawn", days=1)
    small.consent("c1", event="granted", days=2, event_id="again")
    small.consent("c1", event="granted", days=0)
    person = small.selected().iloc[0]
    assert (person["consent_event_id"], person["consent_kind"]) == ("again", "granted")
    assert person["consent_at"] == pd.Timestamp(NOON + timedelta(days=2))
    assert small.suppressed().empty


def test_a_withdrawal_at_the_same_moment_beats_the_grant(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", event="withdrawn", event_id="a")
    small.consent("c1", event="confirmed", event_id="z")
    assert small.selected()["consent_kind"].tolist() == ["withdrawn"]
    assert small.suppressed()["entity_id"].tolist() == ["c1"]


WORDS = ConsentWords(granted=frozenset({"opt-in"}), withdrawn=frozenset({"revoked"}), ignored=frozenset({"requested"}))

KINDS = (
    "granted",
    " Granted",
    "confirmed",
    "OPT-IN",
    "withdrawn",
    "WITHDRAWN\u00a0",
    "Revoked",
    "requested",
    "maybe",
    "",
)

TIMES_ON_SQLITE = (
    "2026-03-01 12:00:00.000000",
    "2026-03-01T12:00:01",
    "2026-03-01T14:00:02+02:00",
    "2026-03-01 12:00:03Z",
    "2026-03-01",
    "soon",
    None,
    "2062-03-01 12:00:00",
    "infinity",
)
TIMES_ON_POSTGRESQL = (
    *(f"2026-03-01 12:00:0{second}+00" for second in range(4)),
    *(None, "-infinity", "2062-03-01 12:00:00+00", "infinity"),
)


def test_all_readings_of_consents_follow_the_rule_of_the_domain(small: SmallCrm) -> None:
    """Selection, suppression, who consents and a person's own history agree, whatever values the table has."""
    small.words = WORDS
    small.allow_anything()
    chance = random.Random(7)
    times = TIMES_ON_SQLITE if small.url.startswith("sqlite") else TIMES_ON_POSTGRESQL
    identities = (f"{prefix}{number}" for number in itertools.count() for prefix in chance.sample("aZäÖ_9-é", 8))
    histories = {
        f"c{number:03}": [
            (next(identities), chance.choice(KINDS), chance.choice(times))
            for _ in range(chance.choice((0, 1, 1, 2, 4)))
        ]
        for number in range(300)
    }
    for entity_id in histories:
        small.person(entity_id, f"{entity_id}@example.org")
    for entity_id, events in histories.items():
        for event_id, kind, at in events:
            small.event(
                event_id,
                chance.choice(("contact", "Contact", " CONTACT ")),
                chance.choice((entity_id, f" {entity_id}\t")),
                chance.choice(("news", "News ", "\u00a0NEWS")),
                kind,
                at,
            )
    effective = {
        entity_id: [
            ConsentEvent(
                event_id, effective_kind(meant, parse_instant(at), datetime.now(UTC)), parse_instant(at) or UNDATED
            )
            for event_id, raw, at in events
            if (meant := WORDS.kind_of(raw)) is not None
        ]
        for entity_id, events in histories.items()
    }
    deciding = {entity_id: current_consent(events) for entity_id, events in effective.items()}
    assert {event.kind for event in deciding.values() if event} == set(ConsentKind)

    people = small.selected(chunk_rows=7)
    selected = people[["consent_event_id", "consent_kind"]].astype("object").where(people["consent_kind"].notna(), None)
    assert dict(zip(people["entity_id"], selected.itertuples(index=False, name=None), strict=True)) == {
        entity_id: (event.event_id, event.kind.value) if event else (None, None)
        for entity_id, event in deciding.items()
    }
    suppressed = small.suppressed()
    ended = {kind: {id for id, event in deciding.items() if event and event.kind == kind} for kind in ConsentKind}
    assert set(suppressed[suppressed["kind"] == "unsubscribe"]["entity_id"]) == ended[ConsentKind.WITHDRAWN]
    unclear = set(suppressed[suppressed["kind"] == "unclear"]["entity_id"])
    # A grant without a time excludes no other person: it is no withdrawal.
    of_unknown_kind = {
        entity_id
        for entity_id, events in histories.items()
        if any(WORDS.kind_of(raw) is ConsentKind.UNCLEAR for event_id, raw, _ in events)
    }
    assert ended[ConsentKind.UNCLEAR] & of_unknown_kind <= unclear <= ended[ConsentKind.UNCLEAR]
    with small.crm.snapshot() as snapshot:
        assert {entity for entity, *_ in consenting(snapshot, "news")} == {
            f"contact:{entity_id}" for entity_id, event in deciding.items() if event and event.kind in GRANTING
        }
        for entity_id, as_understood in effective.items():
            history = snapshot.consents(Entity(EntityType.CONTACT, entity_id)).get("news", [])
            expected = sorted(as_understood, key=lambda event: (event.occurred_at, event.event_id))
            assert history == [dataclasses.replace(event, source="form") for event in expected]


def test_attributes_may_use_every_column_of_the_entity_as_text(small: SmallCrm) -> None:
    small.execute("ALTER TABLE contact ADD COLUMN points INTEGER")
    small.execute("ALTER TABLE contact ADD COLUMN customer_since TIMESTAMP")
    small.execute("ALTER TABLE contact ADD COLUMN vip BOOLEAN")
    small.person("c1", "anna@example.org", first_name="Jörg")
    small.execute("UPDATE contact SET points = 1200, customer_since = '2020-02-29 13:45:00', vip = true")
    people = small.selected(columns=["vip", "first_name", "points", "customer_since", "city", "email"])
    assert list(people.columns) == [*SELECTION_COLUMNS, "vip", "first_name", "points", "customer_since", "city"]
    row = people.iloc[0]
    vip = "1" if small.url.startswith("mariadb") else "true"  # where a truth value is a number
    assert row[["vip", "first_name", "points"]].tolist() == [vip, "Jörg", "1200"]
    assert row["customer_since"] == "2020-02-29T13:45:00+00:00"
    assert people["city"].isna().all()
    assert str(people["consent_at"].dtype) == "datetime64[us, UTC]"
    assert {str(dtype) for name, dtype in people.dtypes.items() if name != "consent_at"} == {"str"}


def test_a_list_of_contacts_and_leads_offers_only_the_columns_both_have(small: SmallCrm) -> None:
    small.execute("ALTER TABLE contact ADD COLUMN points INTEGER")
    small.person("c1", "anna@example.org")
    assert "points" in small.selected(columns=["points"]).columns
    small.person("l1", "ben@example.org", kind="lead")
    with pytest.raises(CrmError, match=r"'Everybody' has no column points .* has; lead lacks points; .*first_name"):
        small.selected(columns=["points"])


def test_a_dynamic_list_has_the_people_of_its_query(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org", city="Köln")
    small.person("c2", "ben@example.org", city="12 :30%")
    query = (
        "SELECT id AS entity_id FROM contact WHERE city LIKE '%:30%' UNION ALL SELECT id FROM contact WHERE id = 'c2';"
    )
    small.add(schema.marketing_list, id="d", name="Timely", kind="dynamic", entity_type="contact", query=query)
    assert small.selected(Pick("marketing_list", "Timely"))["entity_id"].tolist() == ["c2"]


def test_a_dynamic_lists_query_cannot_write(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    query = "SELECT id AS entity_id FROM contact); DELETE FROM contact; --"
    small.add(schema.marketing_list, id="d", name="Evil", kind="dynamic", entity_type="contact", query=query)
    with pytest.raises(CrmError, match="reading the marketing list 'Evil' failed"):
        small.selected(Pick("marketing_list", "Evil"))
    assert small.rows(schema.contact)


def test_a_broken_query_affects_no_other_list_of_the_same_snapshot(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    query = "SELECT nonsense FROM contact"
    small.add(schema.marketing_list, id="d", name="Broken", kind="dynamic", entity_type="contact", query=query)
    with small.crm.snapshot() as snapshot:
        with pytest.raises(CrmError, match="nonsense"):
            list(snapshot.select(Pick("marketing_list", "Broken"), "news", []))
        assert len(list(snapshot.select(EVERYBODY, "news", []))) == 1


@pytest.mark.parametrize("key", ["entity_id", "id"])
def test_a_report_offers_its_views_columns_and_the_entitys(small: SmallCrm, key: str) -> None:
    small.person("l1", "ben@example.org", kind="lead", first_name="Ben", city="Köln")
    small.person("l2", "ida@example.org", kind="lead")
    small.execute(
        f"CREATE VIEW fans AS SELECT id AS {key}, 'Lastenrad' AS product, 'Bonn' AS city FROM lead WHERE id='l1'"
    )
    small.add(schema.report, id="r", name="Fans", entity_type="lead", view_name="fans")
    fans = small.selected(Pick("report", "Fans"), columns=["product", "city", "first_name"])
    assert fans[["entity_id", "product", "city", "first_name"]].values.tolist() == [["l1", "Lastenrad", "Bonn", "Ben"]]


def test_an_entity_that_a_report_names_twice_is_picked_once_and_always_alike(small: SmallCrm) -> None:
    small.person("l1", "ben@example.org", kind="lead")
    small.consent("l1", kind="lead")
    small.consent("l1", event="withdrawn", kind="lead", days=1)
    small.execute("CREATE VIEW fans AS SELECT id AS entity_id, 'B' AS p FROM lead UNION ALL SELECT id, 'A' FROM lead")
    small.add(schema.report, id="r", name="Fans", entity_type="lead", view_name="fans")
    fans = small.selected(Pick("report", "Fans"), columns=["p"])
    assert fans[["entity_id", "p", "consent_kind"]].values.tolist() == [["l1", "A", "withdrawn"]]


def test_a_member_that_a_list_names_twice_is_one(small_direct: SmallCrm) -> None:
    small = small_direct
    for entity_id in ("c2", "c1"):
        small.person(entity_id, f"{entity_id}@example.org")
    small.add(schema.marketing_list_member, marketing_list_id="all", entity_type="Contact", entity_id="c1")

    def read() -> tuple[list[str], list[str]]:
        with small.crm.snapshot() as snapshot:
            members = [str(entity) for chunk in snapshot.members(EVERYBODY) for entity, _ in chunk]
        return small.selected(chunk_rows=1)["entity_id"].tolist(), sorted(members)

    assert read() == (["c1", "c2"], ["contact:c1", "contact:c2"])
    small.execute("DELETE FROM marketing_list_member WHERE entity_type = 'Contact'")
    small.execute("ALTER TABLE marketing_list_member RENAME TO members")
    for rows in ("SELECT * FROM members UNION ALL SELECT * FROM members", "SELECT * FROM members"):
        small.execute(f"CREATE VIEW marketing_list_member AS {rows}")  # which has no key
        assert read() == (["c1", "c2"], ["contact:c1", "contact:c2"])
        small.execute("DROP VIEW marketing_list_member")
    small.execute("ALTER TABLE members RENAME TO marketing_list_member")
    small.execute("UPDATE marketing_list_member SET entity_id = ' c1 ' WHERE entity_id = 'c1'")
    assert read() == (["c1", "c2"], ["contact:c1", "contact:c2"])


def test_an_unknown_pick_is_named_together_with_the_known_ones(small: SmallCrm) -> None:
    with pytest.raises(CrmError, match=r"no marketing list 'Missing'.*it has 'Everybody'"):
        small.selected(Pick("marketing_list", "Missing"))
    with pytest.raises(CrmError, match=r"no report 'Nothing'.*none at all"):
        small.selected(Pick("report", "Nothing"))


def test_the_missing_view_of_a_report_is_named(small: SmallCrm) -> None:
    small.add(schema.report, id="r", name="Fans", entity_type="lead", view_name="fans")
    with pytest.raises(CrmError, match=r"fans\b.*view_name of the report 'Fans'"):
        small.selected(Pick("report", "Fans"))


def test_opt_ins_are_found_by_their_id(small: SmallCrm) -> None:
    with small.crm.snapshot() as snapshot:
        assert snapshot.opt_in("press") == OptIn("press", "sued", "Press", "email")
        assert snapshot.opt_in("nonsense") is None


def test_a_snapshot_sees_one_moment_and_keeps_no_writer_waiting(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    with small.crm.snapshot() as snapshot:
        small.person("c2", "ben@example.org")
        assert [len(frame) for frame in snapshot.select(EVERYBODY, "news", [])] == [1]
    assert len(small.selected()) == 2


def test_hard_bounces_suppress_in_every_mandator_and_soft_ones_nowhere(small: SmallCrm) -> None:
    for address, kind in ((" Anna@BÜRO.example.org", "hard"), ("soft@example.org", "soft")):
        small.add(schema.address_state, address=address, bounce_kind=kind, bounced_at=NOON, mandator="nord")
    for mandator in ("nord", "sued"):
        suppressed = small.suppressed(mandator)
        assert list(suppressed.columns) == list(SUPPRESSION_COLUMNS)
        assert suppressed["address"].tolist() == ["anna@xn--bro-hoa.example.org"]
        assert suppressed["since"].tolist() == [pd.Timestamp(NOON)]


def test_withdrawals_suppress_only_in_the_opt_ins_mandator(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.consent("c1", "press", "withdrawn")
    assert small.suppressed("nord").empty
    assert small.suppressed("sued")[["kind", "address", "entity_id", "opt_in_id"]].values.tolist() == [
        ["unsubscribe", "anna@example.org", "c1", "press"]
    ]


@pytest.mark.parametrize("kind", list(EntityType))
def test_a_withdrawal_names_the_address_of_its_entity_whatever_kind_that_is(small: SmallCrm, kind: str) -> None:
    for other in EntityType:
        small.person("1", f"{other}@example.org", kind=other)
    small.consent("1", "news", "withdrawn", kind=kind)
    small.consent("gone", "news", "withdrawn", kind=kind)
    assert small.suppressed("nord")[["entity_id", "address"]].fillna("–").values.tolist() == [
        ["1", f"{kind}@example.org"],
        ["gone", "–"],
    ]


def test_text_that_is_not_utf8_is_marked_so_that_nothing_sends_it(small_sqlite: SmallCrm) -> None:
    small_sqlite.person("c1", "anna@example.org")
    small_sqlite.person("c2", "ben@example.org", last_name="Böhm")
    small_sqlite.execute("UPDATE contact SET last_name = CAST(x'4DFC6C6C6572' AS TEXT) WHERE id = 'c1'")
    names = small_sqlite.selected(columns=["last_name"])["last_name"].tolist()
    assert names == [f"M{NOT_UTF8}ller", "Böhm"]
    assert XML_FORBIDDEN.search(names[0])


def test_a_key_that_is_not_utf8_is_named_by_its_place_and_never_shown(small_sqlite: SmallCrm) -> None:
    small_sqlite.person("c1", "anna@example.org")
    small_sqlite.consent("c1", "news", "granted")
    small_sqlite.execute("UPDATE consent_event SET id = CAST(x'4DFC6C6C6572' AS TEXT)")
    with pytest.raises(CrmError, match=r"consent_event\.id holds text that isn't UTF-8 .* in 1 of 1 rows") as caught:
        small_sqlite.selected()
    assert "ller" not in str(caught.value)


def test_text_that_is_not_utf8_in_a_database_of_any_bytes_is_an_error() -> None:
    with databases.fresh_database("ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        small = SmallCrm(url)
        small.person("c1", "anna@example.org")
        small.execute(r"UPDATE contact SET last_name = E'M\xFCller'")
        with pytest.raises(CrmError, match=r"reading the marketing list 'Everybody' .* a text isn't UTF-8") as caught:
            small.selected(columns=["last_name"])
        assert "ller" not in str(caught.value)


def test_times_without_a_zone_count_as_utc(postgres_url: str) -> None:
    small = SmallCrm(postgres_url)
    small.person("c1", "anna@example.org")
    small.consent("c1")
    small.execute(
        "ALTER TABLE consent_event ALTER COLUMN occurred_at TYPE TIMESTAMP USING occurred_at AT TIME ZONE 'UTC'"
    )
    assert small.selected()["consent_at"].tolist() == [pd.Timestamp(NOON)]


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        schema.UtcTime().process_bind_param(datetime(2026, 1, 1), None)  # type: ignore[arg-type] # noqa: DTZ001
    assert schema.UtcTime().process_result_value(datetime(2026, 1, 1), None) == datetime(2026, 1, 1, tzinfo=UTC)  # type: ignore[arg-type] # noqa: DTZ001


def test_suppressions_are_read_once_in_a_snapshot_and_anew_in_the_next(small: SmallCrm) -> None:
    small.person("anna", "anna@example.org")
    small.consent("anna", event="withdrawn")
    with small.crm.snapshot() as snapshot:
        first = snapshot.suppression("nord")
        first["source"] = "changed by the caller"
        small.consent("anna", days=1)
        again, others = snapshot.suppression("nord"), snapshot.suppression("sued")
    assert again["source"].tolist() == ["form"]
    assert others.empty
    assert small.suppressed().empty
