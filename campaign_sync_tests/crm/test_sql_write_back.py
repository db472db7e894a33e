"""Feedback that is written into a foreign schema by configured statements."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from campaign_sync.config import SqlSettings
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.crm.sql.source import SqlSource
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync.domain.instant import parse_instant
from campaign_sync_tests.crm.foreign_schema import MAPPING, ForeignCrm
from campaign_sync_tests.databases import writing_engine

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def withdrawal(entity_id: str, **values: Any) -> Withdrawal:
    entity = Entity(EntityType.CONTACT, entity_id)
    plain = Withdrawal(f"event-{entity_id}", entity, "a@example.org", "news", "nord", NOON, "optimizely:x", "row: 'ü'")
    return replace(plain, **values)


def bounce(address: str, **values: Any) -> BounceMark:
    holders = ((Entity(EntityType.CONTACT, "1"), address.upper()), (Entity(EntityType.LEAD, "2"), address))
    return replace(
        BounceMark(f"b-{address}", address, holders, BounceKind.HARD, NOON, "nord", "optimizely:b"), **values
    )


def written(parts: Any) -> list[Any]:
    return [record for part in parts for record in part]


def states(foreign: ForeignCrm) -> list[tuple[int, int, Any]]:
    with foreign.engine.connect() as connection:
        rows = connection.execute(text("SELECT nr, newsletter, newsletter_at FROM person ORDER BY nr")).all()
    return [(row[0], row[1], parse_instant(row[2])) for row in rows]


@pytest.fixture
def foreign(foreign_url: str) -> ForeignCrm:
    foreign = ForeignCrm(foreign_url)
    foreign.people((1, "anna@example.org"), (2, "ben@example.org"), (3, "cleo@example.org"))
    foreign.execute("UPDATE person SET newsletter = 1")
    return foreign


def test_a_withdrawal_sets_the_field_of_the_record_once(foreign: ForeignCrm) -> None:
    withdrawals = [withdrawal("1"), withdrawal("3")]
    assert written(foreign.source.write_withdrawals(withdrawals)) == withdrawals
    assert states(foreign) == [(1, 0, NOON), (2, 1, None), (3, 0, NOON)]
    again = [withdrawal("1", occurred_at=NOON + timedelta(days=1))]
    assert written(foreign.source.write_withdrawals(again)) == again
    assert states(foreign)[0] == (1, 0, NOON)


def test_times_are_utc_whatever_zone_the_server_is_in(postgres_url: str) -> None:
    engine = crm_engine(f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-c%20timezone%3DEurope/Berlin")
    with engine.begin() as connection:
        stored = connection.execute(text("SELECT CAST(:at AS timestamptz)::timestamp"), {"at": NOON}).scalar()
    assert stored == NOON.replace(tzinfo=None)


def test_a_newer_grant_stays(foreign: ForeignCrm) -> None:
    foreign.execute("UPDATE person SET newsletter_at = '2026-03-02 08:00:00' WHERE nr = 1")
    assert written(foreign.source.write_withdrawals([withdrawal("1")])) == [withdrawal("1")]
    assert states(foreign)[0][1] == 1


@pytest.mark.parametrize("size", [1, 700])
def test_a_record_that_the_crm_refuses_stops_no_other(foreign_url: str, size: int) -> None:
    foreign = ForeignCrm(
        foreign_url,
        write_back=MAPPING["write_back"] | {"withdrawal": ["INSERT INTO bounced (mail) VALUES (:evidence)"]},
    )
    foreign.execute("INSERT INTO bounced (mail) VALUES ('taken')")
    withdrawals = [withdrawal(str(number), evidence=f"free {number}") for number in range(size)]
    refused = withdrawal("refused", evidence="taken")
    assert written(foreign.source.write_withdrawals([*withdrawals, refused])) == withdrawals
    assert written(foreign.source.write_withdrawals([refused])) == []
    with foreign.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM bounced")).scalar_one() == size + 1


def test_a_statement_that_never_works_is_an_error_without_any_value(foreign_url: str) -> None:
    statements = {"withdrawal": ["UPDATE person SET gone = :email WHERE :entity_type = 'contact' AND nr = :entity_id"]}
    foreign = ForeignCrm(foreign_url, write_back=MAPPING["write_back"] | statements)
    with pytest.raises(CrmError, match="recording withdrawals failed") as caught:
        written(foreign.source.write_withdrawals([withdrawal("1", email="secret@example.org")]))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_bounce_is_written_once_for_an_address(foreign: ForeignCrm) -> None:
    marks = [bounce("muller@example.org"), bounce("müller@example.org")]
    assert written(foreign.source.write_bounces(marks)) == marks
    assert written(foreign.source.write_bounces(marks)) == marks
    with foreign.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM bounced")).scalar_one() in (1, 2)  # by its own collation


def test_a_bounce_is_written_for_every_record_if_the_statement_names_one(foreign_url: str) -> None:
    statements = {"bounce": ["INSERT INTO bounced (mail) VALUES (:email)"]}
    foreign = ForeignCrm(foreign_url, write_back=MAPPING["write_back"] | statements)
    foreign.execute("DROP TABLE bounced;\nCREATE TABLE bounced (mail varchar(200))")
    written(foreign.source.write_bounces([bounce("anna@example.org")]))
    with foreign.engine.connect() as connection:
        assert sorted(connection.execute(text("SELECT mail FROM bounced")).scalars()) == [
            "ANNA@EXAMPLE.ORG",
            "anna@example.org",
        ]


class ContractCrm:
    """The contract's tables in an empty database, read as a copied CRM."""

    def __init__(self, url: str) -> None:
        schema.create_crm(url)
        self.engine = writing_engine(url)
        self.source = SqlSource(SqlSettings.model_validate({"url": SecretStr(url), "preset": "contract"}))
        self.run("CREATE TABLE consent_state AS SELECT entity_type, entity_id, opt_in_id, kind FROM consent_event")
        self.run("INSERT INTO opt_in VALUES ('news', 'nord', 'News', 'email')")

    def run(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def rows(self, query: str) -> Sequence[Any]:
        with self.engine.connect() as connection:
            return connection.execute(text(query)).all()


@pytest.fixture
def contract(foreign_url: str) -> ContractCrm:
    return ContractCrm(foreign_url)


def test_the_contract_takes_withdrawals_as_events_once(contract: ContractCrm) -> None:
    contract.source.check(exports=False)
    for _ in range(2):
        assert written(contract.source.write_withdrawals([withdrawal("1"), withdrawal("2")]))
    rows = contract.rows("SELECT id, entity_id, kind, occurred_at, evidence FROM consent_event ORDER BY id")
    assert [(row[0], row[1], row[2], parse_instant(row[3]), row[4]) for row in rows] == [
        ("event-1", "1", "withdrawn", NOON, "row: 'ü'"),
        ("event-2", "2", "withdrawn", NOON, "row: 'ü'"),
    ]


def test_the_contract_keeps_both_of_two_addresses_that_differ_in_an_accent(contract: ContractCrm) -> None:
    written(contract.source.write_bounces([bounce("muller@example.org"), bounce("müller@example.org")]))
    assert [row[0] for row in contract.rows("SELECT address FROM address_state ORDER BY address")] == [
        "muller@example.org",
        "müller@example.org",
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((BounceKind.SOFT, 0), (BounceKind.HARD, -1), (BounceKind.HARD, -1)),
        ((BounceKind.HARD, 0), (BounceKind.SOFT, 1), (BounceKind.HARD, 0)),
        ((BounceKind.HARD, 0), (BounceKind.LIMIT, 1), (BounceKind.LIMIT, 1)),
        ((BounceKind.HARD, 0), (BounceKind.LIMIT, -1), (BounceKind.HARD, 0)),
        ((BounceKind.SOFT, 0), (BounceKind.SOFT, 1), (BounceKind.SOFT, 1)),
    ],
)
def test_the_contract_keeps_the_bounce_with_precedence(
    contract: ContractCrm,
    first: tuple[BounceKind, int],
    second: tuple[BounceKind, int],
    expected: tuple[BounceKind, int],
) -> None:
    for kind, days in (first, second):
        mark = bounce("a@x.example", kind=kind, occurred_at=NOON + timedelta(days=days))
        assert written(contract.source.write_bounces([mark])) == [mark]
    ((kind, at),) = contract.rows("SELECT bounce_kind, bounced_at FROM address_state")
    assert (kind, parse_instant(at)) == (expected[0], NOON + timedelta(days=expected[1]))
