"""The preset `suitecrm` on SuiteCRM's own schema in a real MariaDB."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import NullPool, create_engine, text

from campaign_sync.config import SqlSettings, load_configuration
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.crm.port import CrmError, CrmNeeds, Pick
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.crm.sql.source import SqlSource
from campaign_sync.crm.sql.source_reader import SqlSourceReader
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync_tests.crm.foreign_schema import all_rows

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "suitecrm.yaml"
SCHEMA = Path(__file__).with_name("suitecrm.sql")
CONFIRMED = datetime(2026, 2, 1, 8, 30, tzinfo=UTC)
MODULES = {"contacts": "Contacts", "leads": "Leads", "prospects": "Prospects", "accounts": "Accounts"}


class SuiteCrm:
    """SuiteCRM's tables in an empty database."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.engine = crm_engine(url)
        own = create_engine(self.engine.url, poolclass=NullPool, pool_reset_on_return=None)  # it outlives the server
        self._connection = own.connect().execution_options(isolation_level="AUTOCOMMIT")
        opt_ins = {"news": {"mandator": "nord", "description": "News"}}
        self.source = SqlSource(
            SqlSettings.model_validate({"url": SecretStr(url), "preset": "suitecrm", "opt_ins": opt_ins} | settings)
        )
        for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
            self.run(statement)
        self._count = 0

    def run(self, statement: str, **values: object) -> None:
        self._connection.execute(text(statement), values)

    def add(self, table: str, **values: object) -> str:
        """Add a row, and return its id."""
        self._count += 1
        values.setdefault("id", f"{table[:20]}-{self._count}")
        names = ", ".join(values)
        self.run(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})", **values)
        return str(values["id"])

    def address(self, email: str, **values: object) -> str:
        return self.add("email_addresses", email_address=email, email_address_caps=email.upper(), **values)

    def person(self, table: str, email: str | None = None, *, of_address: dict[str, object] | None = None) -> str:
        name = {"name": "ACME"} if table == "accounts" else {"first_name": "Jürgen", "last_name": "O'Neill"}
        record = self.add(table, **name)
        if email:
            self.link(table, record, self.address(email, **(of_address or {})), primary_address=1)
        return record

    def link(self, table: str, record: str, address: str, **values: object) -> None:
        self.add("email_addr_bean_rel", email_address_id=address, bean_id=record, bean_module=MODULES[table], **values)

    @contextmanager
    def reading(self, *columns: str) -> Iterator[SqlSourceReader]:
        with self.source.read(CrmNeeds(columns=frozenset(columns))) as reader:
            yield reader

    def states(self) -> dict[str, tuple[Any, Any]]:
        """Return kind and date of the consent state of each address."""
        with self.reading() as reader:
            states = reader.consent_states(None)
            assert states is not None
            rows = [dict(zip(states.columns, row, strict=True)) for row in all_rows(states)]
        assert all(row["opt_in_id"] is None for row in rows)
        return {row["address"]: (row["kind"], row["changed_at"]) for row in rows if row["address"]}

    def withdrawn_records(self) -> list[tuple[str, str, str]]:
        """Return type, id and reason of the records whose consents are withdrawn beside those of their address."""
        with self.reading() as reader:
            states = reader.consent_states(None)
            assert states is not None
            rows = [dict(zip(states.columns, row, strict=True)) for row in all_rows(states)]
        records = [row for row in rows if row["entity_id"]]
        assert all((row["kind"], row["changed_at"], row["address"]) == ("withdrawn", None, None) for row in records)
        return sorted((row["entity_type"], row["entity_id"], row["evidence"]) for row in records)

    def flags(self, column: str) -> dict[str, int]:
        with self.engine.connect() as connection:
            rows = connection.execute(text(f"SELECT id, email_address, {column} FROM email_addresses"))
            return {row[1]: row[2] for row in rows}


@pytest.fixture
def suite(mariadb_url: str) -> SuiteCrm:
    return SuiteCrm(mariadb_url)


def withdrawal(email: str | None, at: datetime = CONFIRMED + timedelta(days=3)) -> Withdrawal:
    return Withdrawal("e1", Entity(EntityType.CONTACT, "c"), email, "news", "nord", at, "optimizely:x", "row 1")


@pytest.mark.smoke
def test_the_preset_fits_the_schema(suite: SuiteCrm) -> None:
    suite.source.check(exports=False)


