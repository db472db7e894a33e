"""The demonstration CRM: always the same, with the data errors of a real one."""

import unicodedata
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Table, insert, select

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.domain.address import normalize_address
from campaign_sync.domain.erasure import NO_ERASURES
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.text import MOJIBAKE
from campaign_sync.sandbox.demo_crm import advance_demo_crm, create_demo_crm, demo_addresses
from campaign_sync.sandbox.demo_history import DAY_ONE

LISTS = {
    Pick("marketing_list", "Newsletter Nord"): ("newsletter-nord", 1800),
    Pick("report", "Produktinteressenten"): ("produktnews-nord", 900),
    Pick("marketing_list", "Newsletter Süd"): ("newsletter-sued", 1500),
    Pick("marketing_list", "Partner Süd"): ("partner-sued", 400),
}


@pytest.fixture
def demo_url(sqlite_url: str) -> str:
    create_demo_crm(sqlite_url, people=5_000)
    return sqlite_url


def rows(url: str, table: Table) -> list[dict[str, Any]]:
    with crm_engine(url).connect() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]


def picked(url: str, pick: Pick) -> pd.DataFrame:
    with SqlCrm(url).snapshot() as snapshot:
        return pd.concat(list(snapshot.select(pick, LISTS[pick][0], ["last_name"])), ignore_index=True)


def kept(url: str, pick: Pick, mandator: str) -> pd.DataFrame:
    with SqlCrm(url).snapshot() as snapshot:
        return split_by_consent(
            picked(url, pick), Suppressed.of(snapshot.suppression(mandator), LISTS[pick][0], NO_ERASURES)
        ).rows


def test_it_works_on_every_database(database_url: str) -> None:
    create_demo_crm(database_url, people=500)
    advance_demo_crm(database_url, 2, DAY_ONE + timedelta(days=2))
    SqlCrm(database_url).check()
    assert demo_addresses(database_url, 2, "sued").unsubscribed
    assert all(len(picked(database_url, pick)) for pick in LISTS)


def test_lists_have_their_sizes_and_most_members_have_a_consent(demo_url: str) -> None:
    for pick, (opt_in_id, size) in LISTS.items():
        assert len(picked(demo_url, pick)) == size
        assert 0.9 * size < len(kept(demo_url, pick, opt_in_id.rpartition("-")[2])) < size


def test_the_same_seed_makes_the_same_people(demo_url: str, sqlite_url: str) -> None:
    other = sqlite_url.replace("database.db", "other.db")
    create_demo_crm(other, people=5_000)
    create_demo_crm(other, people=5_000)
    for day in (2, 3):
        advance_demo_crm(demo_url, day, DAY_ONE + timedelta(days=day))
        advance_demo_crm(other, day, DAY_ONE + timedelta(days=day))
    for table in schema.metadata.sorted_tables:
        assert rows(demo_url, table) == rows(other, table)


def test_it_has_the_data_errors_of_a_real_crm(demo_url: str) -> None:
    people = [row for name in ("contact", "lead", "account") for row in rows(demo_url, schema.metadata.tables[name])]
    emails = [row["email"] for row in people if row["email"]]
    names = [row["last_name"] for row in people]
    assert any(row["email"] is None for row in people)
    assert any(row["first_name"] is None for row in people)
    assert any("@" not in email for email in emails)
    assert any(email != email.strip() for email in emails)
    assert any(email != email.lower() for email in emails)
    assert any(not email.isascii() for email in emails)
    assert any("\x0b" in name for name in names)
    assert any(MOJIBAKE.search(name) for name in names)
    assert any(unicodedata.is_normalized("NFC", name) and not name.isascii() for name in names)
    assert any(not unicodedata.is_normalized("NFC", name) for name in names)
    shared = {row["email"] for row in rows(demo_url, schema.contact)} & {
        row["email"] for row in rows(demo_url, schema.lead)
    }
    assert shared - {None}


