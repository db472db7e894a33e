"""Whether a database is a CRM at all, and what is said when it isn't."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import make_url

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Unsubscribe
from campaign_sync_tests.crm.small_crm import EVERYBODY, NOON, SmallCrm


def test_created_tables_fulfil_the_contract(small: SmallCrm) -> None:
    schema.create_crm(small.url)
    small.crm.check()


def test_everything_that_is_missing_is_named_at_once(small: SmallCrm) -> None:
    small.execute("DROP TABLE report")
    small.execute("DROP TABLE address_state")
    small.execute("ALTER TABLE consent_event DROP COLUMN evidence")
    small.execute("ALTER TABLE lead DROP COLUMN email")
    with pytest.raises(CrmError) as caught:
        small.crm.check()
    for flaw in ("view report is", "view address_state is", "column consent_event.evidence is", "column lead.email is"):
        assert flaw in str(caught.value)
    assert "campaign-sync crm init" in str(caught.value)


def test_a_crm_that_keeps_no_text_versions_is_a_crm_as_well(small: SmallCrm) -> None:
    small.person("c1", "anna@example.org")
    small.person("c2", "ben@example.org")
    small.consent("c1")
    small.consent("c2", event="withdrawn")
    small.execute("ALTER TABLE consent_event DROP COLUMN text_version")

    small.crm.check()
    assert small.selected()["consent_source"].tolist() == ["form", "form"]
    assert small.selected()["consent_text_version"].isna().all()
    assert small.suppressed()["entity_id"].tolist() == ["c2"]
    unsubscribe = Unsubscribe("anna@example.org", NOON, "nord", "optimizely:unsubscribes")
    assert small.crm.record_unsubscribes([unsubscribe]).written == 1
    with small.crm.snapshot() as snapshot:
        events = snapshot.consents(Entity(EntityType.CONTACT, "c1"))["news"]
        assert list(snapshot.consenting("news")) == []
    assert [event.text_version for event in events] == [None, None]


def test_views_over_another_crm_will_do(small: SmallCrm) -> None:
    small.execute("ALTER TABLE contact RENAME TO person")
    small.execute("CREATE VIEW contact AS SELECT id, email, city AS town FROM person")
    small.crm.check()
    schema.create_crm(small.url)
    small.execute("INSERT INTO person (id, email, city) VALUES ('p1', 'anna@example.org', 'Köln')")
    small.add(schema.marketing_list_member, marketing_list_id="all", entity_type="contact", entity_id="p1")
    assert small.selected(EVERYBODY, columns=["town"])["town"].tolist() == ["Köln"]


def test_ids_that_are_no_text_are_found_before_they_do_harm(postgres_url: str) -> None:
    small = SmallCrm(postgres_url)
    small.execute("ALTER TABLE contact ALTER COLUMN id TYPE bigint USING 1")
    with pytest.raises(CrmError, match=r"contact\.id is BIGINT and must be text \(cast it in a view\)"):
        small.crm.check()


@pytest.mark.smoke
def test_a_bare_postgresql_url_means_the_driver_we_ship(postgres_url: str) -> None:
    bare = postgres_url.replace("postgresql+psycopg2", "postgresql")
    schema.create_crm(bare)
    SqlCrm(bare).check()
    assert crm_engine(bare.replace("postgresql", "postgres", 1)).url.drivername == "postgresql+psycopg2"


def test_a_sqlite_file_that_does_not_exist_is_not_made_up(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "crm.db"
    with pytest.raises(CrmError, match=r"no CRM at .*crm\.db.*campaign-sync crm init"):
        SqlCrm(f"sqlite:///{file}")
    assert not file.parent.exists()
    schema.create_crm(f"sqlite:///{file}")
    SqlCrm(f"sqlite:///{file}").check()


def test_an_unreachable_crm_is_named_without_user_and_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = closed.getsockname()[1]
        url = f"postgresql://somebody:s3cret@127.0.0.1:{port}/crm?password=s3cret"
        for call in (SqlCrm(url).check, lambda: SqlCrm(url).snapshot().__enter__(), lambda: schema.create_crm(url)):
            with pytest.raises(CrmError, match=rf"127\.0\.0\.1:{port}/crm: it can't be reached") as caught:
                call()
            assert "s3cret" not in str(caught.value)
            assert "somebody" not in str(caught.value)


def test_a_database_that_does_not_exist_is_told_apart(postgres_url: str) -> None:
    other = make_url(postgres_url).set(database="nonsense")
    with pytest.raises(CrmError, match="no such database or user"):
        SqlCrm(other.render_as_string(hide_password=False)).check()


@pytest.mark.parametrize("url", ["nonsense", "oracle+nonsense://u:s3cret@host/db"])
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(CrmError, match="database URL") as caught:
        SqlCrm(url)
    assert "s3cret" not in str(caught.value)


def test_what_goes_wrong_inside_a_snapshot_is_not_blamed_on_the_crm(small: SmallCrm) -> None:
    with pytest.raises(ZeroDivisionError), small.crm.snapshot():
        raise ZeroDivisionError