def test_people_come_with_their_primary_address_or_any(suite: SuiteCrm) -> None:
    primary = suite.person("contacts", "anna@example.org")
    suite.link("contacts", primary, suite.address("a.second@example.org"))
    any_address = suite.person("contacts")
    suite.link("contacts", any_address, suite.address("z@example.org"))
    suite.link("contacts", any_address, suite.address("b@example.org"))
    suite.link("contacts", any_address, suite.address("a.deleted@example.org"), deleted=1)
    suite.link("contacts", any_address, suite.address("a.gone@example.org", deleted=1))
    suite.link("leads", any_address, suite.address("a.of.a.lead@example.org"))
    without = suite.person("contacts")
    deleted = suite.person("contacts", "deleted@example.org")
    suite.run("UPDATE contacts SET deleted = 1 WHERE id = :id", id=deleted)
    company = suite.person("accounts", "office@example.org")
    suite.add("accounts_contacts", contact_id=primary, account_id=company)
    lead, target = suite.person("leads", "lead@example.org"), suite.person("prospects", "target@example.org")
    with suite.reading("first_name", "account_name") as reader:
        assert sorted(all_rows(reader.people(EntityType.CONTACT))) == sorted(
            [
                (primary, "anna@example.org", "ACME", "Jürgen"),
                (any_address, "b@example.org", None, "Jürgen"),
                (without, None, None, "Jürgen"),
            ]
        )
        assert [row[:2] for row in all_rows(reader.people(EntityType.LEAD))] == [
            (lead, "lead@example.org"),
            (target, "target@example.org"),
        ]
        assert [row[:2] for row in all_rows(reader.people(EntityType.ACCOUNT))] == [(company, "office@example.org")]


def test_accounts_have_the_columns_of_people_as_a_target_list_may_hold_both(suite: SuiteCrm) -> None:
    company = suite.person("accounts", "office@example.org")
    suite.run("UPDATE accounts SET billing_address_city = 'Köln', billing_address_state = 'NRW'")
    names = {
        *("account_name", "salutation", "first_name", "last_name", "title", "department"),
        *(f"primary_address_{part}" for part in ("street", "city", "state", "postalcode", "country")),
    }
    with suite.reading(*names) as reader:
        people = reader.people(EntityType.ACCOUNT)
        (row,) = all_rows(people)
    assert names < set(people.columns)
    assert {name: value for name, value in zip(people.columns, row, strict=True) if value is not None} == {
        "id": company,
        "email": "office@example.org",
        "account_name": "ACME",
        "primary_address_city": "Köln",
        "primary_address_state": "NRW",
    }


def test_target_lists_have_members_of_all_types(suite: SuiteCrm) -> None:
    records = {table: suite.person(table, f"{table}@example.org") for table in MODULES}
    news = suite.add("prospect_lists", name="Newsletter Süd", list_type="default")
    suite.add("prospect_lists", name="Not these", list_type="exempt_address")
    suite.add("prospect_lists", name="Domains", list_type="exempt_domain")
    suite.add("prospect_lists", name="Old", deleted=1)
    for table, record in records.items():
        suite.add("prospect_lists_prospects", prospect_list_id=news, related_id=record, related_type=MODULES[table])
    suite.add("prospect_lists_prospects", prospect_list_id=news, related_id="u1", related_type="Users")
    suite.add("prospect_lists_prospects", prospect_list_id=news, related_id="gone", related_type="Leads", deleted=1)
    with suite.reading() as reader:
        assert set(all_rows(reader.pick(Pick("marketing_list", "Newsletter Süd")))) == {
            ("contact", records["contacts"]),
            ("lead", records["leads"]),
            ("lead", records["prospects"]),
            ("account", records["accounts"]),
            ("Users", "u1"),
        }
        with pytest.raises(CrmError, match="it has 'Newsletter Süd', 'Not these'"):
            reader.pick(Pick("marketing_list", "Domains"))


def test_consents_belong_to_addresses_and_only_confirmed_ones_have_a_date(suite: SuiteCrm) -> None:
    confirmed = {"confirm_opt_in": "confirmed-opt-in", "confirm_opt_in_date": CONFIRMED.replace(tzinfo=None)}
    edited = {"date_modified": datetime(2026, 5, 1)}  # noqa: DTZ001 - as SuiteCRM stores it
    suite.address("confirmed@example.org", **confirmed, **edited)
    suite.address("agreed@example.org", confirm_opt_in="opt-in", confirm_opt_in_date=CONFIRMED.replace(tzinfo=None))
    suite.address("neither@example.org", **edited)
    suite.address("empty@example.org", confirm_opt_in=None)
    suite.address("left@example.org", opt_out=1, **confirmed, **edited)
    suite.address("gone@example.org", opt_out=1, deleted=1)
    assert suite.states() == {
        "confirmed@example.org": ("confirmed", CONFIRMED.replace(tzinfo=None)),
        "agreed@example.org": ("granted", None),
        "neither@example.org": ("none", None),
        "empty@example.org": ("none", None),
        "left@example.org": ("withdrawn", None),
    }


