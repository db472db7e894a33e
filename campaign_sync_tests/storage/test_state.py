"""The state database: snapshots, replacements, steps and rejections, on both databases."""

import dataclasses
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from sqlalchemy import NullPool, create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.domain.feedback import Unsubscribe
from campaign_sync.domain.incident import FEEDBACK, DetectedIncidents, Incident, IncidentKind
from campaign_sync.domain.message import Message
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.localization.catalogs import translate
from campaign_sync.optimizely.errors import TransientError
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.recipient_lists import ListKind, SizeAcceptance
from campaign_sync.storage.replacement_steps import CLEAR, PlannedCall, StepLog, StepOutcome
from campaign_sync.storage.replacements import Replacement, ReplacementState, StoredSnapshot
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import metadata
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_migrations_create_exactly_the_tables_of_the_code(database_url: str) -> None:
    State(database_url).close()

    inspector = inspect(create_engine(database_url))
    for table in metadata.sorted_tables:
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(table.columns.keys())
        assert set(inspector.get_pk_constraint(table.name)["constrained_columns"]) == set(
            table.primary_key.columns.keys()
        )
    assert set(inspector.get_table_names()) == {*metadata.tables, "campaign_sync_version"}


def test_many_processes_may_open_a_new_database_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for state in pool.map(State, [database_url] * 6):
            state.close()


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    State(database_url).close()
    with create_engine(database_url).begin() as connection:
        connection.exec_driver_sql("UPDATE campaign_sync_version SET version_num = '9999'")

    with pytest.raises(StateError, match="newer version"):
        State(database_url)


def test_a_database_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(StateError, match=r"127\.0\.0\.1.*storage\.state_url") as caught:
        State("postgresql+psycopg2://user:swordfish@127.0.0.1:1/state")
    assert "swordfish" not in str(caught.value)


def test_all_who_open_the_database_in_a_process_share_its_connection_and_a_forked_one_has_its_own(
    postgres_url: str,
) -> None:
    def server_process() -> int:
        with State(postgres_url) as state, state._engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    first = server_process()
    assert server_process() == first
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            with os.fdopen(write, "w") as pipe:
                pipe.write(str(server_process()))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        forked = int(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    assert forked != first
    assert server_process() == first, "the forked process has left the connection alone"


def test_one_connection_serves_all_statements_and_is_replaced_when_the_server_ends_it(postgres_url: str) -> None:
    of_others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    observer = create_engine(postgres_url, poolclass=NullPool)

    def others() -> set[int]:
        with observer.connect() as connection:
            return set(connection.exec_driver_sql(of_others).scalars())

    before = others()
    with State(postgres_url) as state:
        for _ in range(5):
            state.snapshots.latest("nord", "newsletter")
        first = others() - before
        state.snapshots.latest("nord", "newsletter")
        assert others() - before == first
        assert len(first) == 1
        with observer.connect() as connection:
            connection.exec_driver_sql("SELECT pg_terminate_backend(%s)", (next(iter(first)),))
        assert state.snapshots.latest("nord", "newsletter") is None
        assert (others() - before).isdisjoint(first)


def test_a_file_that_a_run_keeps_open_is_whole_after_each_transaction_and_a_backup_can_take_its_place(
    tmp_path: Path,
) -> None:
    file, backup = tmp_path / "state.db", tmp_path / "backup.db"

    def newest() -> StoredSnapshot | None:
        return state.snapshots.latest("nord", "newsletter")

    with State(f"sqlite:///{file}") as state:
        first = snapshot(state, NOON)
        assert list(tmp_path.iterdir()) == [file], "closed after each transaction"
        with state.kept_open(), state.kept_open():
            assert newest() == first
            second = snapshot(state, NOON + HOUR)
            assert (tmp_path / "state.db-wal").stat().st_size == 0
            shutil.copy(file, backup)
            third = snapshot(state, NOON + 2 * HOUR)
            with State(f"sqlite:///{backup}") as copy:
                assert copy.snapshots.latest("nord", "newsletter") == second
            assert newest() == third
            shutil.copyfile(backup, file)
            assert newest() == second, "the file was overwritten"
            third = snapshot(state, NOON + 2 * HOUR)
            shutil.copyfile(backup, tmp_path / "new.db")
            (tmp_path / "new.db").replace(file)
            assert newest() == second, "another file was put in its place"
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda hours: snapshot(state, NOON + hours * HOUR), range(8)))
            with create_engine(f"sqlite:///{file}", poolclass=NullPool).begin() as connection:
                connection.exec_driver_sql("UPDATE snapshot SET list = 'other'")
            assert newest() is None, "another process has written"
        assert {path.name for path in tmp_path.iterdir()} == {"state.db", "backup.db"}


