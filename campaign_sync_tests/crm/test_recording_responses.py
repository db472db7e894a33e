"""Writing opens, clicks and other responses into a CRM that has tables for them."""

import dataclasses
from datetime import timedelta

import pytest

from campaign_sync.crm.port import CrmError, RecordedResponses
from campaign_sync.crm.sql import chunks, schema
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.response import Response, ResponseKind
from campaign_sync_tests.crm.small_crm import NOON, SmallCrm

ANNA = Entity(EntityType.CONTACT, "c1")
OPENED = Response(ResponseKind.OPENS, "anna@example.org", 70001, NOON, None, ANNA, "news")


def clicked(link: str | None, hours: float = 0) -> Response:
    moment = NOON + timedelta(hours=hours)
    return dataclasses.replace(OPENED, kind=ResponseKind.CLICKS, detail=link, occurred_at=moment)


@pytest.fixture
def taking(small_direct: SmallCrm) -> SmallCrm:
    """A CRM with the optional tables, a campaign and Anna."""
    schema.create_crm(small_direct.url, responses=True)
    small_direct.person("c1", "anna@example.org")
    small_direct.add(schema.campaign, mailing_id="70001")
    return small_direct


def test_the_contract_does_not_ask_for_the_tables_of_responses(small_direct: SmallCrm) -> None:
    small_direct.crm.check()
    assert not small_direct.crm.takes_responses()
    schema.create_crm(small_direct.url, responses=True)
    small_direct.crm.check()
    assert small_direct.crm.takes_responses()


@pytest.mark.parametrize("table", ["campaign", "response"])
def test_one_of_the_two_tables_is_not_enough_for_responses(taking: SmallCrm, table: str) -> None:
    taking.execute(f"DROP TABLE {table}")
    assert not taking.crm.takes_responses()


def test_tables_with_other_columns_are_not_used(taking: SmallCrm) -> None:
    taking.execute("ALTER TABLE response DROP COLUMN detail")
    assert not taking.crm.takes_responses()


def test_views_and_further_columns_will_do(taking: SmallCrm) -> None:
    taking.execute("DROP TABLE campaign")
    taking.execute("CREATE TABLE action (number integer, name text)")
    taking.execute("INSERT INTO action VALUES (70001, 'Sale')")
    taking.execute("CREATE VIEW campaign AS SELECT CAST(number AS text) AS mailing_id, name FROM action")
    taking.execute("ALTER TABLE response ADD COLUMN seen integer")
    assert taking.crm.takes_responses()
    assert taking.crm.record_responses([OPENED]) == RecordedResponses(written=1)


def test_a_response_is_written_once(taking: SmallCrm) -> None:
    responses = [OPENED, clicked("https://example.org/ü"), clicked("https://example.org/ü", 1), clicked(None)]
    assert taking.crm.record_responses(responses) == RecordedResponses(written=4)
    assert taking.crm.record_responses([*responses, OPENED]) == RecordedResponses(already_known=5)

    rows = taking.rows(schema.response)
    assert len({row.pop("id") for row in rows}) == 4
    (opened,) = [row for row in rows if row["kind"] == "opens"]
    assert opened == {
        "kind": "opens",
        "mailing_id": "70001",
        "entity_type": "contact",
        "entity_id": "c1",
        "occurred_at": NOON,
        "detail": None,
    }


def test_only_known_people_and_known_campaigns_are_written_and_the_others_counted(taking: SmallCrm) -> None:
    unidentified = dataclasses.replace(OPENED, entity=None)
    deleted = dataclasses.replace(OPENED, entity=Entity(EntityType.CONTACT, "c9"))
    other_mailing = dataclasses.replace(OPENED, mailing_id=70002)
    neither = dataclasses.replace(other_mailing, entity=None)
    recorded = taking.crm.record_responses([OPENED, unidentified, deleted, other_mailing, neither])
    assert recorded == RecordedResponses(written=1, without_campaign=2, unknown_recipient=2)
    assert len(taking.rows(schema.response)) == 1

    taking.add(schema.campaign, mailing_id="70002")
    assert taking.crm.record_responses([OPENED, other_mailing]) == RecordedResponses(written=1, already_known=1)


def test_a_chunk_is_written_wholly_or_not_at_all(small_sqlite: SmallCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    schema.create_crm(small_sqlite.url, responses=True)
    small_sqlite.person("c1", "anna@example.org")
    small_sqlite.add(schema.campaign, mailing_id="70001")
    small_sqlite.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON response WHEN NEW.detail = 'd' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    responses = [clicked(link) for link in "abcd"]
    with pytest.raises(CrmError, match="recording responses failed") as caught:
        small_sqlite.crm.record_responses(responses)
    assert "c1" not in str(caught.value)
    assert {row["detail"] for row in small_sqlite.rows(schema.response)} == {"a", "b"}

    small_sqlite.execute("DROP TRIGGER refuse")
    assert small_sqlite.crm.record_responses(responses) == RecordedResponses(written=2, already_known=2)


def test_no_responses_need_no_tables(small_direct: SmallCrm) -> None:
    assert small_direct.crm.record_responses([]) == RecordedResponses()
