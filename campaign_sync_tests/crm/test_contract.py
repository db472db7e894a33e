"""Whether a database fulfils the contract, and the errors where it doesn't."""

import socket
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.engine import crm_engine, crm_errors
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Unsubscribe
from campaign_sync_tests.crm.small_crm import EVERYBODY, NOON, SmallCrm


def test_created_tables_fulfil_the_contract(small_direct: SmallCrm) -> None:
    schema.create_crm(small_direct.url)
    small_direct.crm.check()


def test_everything_that_is_missing_is_named_at_once(small_direct: SmallCrm) -> None:
    small_direct.execute("DROP TABLE report")
    small_direct.execute("DROP TABLE address_state")
    small_direct.execute("ALTER TABLE consent_event DROP COLUMN evidence")
    for index in ("lead_address", "lead_unusual"):  # which PostgreSQL drops with the column
        small_direct.execute(f"DROP INDEX {index}")
    small_direct.execute("ALTER TABLE lead DROP COLUMN email")
    with pytest.raises(CrmError) as caught:
        small_direct.crm.check()
    for flaw in ("view report is", "view address_state is", "column consent_event.evidence is", "column lead.email is"):
        assert flaw in str(caught.value)
    assert "campaign-sync crm init" in str(caught.value)


def test_a_crm_without_text_versions_fulfils_the_contract(small_direct: SmallCrm) -> None:
    small_direct.person("c1", "anna@example.org")
    small_direct.person("c2", "ben@example.org")
    small_direct.consent("c1")
    small_direct.consent("c2", event="withdrawn")
    small_direct.execute("ALTER TABLE consent_event DROP COLUMN text_version")

    small_direct.crm.check()
    assert small_direct.selected()["consent_source"].tolist() == ["form", "form"]
    assert small_direct.selected()["consent_text_version"].isna().all()
    assert small_direct.suppressed()["entity_id"].tolist() == ["c2"]
    unsubscribe = Unsubscribe("anna@example.org", NOON, "nord", "optimizely:unsubscribes")
    assert small_direct.crm.record_unsubscribes([unsubscribe]).written == 1
    with small_direct.crm.snapshot() as snapshot:
        events = snapshot.consents(Entity(EntityType.CONTACT, "c1"))["news"]
        assert consenting(snapshot, "news") == []
    assert [event.text_version for event in events] == [None, None]


def test_views_over_another_crm_fulfil_the_contract(small_direct: SmallCrm) -> None:
    small_direct.execute("ALTER TABLE contact RENAME TO person")
    small_direct.execute("CREATE VIEW contact AS SELECT id, email, city AS town FROM person")
    small_direct.crm.check()
    schema.create_crm(small_direct.url)
    small_direct.execute("INSERT INTO person (id, email, city) VALUES ('p1', 'anna@example.org', 'Köln')")
    small_direct.add(schema.marketing_list_member, marketing_list_id="all", entity_type="contact", entity_id="p1")
    assert small_direct.selected(EVERYBODY, columns=["town"])["town"].tolist() == ["Köln"]


def test_ids_that_are_no_text_are_found_by_the_check(postgres_url: str) -> None:
    small_direct = SmallCrm(postgres_url)
    small_direct.execute("ALTER TABLE contact ALTER COLUMN id TYPE bigint USING 1")
    with pytest.raises(CrmError, match=r"contact\.id is BIGINT and must be text \(cast it in a view\)"):
        small_direct.crm.check()


@pytest.mark.smoke
def test_a_bare_postgresql_url_means_the_driver_we_ship(postgres_url: str) -> None:
    bare = postgres_url.replace("postgresql+psycopg2", "postgresql")
    schema.create_crm(bare)
    SqlCrm(bare).check()
    assert crm_engine(bare.replace("postgresql", "postgres", 1)).url.drivername == "postgresql+psycopg2"


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "crm.db"
    with pytest.raises(CrmError, match=r"no CRM at .*crm\.db.*campaign-sync crm init"):
        SqlCrm(f"sqlite:///{file}")
    assert not file.parent.exists()
    schema.create_crm(f"sqlite:///{file}")
    SqlCrm(f"sqlite:///{file}").check()


def test_an_unreachable_crm_is_named_without_user_and_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but not listening
        port = closed.getsockname()[1]
        url = f"postgresql://user-name:s3cret@127.0.0.1:{port}/crm?password=s3cret"
        for call in (SqlCrm(url).check, lambda: SqlCrm(url).snapshot().__enter__(), lambda: schema.create_crm(url)):
            with pytest.raises(CrmError, match=rf"127\.0\.0\.1:{port}/crm: it can't be reached") as caught:
                call()
            assert caught.value.retryable
            assert "s3cret" not in str(caught.value)
            assert "user-name" not in str(caught.value)