def snapshot(state: State, created_at: datetime = NOON) -> StoredSnapshot:
    return state.snapshots.add("nord", "newsletter", 5, ("s.parquet", "d"), "run", created_at)


def test_the_latest_snapshot_is_the_newest(database_url: str) -> None:
    with State(database_url) as state:
        assert state.snapshots.latest("nord", "newsletter") is None
        newer = snapshot(state, NOON + HOUR)
        snapshot(state, NOON)
        assert state.snapshots.latest("nord", "newsletter") == newer


def start_replacement(state: State, at: datetime = NOON, /, **values: Any) -> Replacement:
    """Return a replacement that has begun."""
    entry = Replacement(
        mandator="nord",
        list="newsletter",
        recipient_list_id=11,
        run_id="run",
        snapshot_id=snapshot(state).id,
        state=ReplacementState.ADMITTED,
        started_at=at,
        id=str(uuid4()),
    )
    entry = dataclasses.replace(entry, **values)
    state.replacements.start(entry)
    return entry


def test_a_list_is_incomplete_from_its_clear_to_its_proof(database_url: str) -> None:
    with State(database_url) as state:
        replacements = state.replacements
        entry = start_replacement(state)
        assert replacements.incomplete("nord", "newsletter") is None

        replacements.begin_changes(entry.id, clears=False, incomplete_since=NOON)
        unfinished = replacements.incomplete("nord", "newsletter")
        assert unfinished is not None
        assert unfinished.cleared_at == NOON

        replacements.begin_proof(entry.id, sent=6, accepted=5)
        replacements.record_proof(
            entry.id, swept=0, in_list=5, proof="0 missing", id_attribute="id", address_attribute="address"
        )
        assert replacements.incomplete("nord", "newsletter") is not None
        replacements.mark_proven(entry.id, NOON)
        assert replacements.incomplete("nord", "newsletter") is None
        proven = replacements.last_proven("nord", "newsletter")
        assert proven is not None
        assert proven.in_list == 5


def test_an_attempt_that_changed_nothing_does_not_hide_that_the_list_is_incomplete(database_url: str) -> None:
    with State(database_url) as state:
        unfinished = start_replacement(state, state=ReplacementState.FAILED, cleared_at=NOON)
        start_replacement(state, NOON + HOUR, state=ReplacementState.FAILED)

        incomplete = state.replacements.incomplete("nord", "newsletter")
        assert incomplete is not None
        assert incomplete.id == unfinished.id


def test_proven_sizes_and_attempts_since_the_last_proof_are_counted(database_url: str) -> None:
    with State(database_url) as state:
        assert state.view().of_list("nord", "newsletter").attempts == 0
        for day in range(3):
            sizes = json.dumps({"contact": 10 + day})
            start_replacement(state, NOON + day * HOUR, state=ReplacementState.PROVEN, in_list=10, entity_types=sizes)
        start_replacement(state, NOON + 3 * HOUR, state=ReplacementState.FAILED, cleared_at=NOON, entity_types="{}")
        start_replacement(state, NOON + 4 * HOUR)

        assert state.replacements.proven_sizes("nord", "newsletter", 2, 11) == [{"contact": 12}, {"contact": 11}]
        assert state.view().of_list("nord", "newsletter").attempts == 1, "the other attempt changed nothing"


def test_an_accepted_size_begins_a_new_history(database_url: str) -> None:
    with State(database_url) as state:
        for day in range(4):
            sizes = json.dumps({"contact": 100 - 10 * day})
            values = {"state": ReplacementState.PROVEN, "in_list": 10, "entity_types": sizes, "run_id": f"run-{day}"}
            start_replacement(state, NOON + day * HOUR, **values)
        state.recipient_lists.accept_size(SizeAcceptance("run-2", "nord", "newsletter", "anna", "because", NOON))

        assert state.replacements.proven_sizes("nord", "newsletter", 14, 11) == [{"contact": 70}, {"contact": 80}]


def test_what_was_accepted_for_a_run_that_died_holds_for_its_retries_and_for_no_other_run(database_url: str) -> None:
    size = SizeAcceptance("run-1", "nord", "newsletter", "anna", "because", NOON)
    withdrawals = WithdrawalAcceptance("run-1", "nord", "newsletter", "anna", "because", NOON)
    with State(database_url) as state:
        state.recipient_lists.accept_size(size)
        state.known_withdrawals.accept(withdrawals)
        state.inherit_acceptances("run-1", "run-2")
        state.inherit_acceptances("run-2", "run-3")
        state.inherit_acceptances("run-1", "run-3")

        for run_id in ("run-1", "run-2", "run-3"):
            assert state.recipient_lists.accepted_size("nord", "newsletter", run_id) == replace(size, run_id=run_id)
            assert state.known_withdrawals.acceptances(run_id, "nord") == [replace(withdrawals, run_id=run_id)]
        assert state.recipient_lists.accepted_size("nord", "newsletter", "run-4") is None
        assert state.known_withdrawals.acceptances("run-4", "nord") == []


