"""What MariaDB does otherwise than PostgreSQL and SQLite: collations, character sets, snapshots, drivers, errors."""

import struct
import traceback
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pymysql  # type: ignore[import-untyped]
import pytest
from pydantic import SecretStr
from pymysql import connections
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from campaign_sync.config import SqlSettings
from campaign_sync.crm.mirror.source import BounceMark
from campaign_sync.crm.port import CrmError, CrmNeeds, CrmSetupError, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.sql.source import SqlSource
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync.domain.response import Response, ResponseKind
from campaign_sync_tests import mariadb
from campaign_sync_tests.crm.foreign_schema import MAPPING, ForeignCrm, all_rows
from campaign_sync_tests.crm.small_crm import NOON


def source(url: str, **settings: Any) -> SqlSource:
    return SqlSource(SqlSettings.model_validate({"url": SecretStr(url)} | settings))


@pytest.fixture
def contract_url(mariadb_url: str) -> str:
    schema.create_crm(mariadb_url, responses=True, exports=True)
    return mariadb_url


@pytest.fixture
def reader_url(mariadb_url: str) -> Iterator[str]:
    """Yield the URL of a user without any right to the database."""
    url = make_url(mariadb_url)
    name = str(url.database)[:32]
    with mariadb.connected() as connection:
        connection.exec_driver_sql(f"CREATE USER '{name}' IDENTIFIED BY 'right'")
        yield url.set(username=name, password="right").render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP USER '{name}'")


def execute(url: str, statement: str, *rows: dict[str, object]) -> None:
    with crm_engine(url).begin() as connection:
        connection.execute(text(statement), list(rows) or None)


@pytest.mark.smoke
def test_the_contracts_tables_work_without_configuration(contract_url: str) -> None:
    for bare in (contract_url.replace("mariadb+pymysql", "mariadb"), contract_url.replace("mariadb+pymysql", "mysql")):
        crm = source(bare)
        crm.check(exports=True)
    execute(contract_url, "INSERT INTO contact (id, email) VALUES (:id, '😀@example.org')", {"id": "c1"})
    with crm.read(CrmNeeds()) as reader:
        assert all_rows(reader.people(EntityType.CONTACT)) == [("c1", "😀@example.org")]


def test_ids_that_differ_in_case_only_are_two_people(contract_url: str) -> None:
    execute(contract_url, "INSERT INTO contact (id) VALUES (:id)", {"id": "0031AbC"}, {"id": "0031aBc"})
    execute(contract_url, "INSERT INTO marketing_list (id, name, kind) VALUES ('l', 'List', 'static')")
    execute(
        contract_url,
        "INSERT INTO marketing_list_member VALUES ('l', 'contact', :id)",
        {"id": "0031AbC"},
        {"id": "0031aBc"},
    )
    with source(contract_url).read(CrmNeeds()) as reader:
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 2
        assert len(all_rows(reader.pick(Pick("marketing_list", "List")))) == 2


