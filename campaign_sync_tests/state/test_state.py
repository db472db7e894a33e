"""What the product remembers, on both databases it runs on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import create_engine, inspect

from campaign_sync.domain.feedback import Bounce, FeedbackKind, Unsubscribe
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.state.database import StateError
from campaign_sync.state.feedback import Unmatched
from campaign_sync.state.journal import ReplaceState, StoredSnapshot
from campaign_sync.state.store import State
from campaign_sync.state.tables import metadata

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_migrations_make_exactly_the_tables_the_code_knows(database_url: str) -> None:
    State(database_url).close()

    found = inspect(create_engine(database_url))
    for table in metadata.sorted_tables:
        assert {column["name"] for column in found.get_columns(table.name)} == set(table.columns.keys())
        assert set(found.get_pk_constraint(table.name)["constrained_columns"]) == set(table.primary_key.columns.keys())
    assert set(found.get_table_names()) == {*metadata.tables, "campaign_sync_version"}


def test_many_processes_may_open_a_new_database_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for state in pool.map(State, [database_url] * 6):
            state.close()


def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    State(database_url).close()
    with create_engine(database_url).begin() as connection:
        connection.exec_driver_sql("UPDATE campaign_sync_version SET version_num = '9999'")

    with pytest.raises(StateError, match="newer version"):
        State(database_url)


def test_a_database_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(StateError, match=r"127\.0\.0\.1.*storage\.state_url") as caught:
        State("postgresql+psycopg2://somebody:swordfish@127.0.0.1:1/state")
    assert "swordfish" not in str(caught.value)


def test_the_watermark_moves_only_when_the_crm_has_the_rows(database_url: str) -> None:
    with State(database_url) as state:
        journal = state.feedback
        first = journal.add("nord", FeedbackKind.BOUNCES, (NOON, NOON + HOUR), 3, ("a.csv", "d"), "run", NOON)
        assert journal.pending("nord") == [first]
        assert (journal.committed_until("nord"), journal.uncommitted("nord")) == ({}, 1)

        journal.commit("nord", {first.id: 0}, Unmatched([], []), NOON)
        assert journal.pending("nord") == []
        assert (journal.committed_until("nord"), journal.uncommitted("nord")) == (
            {FeedbackKind.BOUNCES: NOON + HOUR},
            0,
        )
        assert journal.committed_until("sued") == {}


def test_an_import_with_rows_that_did_not_fit_stays_pending_though_the_watermark_moved(database_url: str) -> None:
    with State(database_url) as state:
        one = state.feedback.add("nord", FeedbackKind.BOUNCES, (NOON, NOON + HOUR), 3, ("a.csv", "d"), "run", NOON)
        state.feedback.commit("nord", {one.id: 2}, Unmatched([], []), NOON)

        assert state.feedback.pending("nord") == [one]
        assert state.feedback.uncommitted("nord") == 0


def test_whom_the_crm_could_not_match_is_remembered_until_it_can(database_url: str) -> None:
    stranger = Unsubscribe("stranger@example.com", NOON, "nord", "optimizely:unsubscribes")
    dead_end = Bounce("nobody@example.com", NOON, "nord", "optimizely:bounces")
    nobody = Unmatched([], [])
    with State(database_url) as state:
        state.feedback.commit("nord", {}, Unmatched([dead_end], [stranger, stranger]), NOON)
        assert state.feedback.unmatched("nord") == Unmatched([dead_end], [stranger])
        assert state.feedback.unmatched("sued") == nobody
        assert state.feedback.unmatched_bounces() == [dead_end]

        state.feedback.commit("sued", {}, nobody, NOON)
        assert state.feedback.unmatched("nord") == Unmatched([dead_end], [stranger])
        state.feedback.commit("nord", {}, nobody, NOON)
        assert state.feedback.unmatched("nord") == nobody


def snapshot(state: State, created_at: datetime = NOON) -> StoredSnapshot:
    return state.snapshots.add("nord", "newsletter", 5, ("s.parquet", "d"), "run", created_at)


def test_the_newest_snapshot_is_the_one_that_counts(database_url: str) -> None:
    with State(database_url) as state:
        assert state.snapshots.latest("nord", "newsletter") is None
        newer = snapshot(state, NOON + HOUR)
        snapshot(state, NOON)
        assert state.snapshots.latest("nord", "newsletter") == newer


def test_a_list_is_incomplete_from_its_clear_to_its_proof(database_url: str) -> None:
    with State(database_url) as state:
        journal = state.journal
        entry = journal.start(snapshot(state), 11, None, "run", NOON)
        assert journal.incomplete("nord", "newsletter") is None

        journal.note(entry.id, state=ReplaceState.FILLING, cleared_at=NOON)
        broken = journal.incomplete("nord", "newsletter")
        assert broken is not None
        assert broken.cleared_at == NOON

        journal.note(entry.id, state=ReplaceState.PROVEN, in_list=5)
        assert journal.incomplete("nord", "newsletter") is None
        proven = journal.last_proven("nord", "newsletter")
        assert proven is not None
        assert proven.in_list == 5


def test_an_attempt_that_changed_nothing_does_not_hide_that_the_list_is_incomplete(database_url: str) -> None:
    with State(database_url) as state:
        broken = state.journal.start(snapshot(state), 11, None, "run", NOON)
        state.journal.note(broken.id, state=ReplaceState.FAILED, cleared_at=NOON)
        refused = state.journal.start(snapshot(state), 11, None, "run", NOON + HOUR)
        state.journal.note(refused.id, state=ReplaceState.FAILED)

        found = state.journal.incomplete("nord", "newsletter")
        assert found is not None
        assert found.id == broken.id


def test_the_ledger_counts_by_stage_and_reason_and_keeps_the_first_date(database_url: str) -> None:
    people = pd.DataFrame({"entity_type": ["contact", "lead"], "entity_id": ["1", "1"]})
    turned_away = rejections(people, Stage.VENDOR, Reason.BOUNCED).assign(vendor_code=pd.array([4, 4], dtype="Int64"))
    with State(database_url) as state:
        state.ledger.record("nord", "newsletter", turned_away, "monday")
        state.ledger.record("nord", "newsletter", turned_away.head(1), "tuesday")

        assert state.ledger.counts("tuesday", "nord", "newsletter") == {("vendor", "bounced"): 1}
        assert state.ledger.counts("monday", "nord", "newsletter") == {("vendor", "bounced"): 1}
        assert state.ledger.counts("monday", "sued", "newsletter") == {}
    with create_engine(database_url).connect() as connection:
        dates = connection.exec_driver_sql(
            "SELECT first_seen < last_seen FROM rejection ORDER BY entity_type"
        ).scalars()
        assert [bool(later) for later in dates] == [True, False]


def test_a_person_has_the_same_pseudonym_every_day_and_another_one_elsewhere(
    database_url: str, tmp_path: object
) -> None:
    with State(database_url) as state:
        monday = state.pseudonyms.of("contact:1")
    with State(database_url) as state:
        assert state.pseudonyms.of("contact:1") == monday
    with State(f"sqlite:///{tmp_path}/elsewhere.db") as elsewhere:
        assert elsewhere.pseudonyms.of("contact:1") != monday