def test_replacements_keep_their_order_though_clocks_differ(database_url: str) -> None:
    with State(database_url) as state:
        assert state.replacements.next_start("nord", "newsletter", NOON) == NOON
        start_replacement(state, NOON + HOUR)
        assert state.replacements.next_start("nord", "newsletter", NOON) > NOON + HOUR
        assert state.replacements.next_start("nord", "newsletter", NOON + 2 * HOUR) == NOON + 2 * HOUR


def test_a_list_is_cleared_by_a_step_of_its_replacement_or_of_the_one_it_resumes(
    database_url: str,
) -> None:
    with State(database_url) as state:
        first = start_replacement(state)
        assert not state.replacements.cleared_for(first)
        log = StepLog(create_engine(database_url), first.id, lambda: NOON, str)
        with pytest.raises(TransientError), log.step(CLEAR):
            raise TransientError("lost", outcome_unknown=True)
        assert not state.replacements.cleared_for(first)
        with log.step(CLEAR):
            pass
        second = start_replacement(state, NOON + HOUR, resumes=first.id)
        assert state.replacements.cleared_for(first)
        assert state.replacements.cleared_for(dataclasses.replace(second, resumes=first.id))


def test_an_error_of_the_database_does_not_quote_the_row(database_url: str) -> None:
    with State(database_url) as state:
        unknown = Unsubscribe("unknown@example.com", NOON, "nord", "optimizely:unsubscribes")
        with create_engine(database_url).begin() as connection:
            connection.exec_driver_sql("DROP TABLE unmatched_feedback")
        with pytest.raises(StateError, match=r"storage\.state_url\) failed") as caught:
            state.feedback_imports.commit("nord", {}, UnmatchedFeedback([], []), UnmatchedFeedback([], [unknown]), NOON)
    assert "unknown" not in str(caught.value)


def test_a_step_is_written_before_and_after_its_call_with_its_outcome(database_url: str) -> None:
    with State(database_url) as state:
        entry = start_replacement(state)
        log = StepLog(create_engine(database_url), entry.id, lambda: NOON, str)
        with log.step("clear") as notes:
            assert state.replacements.steps(entry.id)[0].outcome is None
            notes.add("0 rows")
        with pytest.raises(TransientError), log.step("addAll3", part="1 of 2", rows=5, digest="d"):
            raise TransientError("lost", outcome_unknown=True)
        with pytest.raises(TransientError), log.step("addAll3", part="2 of 2"):
            raise TransientError("never sent", outcome_unknown=False)

        steps = state.replacements.steps(entry.id)
    assert [(step.number, step.step, step.outcome) for step in steps] == [
        (1, "clear", StepOutcome.DONE),
        (2, "addAll3", StepOutcome.UNKNOWN),
        (3, "addAll3", StepOutcome.FAILED),
    ]
    assert (steps[0].detail, steps[1].rows, steps[1].digest) == ("0 rows", 5, "d")


def test_planned_calls_are_written_before_the_first_and_marked_if_never_made(database_url: str) -> None:
    with State(database_url) as state:
        entry = start_replacement(state)
        log = StepLog(create_engine(database_url), entry.id, lambda: NOON, str)
        numbers = log.plan_calls("addAll3", [PlannedCall(f"{part} of 3", 5, "d") for part in (1, 2, 3)])
        assert [(step.part, step.outcome) for step in state.replacements.steps(entry.id)] == [
            ("1 of 3", None),
            ("2 of 3", None),
            ("3 of 3", None),
        ]
        with log.planned_call(numbers[0]) as notes:
            notes.add_answers([0] * 5)
        with pytest.raises(TransientError), log.planned_call(numbers[1]):
            raise TransientError("lost", outcome_unknown=True)
        log.finish_calls()
        steps = state.replacements.steps(entry.id)
    assert [(step.outcome, step.detail) for step in steps] == [
        (StepOutcome.DONE, "code 0: 5"),
        (StepOutcome.UNKNOWN, "TransientError"),
        (StepOutcome.FAILED, "not made"),
    ]