def test_suppression_lists_and_lawful_bases_withdraw_the_record(suite: SuiteCrm) -> None:
    records = {table: suite.person(table, f"{table}@example.org") for table in MODULES}
    lists = [
        suite.add("prospect_lists", name=name, list_type=kind, deleted=deleted)
        for name, kind, deleted in (
            *(("Unsubscribed", "exempt", 0), ("Old", "exempt", 1), ("News", "default", 0)),
            ("Addresses", "exempt_address", 0),
        )
    ]
    for prospect_list in lists:
        for table, record in records.items():
            values = {"related_id": record, "related_type": MODULES[table], "prospect_list_id": prospect_list}
            suite.add("prospect_lists_prospects", **values)
    for related_id, related_type, deleted in (("u", "Users", 0), ("back", "Contacts", 1), (" ", "Contacts", 0)):
        row: dict[str, object] = {"related_id": related_id, "related_type": related_type, "deleted": deleted}
        suite.add("prospect_lists_prospects", prospect_list_id=lists[0], **row)
    types = {"contacts": "contact", "leads": "lead", "prospects": "lead", "accounts": "account"}
    expected = [(types[table], record, "suppression list") for table, record in records.items()]
    assert suite.withdrawn_records() == sorted(expected)
    suite.run("UPDATE prospect_lists SET deleted = 1")
    for table in ("contacts", "leads", "prospects"):
        suite.run(f"UPDATE {table} SET lawful_basis = '^consent^,^withdrawn^' WHERE id = :id", id=records[table])
        suite.add(table, lawful_basis="^consent^")
        suite.add(table, lawful_basis="^withdrawn^", deleted=1)
    expected = [(types[table], record, "lawful basis") for table, record in records.items() if table != "accounts"]
    assert suite.withdrawn_records() == sorted(expected)


def test_a_withdrawal_opts_the_address_out_and_no_similar_one(suite: SuiteCrm) -> None:
    for email in ("Müller@Example.org", "muller@example.org", "other@example.org"):
        suite.address(email)
    assert list(suite.source.write_withdrawals([withdrawal("Müller@Example.org"), withdrawal(None)]))
    assert suite.flags("opt_out") == {"Müller@Example.org": 1, "muller@example.org": 0, "other@example.org": 0}


def test_a_later_confirmation_stays(suite: SuiteCrm) -> None:
    confirmed: dict[str, object] = {"confirm_opt_in": "confirmed-opt-in", "confirm_opt_in_date": CONFIRMED}
    suite.address("anna@example.org", **confirmed)
    list(suite.source.write_withdrawals([withdrawal("anna@example.org", CONFIRMED - timedelta(days=1))]))
    assert suite.flags("opt_out") == {"anna@example.org": 0}
    list(suite.source.write_withdrawals([withdrawal("anna@example.org")]))
    assert suite.flags("opt_out") == {"anna@example.org": 1}


def test_final_bounces_make_the_address_invalid(suite: SuiteCrm) -> None:
    for email in ("MÜLLER@example.org", "muller@example.org", "soft@example.org"):
        suite.address(email)
    holder = Entity(EntityType.CONTACT, "c")
    marks = [
        BounceMark("1", "müller@example.org", ((holder, "MÜLLER@example.org"),), BounceKind.LIMIT, CONFIRMED, "n", "o"),
        BounceMark("2", "soft@example.org", ((holder, "soft@example.org"),), BounceKind.SOFT, CONFIRMED, "n", "o"),
    ]
    assert [*suite.source.write_bounces(marks)] == [marks]
    assert suite.flags("invalid_email") == {"MÜLLER@example.org": 1, "muller@example.org": 0, "soft@example.org": 0}
    with suite.reading() as reader:
        assert all_rows(reader.address_states()) == [("MÜLLER@example.org", "hard", None, None, "SuiteCRM")]


def test_the_example_of_at_most_30_lines_is_a_whole_configuration() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30
    environ = {"CRM_URL": "mariadb://u:p@db/suitecrm", "NORD_USERNAME": "u", "NORD_PASSWORD": "p"}
    configuration = load_configuration(EXAMPLE, environ)
    assert isinstance(configuration.crm, SqlSettings)
    assert configuration.crm.preset == "suitecrm"