def test_its_people_are_invented(demo_url: str) -> None:
    for name in ("contact", "lead", "account"):
        for row in rows(demo_url, schema.metadata.tables[name]):
            domain = (row["email"] or "@example").lower().strip().rpartition("@")[2]
            assert domain.endswith(("example", "example.org", "example.com", "example.net", "localhost")) or (
                " at " in domain
            )


def test_a_day_brings_new_people_withdrawals_and_moves(demo_url: str) -> None:
    before = {pick: set(picked(demo_url, pick)["entity_id"]) for pick in LISTS}
    advance_demo_crm(demo_url, 2, DAY_ONE + timedelta(days=2))
    after = {pick: set(picked(demo_url, pick)["entity_id"]) for pick in LISTS}
    nord, _, sued, _ = LISTS
    assert after[nord] > before[nord]
    assert after[sued] - before[sued]
    assert before[sued] - after[sued]
    kinds = {row["kind"] for row in rows(demo_url, schema.consent_event) if row["occurred_at"] > DAY_ONE}
    assert kinds == {"granted", "withdrawn"}


def test_a_day_is_applied_once(demo_url: str) -> None:
    advance_demo_crm(demo_url, 2, DAY_ONE + timedelta(days=2))
    events = rows(demo_url, schema.consent_event)
    advance_demo_crm(demo_url, 2, DAY_ONE + timedelta(days=2))
    assert rows(demo_url, schema.consent_event) == events


def test_a_demonstration_of_an_earlier_version_must_be_restarted(demo_url: str) -> None:
    with crm_engine(demo_url).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE consent_event DROP COLUMN text_version")
    with pytest.raises(CrmError, match=r"remove \.campaign_sync/demo to start again"):
        advance_demo_crm(demo_url, 2, DAY_ONE + timedelta(days=2))


def test_the_feedback_of_a_day_does_not_depend_on_earlier_imports(demo_url: str) -> None:
    first = demo_addresses(demo_url, 1, "nord")
    crm = SqlCrm(demo_url)
    crm.record_unsubscribes(
        [Unsubscribe(address, DAY_ONE, "nord", "optimizely:test") for address in first.unsubscribed]
    )
    crm.record_bounces([Bounce(address, DAY_ONE, "nord", "optimizely:test") for address in first.bounced])
    advance_demo_crm(demo_url, 2, DAY_ONE + timedelta(days=2))
    assert demo_addresses(demo_url, 1, "nord") == first
    second = demo_addresses(demo_url, 2, "nord")
    assert not set(first.unsubscribed + first.bounced) & set(second.unsubscribed + second.bounced)
    assert first.blocked_patterns != second.blocked_patterns


def test_feedback_is_about_people_the_crm_knows_by_normalized_addresses(demo_url: str) -> None:
    for mandator in ("nord", "sued"):
        feedback = demo_addresses(demo_url, 1, mandator)
        addresses = feedback.unsubscribed + feedback.bounced
        assert [normalize_address(address) for address in addresses] == addresses
        assert not set(feedback.unsubscribed) & set(feedback.bounced)
        outcome = SqlCrm(demo_url).record_unsubscribes(
            [Unsubscribe(address, DAY_ONE, mandator, "optimizely:test") for address in addresses]
        )
        assert outcome.unmatched == ()
        assert outcome.written >= len(addresses) > 20


def test_no_people_are_invented_in_a_real_crm(sqlite_url: str) -> None:
    schema.create_crm(sqlite_url)
    with crm_engine(sqlite_url).begin() as connection:
        connection.execute(insert(schema.contact), {"id": "c1", "email": "real@example.org"})
    with pytest.raises(CrmError, match="holds people already"):
        create_demo_crm(sqlite_url)
    with pytest.raises(CrmError, match="isn't a demonstration CRM"):
        advance_demo_crm(sqlite_url, 2, DAY_ONE + timedelta(days=2))