def test_ends_of_calls_that_could_not_be_written_are_written_later(database_url: str) -> None:
    with State(database_url) as state:
        entry = start_replacement(state)
        log = StepLog(create_engine(database_url), entry.id, lambda: NOON, str)
        (number,) = log.plan_calls("addAll3", [PlannedCall("1 of 1", 5, "d")])
        with log.planned_call(number):
            pass
        with create_engine(database_url).begin() as connection:
            connection.exec_driver_sql("ALTER TABLE replace_step RENAME TO renamed")
        with pytest.raises(SQLAlchemyError):
            log.finish_calls()
        with create_engine(database_url).begin() as connection:
            connection.exec_driver_sql("ALTER TABLE renamed RENAME TO replace_step")
        log.finish_calls()
        assert [step.outcome for step in state.replacements.steps(entry.id)] == [StepOutcome.DONE]


def test_an_accepted_size_holds_for_its_run_and_for_one_that_resumes_it(database_url: str) -> None:
    acceptance = SizeAcceptance("run-1", "nord", "newsletter", "anna", "summer is over", NOON)
    with State(database_url) as state:
        state.recipient_lists.accept_size(acceptance)
        state.recipient_lists.accept_size(acceptance)
        assert state.recipient_lists.accepted_size("nord", "newsletter", "run-1", None) == acceptance
        assert state.recipient_lists.accepted_size("nord", "newsletter", "run-2", "run-1") == acceptance
        assert state.recipient_lists.accepted_size("nord", "newsletter", "run-2", None) is None
        assert state.recipient_lists.accepted_size("nord", "products", "run-1") is None


def test_the_kind_of_a_list_outlives_a_run(database_url: str) -> None:
    with State(database_url) as state:
        assert state.recipient_lists.kind(11) is None
        state.recipient_lists.set_kind(11, ListKind.OPT_IN, NOON)
        state.recipient_lists.set_kind(11, ListKind.REGULAR, NOON + HOUR)
    with State(database_url) as state:
        assert state.recipient_lists.kind(11) is ListKind.REGULAR


def test_rejections_are_counted_by_stage_and_reason_and_keep_their_first_date(database_url: str) -> None:
    people = pd.DataFrame({"entity_type": ["contact", "lead"], "entity_id": ["1", "1"]})
    rejected = rejections(people, Stage.VENDOR, Reason.BOUNCED).assign(vendor_code=pd.array([4, 4], dtype="Int64"))
    with State(database_url) as state:
        state.rejections.record("nord", "newsletter", rejected, "monday")
        state.rejections.record("nord", "newsletter", rejected.head(1), "tuesday")

        assert state.rejections.counts("tuesday", "nord", "newsletter") == {("vendor", "bounced"): 1}
        assert state.rejections.counts("monday", "nord", "newsletter") == {("vendor", "bounced"): 1}
        assert state.rejections.counts("monday", "sued", "newsletter") == {}
    with create_engine(database_url).connect() as connection:
        dates = connection.exec_driver_sql(
            "SELECT first_seen < last_seen FROM rejection ORDER BY entity_type"
        ).scalars()
        assert [bool(later) for later in dates] == [True, False]


def test_a_pseudonym_is_the_same_every_day_and_differs_by_database(database_url: str, tmp_path: object) -> None:
    with State(database_url) as state:
        monday = state.pseudonyms.of("contact:1")
    with State(database_url) as state:
        assert state.pseudonyms.of("contact:1") == monday
    with State(f"sqlite:///{tmp_path}/other.db") as other:
        assert other.pseudonyms.of("contact:1") != monday


def test_an_open_incident_follows_the_language_that_is_configured_when_it_is_shown(database_url: str) -> None:
    what = Message("{asset} failed: {reason:inline}.", asset="nord/bounces", reason="“{curly}” timed out.")
    incident = Incident("nord", FEEDBACK, IncidentKind.FAILED, NOON, what, "plain", "/runs/1")
    with State(database_url) as state:
        state.incidents.reconcile({"nord": DetectedIncidents([incident], ())}, NOON)
        (notice,) = state.incidents.unsent(NOON).of("nord", "email")
        assert notice.incident == incident == state.view().open_incidents("nord")[FEEDBACK]
        assert translate(notice.incident.what, "de") == "nord/bounces ist gescheitert: “{curly}” timed out."
        assert (notice.incident.what, notice.incident.remedy) == (what, "plain")


def test_stored_digests_are_made_with_the_key_of_erasures_and_older_ones_are_compared_with_theirs(
    database_url: str,
) -> None:
    key, digest = "a key of erasures that is long enough", "a digest"
    with State(database_url) as without, State(database_url, erasure_key=lambda: key) as state:
        old, new = without.digests.of(digest), state.digests.of(digest)
        assert old != new
        assert (state.digests.are_equal(old, digest), state.digests.are_equal(new, digest)) == (True, True)
        assert (without.digests.are_equal(old, digest), without.digests.are_equal(new, digest)) == (True, None)
    with State(database_url, erasure_key=lambda: "short") as unusable:
        assert unusable.digests.are_equal(old, digest)