def test_a_missing_database_is_distinguished_from_an_unreachable_server(postgres_url: str) -> None:
    other = make_url(postgres_url).set(database="nonsense")
    with pytest.raises(CrmError, match="no such database or user"):
        SqlCrm(other.render_as_string(hide_password=False)).check()


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nonsense://u:s3cret@host/db"])
def test_an_unusable_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(CrmError, match="database URL") as caught:
        SqlCrm(url)
    assert "s3cret" not in str(caught.value)


def test_what_goes_wrong_inside_a_snapshot_is_not_blamed_on_the_crm(small_direct: SmallCrm) -> None:
    with pytest.raises(ZeroDivisionError), small_direct.crm.snapshot():
        raise ZeroDivisionError


class PostgresqlError(Exception):
    """An error as psycopg2 raises it; it has no SQLSTATE where no connection came about."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.pgcode, self.diag = sqlstate, SimpleNamespace(message_primary=text)


class SqliteError(sqlite3.OperationalError):
    """An error as sqlite3 raises it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.sqlite_errorcode = code


@pytest.mark.parametrize(
    ("original", "retryable"),
    [
        (PostgresqlError('relation "contact" does not exist', "42P01"), True),
        (PostgresqlError('column "email" does not exist', "42703"), True),
        (PostgresqlError("permission denied for view contact", "42501"), True),
        (PostgresqlError("operator does not exist: text > timestamp", "42883"), True),
        (PostgresqlError("UNION types text and integer cannot be matched", "42804"), True),
        (PostgresqlError("syntax error", "42601"), False),
        (PostgresqlError('FATAL: password authentication failed for user "u"'), False),
        (PostgresqlError("fe_sendauth: no password supplied"), False),
        (SqliteError("no such table: contact", sqlite3.SQLITE_ERROR), True),
        (SqliteError("ambiguous column name: id", sqlite3.SQLITE_ERROR), True),
        (SqliteError('near "SELEC": syntax error', sqlite3.SQLITE_ERROR), False),
        (PostgresqlError('FATAL: LDAP authentication failed for user "u"'), True),
        (PostgresqlError('FATAL: database "crm" does not exist'), True),
        (PostgresqlError("FATAL: the database system is starting up"), True),
        (PostgresqlError("connection refused"), True),
        (PostgresqlError("division by zero", "22012"), True),
        (PostgresqlError("cannot execute INSERT in a read-only transaction", "25006"), True),
        (PostgresqlError("deadlock detected", "40P01"), True),
        (PostgresqlError("too many connections", "53300"), True),
        (PostgresqlError("terminating connection", "57P01"), True),
        (SqliteError("database is locked", sqlite3.SQLITE_BUSY), True),
        (SqliteError("disk I/O error", sqlite3.SQLITE_IOERR), True),
        (SqliteError("database or disk is full", sqlite3.SQLITE_FULL), True),
    ],
    ids=str,
)
def test_only_an_error_that_may_pass_by_itself_is_retried(original: Exception, retryable: bool) -> None:
    engine = crm_engine("postgresql://user-name:s3cret@host/crm")
    with pytest.raises(CrmError) as caught, crm_errors(engine, "reading contact"):
        raise OperationalError("SELECT", None, original)
    assert caught.value.retryable == retryable


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        ("DROP TABLE address_state", []),
        ("UPDATE marketing_list SET kind = 'neither'", []),
        ("UPDATE contact SET city = 'Bonn'", ["no_such_column"]),
    ],
)
def test_what_a_load_may_be_changing_is_retried(small_direct: SmallCrm, change: str, columns: list[str]) -> None:
    small_direct.person("c1", "anna@example.org")
    small_direct.execute(change)
    with small_direct.crm.snapshot() as snapshot, pytest.raises(CrmError) as caught:
        pd.concat([snapshot.suppression("nord"), *snapshot.select(EVERYBODY, "news", columns)])
    assert caught.value.retryable


def test_missing_rows_are_retried_for_the_next_load_may_bring_them(small_direct: SmallCrm) -> None:
    with pytest.raises(CrmError) as caught:
        small_direct.selected(Pick("marketing_list", "Not loaded yet"))
    assert caught.value.retryable
