"""Days that are over, on both databases."""

from datetime import UTC, datetime, timedelta

import pandas as pd
from sqlalchemy import create_engine, insert

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import rejection, replace, snapshot

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def attempt(
    url: str,
    at: datetime,
    run_id: str,
    state: ReplacementState = ReplacementState.PROVEN,
    *,
    name: str = "newsletter",
    snapshot_run_id: str | None = None,
) -> None:
    """A replace with a snapshot of its own, frozen an hour before it began and ended a minute after."""
    common = {"mandator": "nord", "list": name}
    key = f"{name}-{at:%d%H%M}"
    with create_engine(url).begin() as connection:
        connection.execute(
            insert(snapshot),
            {"id": key, **common, "rows": 5, "digest": f"digest-{key}", "file": f"{key}.parquet",
             "run_id": snapshot_run_id or run_id, "created_at": at - HOUR},
        )  # fmt: skip
        connection.execute(
            insert(replace),
            {"id": key, **common, "recipient_list_id": 11, "run_id": run_id, "snapshot_id": key, "state": state.value,
             "started_at": at, "finished_at": at + MINUTE, "in_list": 4 if state is ReplacementState.PROVEN else None},
        )  # fmt: skip


def reject(
    url: str,
    entity_id: str,
    stage: str,
    first: datetime,
    last: datetime,
    name: str = "newsletter",
    run_id: str = "run",
) -> None:
    with create_engine(url).begin() as connection:
        connection.execute(
            insert(rejection),
            {"mandator": "nord", "list": name, "entity_type": "contact", "entity_id": entity_id, "stage": stage,
             "reason": "bounced", "vendor_code": 4, "first_seen": first, "last_seen": last, "run_id": run_id},
        )  # fmt: skip


def test_proven_replaces_come_newest_first_with_the_rows_they_sent(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday", snapshot_run_id="snapshot alone")
        attempt(database_url, NOON + DAY, "tuesday")
        attempt(database_url, NOON + DAY, "other", name="products")
        newest, oldest = state.replacement_history.proven("nord", "newsletter")
        assert state.replacement_history.proven("sued", "newsletter") == []

    assert (oldest.run_id, oldest.snapshot_run_id, oldest.since) == ("monday", "snapshot alone", None)
    assert (newest.file, newest.digest) == ("newsletter-241200.parquet", "digest-newsletter-241200")
    assert (newest.frozen_at, newest.proven_at) == (NOON + DAY - HOUR, NOON + DAY + MINUTE)
    assert (newest.in_list, newest.since) == (4, oldest.proven_at)


def test_an_attempt_that_gave_up_is_no_proof_but_its_own_runs_proof_knows_of_it(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday", ReplacementState.FAILED)
        attempt(database_url, NOON + HOUR, "monday")
        attempt(database_url, NOON + DAY, "tuesday")
        newest, oldest = state.replacement_history.proven("nord", "newsletter")

    assert oldest.retried_after == NOON + MINUTE
    assert newest.retried_after is None


def test_the_ledger_is_read_by_person(database_url: str) -> None:
    with State(database_url) as state:
        reject(database_url, "1", "vendor", NOON, NOON + HOUR)
        reject(database_url, "2", "vendor", NOON, NOON)
        reject(database_url, "1", "vendor", NOON, NOON, name="products")
        found = state.replacement_history.rejections("nord", "newsletter", [Entity(EntityType.CONTACT, "1")])
        assert state.replacement_history.rejections("nord", "newsletter", [Entity(EntityType.LEAD, "1")]) == {}
        assert state.replacement_history.rejections("nord", "newsletter", []) == {}

    assert list(found) == ["contact:1"]
    (entry,) = found["contact:1"]
    assert (entry.stage, entry.reason, entry.vendor_code, entry.run_id) == ("vendor", "bounced", 4, "run")
    assert (entry.first_seen, entry.last_seen) == (NOON, NOON + HOUR)


def test_of_a_proof_the_ledger_gives_what_was_seen_since_the_proof_before(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday")
        attempt(database_url, NOON + DAY, "tuesday")
        reject(database_url, "over", "vendor", NOON - DAY, NOON)
        reject(database_url, "refused", "sweep", NOON + DAY, NOON + DAY)
        reject(database_url, "not selected", "selection", NOON - DAY, NOON + DAY)
        reject(database_url, "later", "vendor", NOON + DAY + HOUR, NOON + 2 * DAY)
        newest, oldest = state.replacement_history.proven("nord", "newsletter")

        assert set(state.replacement_history.explanations(newest)) == {"contact:refused", "contact:not selected"}
        assert set(state.replacement_history.rejected_rows(newest)) == {"contact:refused"}
        assert set(state.replacement_history.rejected_rows(oldest)) == {"contact:over"}


def test_of_an_old_snapshot_that_was_sent_once_more_the_ledger_gives_what_its_own_run_entered(
    database_url: str,
) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday")
        attempt(database_url, NOON + DAY, "tuesday", snapshot_run_id="last week")
        reject(database_url, "1", "selection", NOON - 8 * DAY, NOON - 7 * DAY, run_id="last week")
        (newest, _) = state.replacement_history.proven("nord", "newsletter")
        assert set(state.replacement_history.explanations(newest)) == {"contact:1"}


def test_every_entry_that_the_database_leaves_out_explains_nothing_either(database_url: str) -> None:
    moments = pd.date_range(NOON - DAY, NOON + 2 * DAY, freq="12h").to_pydatetime()
    with State(database_url) as state:
        attempt(database_url, NOON, "monday")
        attempt(database_url, NOON + DAY, "tuesday")
        everybody = []
        for first in moments:
            for last in (moment for moment in moments if moment >= first):
                everybody.append(Entity(EntityType.CONTACT, f"{first:%d%H}-{last:%d%H}"))
                reject(database_url, everybody[-1].entity_id, "vendor", first, last)
        entries = state.replacement_history.rejections("nord", "newsletter", everybody)
        for proven in state.replacement_history.proven("nord", "newsletter"):
            assert state.replacement_history.explanations(proven) == {
                key: found for key, found in entries.items() if found[0].may_explain(proven)
            }
