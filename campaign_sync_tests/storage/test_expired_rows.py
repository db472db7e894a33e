"""Removal of expired rows, on both databases."""

from typing import Any

from sqlalchemy import create_engine, insert, select

from campaign_sync.domain.consent_state import ACCEPTED_BY_SETTING
from campaign_sync.storage.consent_tables import consent_observation, shown_withdrawal
from campaign_sync.storage.expired_rows import REMOVED_NAME
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import feedback_import, rejection, size_acceptance, write_back
from campaign_sync_tests.storage.test_replacement_history import DAY, NOON, attempt, reject

OLD, NEW = NOON - 400 * DAY, NOON - DAY
LIMIT = NOON - 100 * DAY


def add(url: str, table: Any, *rows: dict[str, Any]) -> None:
    with create_engine(url).begin() as connection:
        for row in rows:
            connection.execute(insert(table).values(row))


def values(url: str, column: Any) -> set[Any]:
    with create_engine(url).connect() as connection:
        return set(connection.execute(select(column)).scalars())


def test_rejections_stay_with_the_snapshots_that_they_explain(database_url: str) -> None:
    with State(database_url) as state:
        for age, run_id in ((600, "first"), (500, "second"), (400, "third")):
            attempt(database_url, NOON - age * DAY, run_id)
        attempt(database_url, NOON - 300 * DAY, "failed", ReplacementState.FAILED)
        reject(database_url, "of first", "vendor", NOON - 600 * DAY, NOON - 600 * DAY, run_id="first")
        reject(database_url, "of second", "vendor", NOON - 500 * DAY, NOON - 500 * DAY, run_id="second")
        reject(database_url, "since", "vendor", NOON - 450 * DAY, NOON - 450 * DAY, run_id="other")
        reject(database_url, "of failed", "vendor", NOON - 300 * DAY, NOON - 300 * DAY, run_id="failed")
        reject(database_url, "new", "vendor", NEW, NEW, run_id="newest")
        reject(database_url, "of a former list", "vendor", OLD, OLD, name="former", run_id="first")

        assert state.expired_rows.remove_rejections("sued", ["newsletter"], LIMIT) == 0
        assert state.expired_rows.remove_rejections("nord", ["newsletter"], LIMIT) == 3
        assert values(database_url, rejection.c.entity_id) == {"of second", "since", "new"}
        assert state.expired_rows.remove_rejections("nord", [], LIMIT) == 2


def test_a_record_stays_while_its_row_may_be_read_again(database_url: str) -> None:
    with State(database_url) as state:
        common = {"mandator": "nord", "kind": "unsubscribes", "reader": "r", "rows": 1, "file": "f", "digest": "d"}
        window = {**common, "run_id": "run", "imported_at": OLD, "since": OLD - DAY, "until": OLD}
        imports: dict[str, dict[str, Any]] = {
            "removed": {"removed_at": NEW},
            "kept": {"removed_at": None},
            "delivered": {"removed_at": NEW, "since": OLD},
        }
        add(database_url, feedback_import, *({**window, "id": name, **more} for name, more in imports.items()))
        record = {"mandator": "nord", "kind": "unsubscribes", "source": "s", "recipient": "p_1", "occurred_at": OLD}
        for name, import_id in (*((name, name) for name in imports), ("audit", None)):
            row = {**record, "id": name, "import_id": import_id, "event_id": f"event {name}", "dated": True}
            add(database_url, write_back, {**row, "written_at": OLD})
            add(database_url, shown_withdrawal, {"event_id": f"event {name}", "written_at": OLD})
        add(database_url, write_back, {**record, "id": "new", "import_id": "gone", "dated": True, "written_at": NEW})
        add(database_url, shown_withdrawal, {"event_id": "shown before", "written_at": None})

        assert state.expired_rows.remove_write_backs("nord", LIMIT) == 2
        assert values(database_url, write_back.c.id) == {"kept", "delivered", "new"}
        assert values(database_url, shown_withdrawal.c.event_id) == {"event kept", "event delivered", "shown before"}


def test_only_the_names_go_of_what_was_accepted(database_url: str) -> None:
    with State(database_url) as state:
        for age, at in (("old", OLD), ("new", NEW)):
            accepted = {"run_id": age, "mandator": "nord", "list": "newsletter", "reason": "a fair", "accepted_at": at}
            add(database_url, size_acceptance, {**accepted, "accepted_by": "kim"})
            for name in ("kim", ACCEPTED_BY_SETTING):
                observed = {"opt_in_id": age, "subject": name[:3], "granted": True, "since": at, "accepted_at": at}
                add(database_url, consent_observation, {**observed, "accepted_by": name})

        assert state.expired_rows.remove_names(LIMIT) == 2
        assert state.expired_rows.remove_names(LIMIT) == 0
        (old,) = [state.recipient_lists.accepted_size("nord", "newsletter", "old")]
        assert old
        assert (old.accepted_by, old.reason) == (REMOVED_NAME, "")
        assert values(database_url, size_acceptance.c.accepted_by) == {REMOVED_NAME, "kim"}
        assert values(database_url, consent_observation.c.accepted_by) == {REMOVED_NAME, "kim", ACCEPTED_BY_SETTING}
        assert state.expired_rows.last_activity() == {}
        attempt(database_url, NOON, "run")
        assert state.expired_rows.last_activity() == {"nord": NOON}