def test_members_of_a_list_whose_id_differs_in_case_only_arent_its_members(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE person (id varchar(9), email varchar(99)) COLLATE utf8mb4_general_ci")
    execute(mariadb_url, "CREATE TABLE list (id varchar(9), name varchar(9)) COLLATE utf8mb4_unicode_ci")
    execute(mariadb_url, "CREATE TABLE member (list varchar(9), person varchar(9)) COLLATE utf8mb3_general_ci")
    execute(mariadb_url, "INSERT INTO list VALUES ('Ab', 'first'), ('aB', 'second')")
    execute(mariadb_url, "INSERT INTO member VALUES ('Ab', 'p1'), ('aB', 'p2'), ('ab', 'p3')")
    members = {
        "table": "member",
        "columns": {"marketing_list_id": "list", "entity_id": "person"},
        "constants": {"entity_type": "contact"},
    }
    tables = {
        "contact": {"table": "person"},
        "consent_state": {"query": "SELECT email AS address, 'granted' AS kind FROM person"},
        "marketing_list": {"table": "list", "constants": {"kind": "static"}},
        "marketing_list_member": members,
    }
    opt_ins = {"news": {"mandator": "nord", "description": "News"}}
    crm = source(mariadb_url, tables=tables, opt_ins=opt_ins, write_back=MAPPING["write_back"])
    with crm.read(CrmNeeds()) as reader:
        assert all_rows(reader.pick(Pick("marketing_list", "second"))) == [("contact", "p2")]


def test_tables_of_any_character_set_arrive_as_unicode(mariadb_url: str) -> None:
    foreign = ForeignCrm(mariadb_url)
    foreign.execute("ALTER TABLE person CONVERT TO CHARACTER SET latin1")
    foreign.execute("ALTER TABLE prospect CONVERT TO CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci")
    foreign.people((1, "müller@example.org"))
    foreign.execute("UPDATE person SET town = 'Größe €'")
    with foreign.reading("town") as reader:
        assert all_rows(reader.people(EntityType.CONTACT)) == [("1", "müller@example.org", "Größe €")]


def test_a_url_that_asks_for_another_character_set_loses_nothing(mariadb_url: str) -> None:
    foreign = ForeignCrm(make_url(mariadb_url).update_query_dict({"charset": "latin1"}).render_as_string(False))
    foreign.execute("ALTER TABLE person CONVERT TO CHARACTER SET utf8mb4")
    foreign.people((1, "😀@example.org"))
    with foreign.reading() as reader:
        assert all_rows(reader.people(EntityType.CONTACT)) == [("1", "😀@example.org")]


def test_times_are_in_utc_whatever_the_server_thinks(mariadb_url: str) -> None:
    foreign = ForeignCrm(mariadb_url)
    foreign.execute("ALTER TABLE person MODIFY newsletter_at timestamp(6) NULL")
    foreign.people((1, "anna@example.org"))
    with mariadb.connected(mariadb_url) as connection:
        connection.exec_driver_sql("SET time_zone = '+05:00'")
        connection.exec_driver_sql("UPDATE person SET newsletter_at = '2026-03-01 17:00:00.5'")
    with foreign.reading() as reader:
        states = reader.consent_states(None)
        assert states is not None
        ((*_, changed_at, _source, _evidence),) = all_rows(states)
    assert changed_at.isoformat() == "2026-03-01T12:00:00.500000"


def test_a_reading_connection_refuses_to_write(contract_url: str) -> None:
    with read_only(crm_engine(contract_url)) as connection, pytest.raises(OperationalError, match="READ ONLY"):
        connection.execute(text("INSERT INTO contact (id) VALUES ('c1')"))


def test_a_snapshot_is_frozen_before_its_first_read(contract_url: str) -> None:
    with source(contract_url).read(CrmNeeds()) as reader:
        execute(contract_url, "INSERT INTO contact (id) VALUES ('late')")
        assert all_rows(reader.people(EntityType.CONTACT)) == []


def cut_connections(database: str) -> None:
    with mariadb.connected() as connection:
        query = "SELECT id FROM information_schema.processlist WHERE db = %s"
        for (process,) in connection.exec_driver_sql(query, (database,)).all():
            connection.exec_driver_sql(f"KILL {process}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyMySQL reads on when it is freed
@pytest.mark.parametrize("after", [0, 1], ids=["before the first row", "in the middle"])
def test_a_connection_that_is_cut_is_an_error_without_a_retry_of_its_own(mariadb_url: str, after: int) -> None:
    foreign = ForeignCrm(mariadb_url)
    # Larger than the buffers of both ends, so that the server is still sending.
    foreign.people(*((number, f"{'x' * 150}{number}@example.org") for number in range(60_000)))
    with foreign.reading() as reader:
        people = reader.people(EntityType.CONTACT)
        for _ in range(after):
            next(people.chunks)
        cut_connections(str(make_url(mariadb_url).database))
        with pytest.raises(CrmError, match=r"the connection was lost \(error \d+\)") as caught:
            all_rows(people)
    assert "@example.org" not in str(caught.value)
    assert caught.value.retryable
    with foreign.reading() as reader:
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 60_000


def test_a_statement_beside_an_open_stream_is_an_error(mariadb_url: str) -> None:
    foreign = ForeignCrm(mariadb_url)
    foreign.people(*((number, "x@example.org") for number in range(20_000)))
    with crm_engine(mariadb_url).connect() as connection:
        options = {"stream_results": True, "max_row_buffer": 100}
        result = connection.execute(text("SELECT nr FROM person"), execution_options=options)
        result.fetchmany(100)
        with pytest.raises(CrmError, match="rows were lost on the way"), crm_errors(foreign.engine, "reading"):
            connection.execute(text("SELECT 1"))
        result.close()


def test_responses_are_recorded_once(contract_url: str) -> None:
    execute(contract_url, "INSERT INTO contact (id) VALUES ('c1')")
    execute(contract_url, "INSERT INTO campaign VALUES ('4711')")
    crm = source(contract_url)
    response = Response(ResponseKind.OPENS, "contact:c1", 4711, NOON, entity=Entity(EntityType.CONTACT, "c1"))
    assert crm.takes_responses()
    assert crm.record_responses([response]).written == 1
    assert crm.record_responses([response]).already_known == 1


def test_exports_are_looked_up(contract_url: str) -> None:
    execute(contract_url, "INSERT INTO export_log VALUES ('night', '2026-03-01 12:00:00')")
    assert source(contract_url).last_export("night") == NOON
    assert source(contract_url).last_export("other") is None


def test_a_table_of_states_that_isnt_configured_is_refused(contract_url: str) -> None:
    execute(contract_url, "CREATE TABLE consent_state (kind varchar(9))")
    with pytest.raises(CrmError, match=r"consent_state that isn't configured.*set crm\.preset: contract"):
        source(contract_url).check(exports=False)


def test_missing_rights_are_named(reader_url: str, mariadb_url: str) -> None:
    with pytest.raises(CrmError, match="no such database, or the user has no right to it"):
        source(reader_url).check(exports=False)
    schema.create_crm(mariadb_url)
    url = make_url(reader_url)
    with mariadb.connected() as connection:
        connection.exec_driver_sql(f"GRANT SELECT ON {url.database}.* TO '{url.username}'")
    with pytest.raises(CrmError, match=r"INSERT.*command denied to user") as caught:
        source(reader_url).check(exports=False)
    assert "crm.tables" not in str(caught.value)
    for table in ("consent_event", "address_state"):
        with mariadb.connected() as connection:
            connection.exec_driver_sql(f"GRANT INSERT, UPDATE ON {url.database}.{table} TO '{url.username}'")
    source(reader_url).check(exports=False)


def test_a_refused_login_is_no_case_for_a_retry(reader_url: str) -> None:
    wrong = make_url(reader_url).set(password="wrong").render_as_string(hide_password=False)
    with pytest.raises(CrmSetupError, match=r"the login was refused; check user and password in crm\.url") as caught:
        source(wrong).check(exports=False)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected", "remedy"),
    [
        (RuntimeError("'pynacl' package is required for geheim"), CrmSetupError, "pip install 'pymysql"),
        (RuntimeError("geheim"), CrmError, "the driver couldn't read the answer (RuntimeError)"),
        (struct.error("geheim"), CrmError, "check that crm.url names a database"),
        (pymysql.err.InternalError("Packet sequence number wrong: geheim"), CrmError, "couldn't read the answer"),
        (pymysql.err.OperationalError(1999, "geheim"), CrmError, "the database's documentation explains"),
    ],
)
def test_whatever_the_driver_raises_ends_as_an_error_of_the_crm(
    mariadb_url: str, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[CrmError], remedy: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    in_driver = FunctionType(fail.__code__, vars(connections), closure=fail.__closure__)
    # Only meanwhile: the database is dropped before pytest undoes what is patched.
    with monkeypatch.context() as patch:
        patch.setattr(connections.Connection, "_read_packet", in_driver)
        with pytest.raises(CrmError) as raised:
            source(mariadb_url).check(exports=False)
    assert type(raised.value) is expected
    assert remedy in str(raised.value)
    assert "geheim" not in "".join(traceback.format_exception(raised.value))


def test_a_server_that_isnt_there_is_unreachable(tmp_path: Any) -> None:
    with pytest.raises(CrmError, match="it can't be reached") as caught:
        source(f"mariadb://root@localhost/crm?unix_socket={tmp_path}/none").check(exports=False)
    assert caught.value.retryable


def test_a_statement_that_is_wrong_is_shown_but_never_a_value(mariadb_url: str) -> None:
    foreign = ForeignCrm(mariadb_url)
    foreign.people((1, "anna@example.org"))
    with foreign.reading() as reader:
        with pytest.raises(CrmError, match="Unknown column 'mial' in") as caught:
            reader.pick(Pick("query", "SELECT mial FROM person", EntityType.CONTACT))
        with pytest.raises(CrmSetupError, match=r"(?s)near 'person.*\(error 1064\)"):
            reader.pick(Pick("query", "SELECT mail FORM person", EntityType.CONTACT))
        assert len(all_rows(reader.people(EntityType.CONTACT))) == 1
    with (
        pytest.raises(CrmError, match=r"IntegrityError \(error 1062, which the database") as caught,
        crm_errors(foreign.engine, "writing"),
    ):
        foreign.people((1, "secret@example.org"))
    assert "secret" not in str(caught.value)


def test_a_bounce_never_marks_an_address_that_only_a_collation_takes_for_the_same(contract_url: str) -> None:
    execute(contract_url, "ALTER TABLE address_state CONVERT TO CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    execute(contract_url, "ALTER TABLE address_state DROP PRIMARY KEY")
    execute(contract_url, "INSERT INTO address_state VALUES ('muller@example.org', 'soft', NOW(), 'n', 's')")
    crm = source(contract_url, preset="contract", tables={"consent_state": None})
    bounce = BounceMark("b", "müller@example.org", (), BounceKind.HARD, NOON, "nord", "test")
    for _ in range(2):
        assert [record for part in crm.write_bounces([bounce]) for record in part] == [bounce]
    with crm_engine(contract_url).connect() as connection:
        rows = connection.execute(text("SELECT address, bounce_kind FROM address_state")).all()
    assert sorted(map(tuple, rows)) == [("muller@example.org", "soft"), ("müller@example.org", "hard")]


def test_a_column_of_single_bits_is_a_number(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE person (nr int, mail varchar(99), no_mail bit(1))")
    execute(mariadb_url, "INSERT INTO person VALUES (1, 'anna@example.org', b'1'), (2, 'ben@example.org', b'0')")
    tables = {"contact": {"table": "person", "columns": {"id": "nr", "email": "mail"}}}
    with source(mariadb_url, **MAPPING | {"tables": MAPPING["tables"] | tables}).read(
        CrmNeeds(columns=frozenset({"no_mail"}))
    ) as reader:
        people = reader.people(EntityType.CONTACT)
        rows = [dict(zip(people.columns, row, strict=True)) for row in all_rows(people)]
    assert [row["no_mail"] for row in sorted(rows, key=lambda row: str(row["id"]))] == [1, 0]
