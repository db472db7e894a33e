"""Queries about earlier replacements, on both databases."""

from datetime import UTC, datetime, timedelta

import pandas as pd
from sqlalchemy import create_engine, insert

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.propagation import ReplacementTimes
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
    """Add a replacement with its snapshot, frozen an hour before its start. It ends a minute after."""
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


def test_proven_replacements_come_newest_first_with_the_rows_they_sent(database_url: str) -> None:
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


def test_the_times_of_proofs_are_of_rows_that_were_frozen_since_a_moment(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday")
        attempt(database_url, NOON + DAY, "tuesday")
        attempt(database_url, NOON + DAY + HOUR, "later", ReplacementState.FAILED)
        attempt(database_url, NOON + DAY, "removed", name="products")
        times = state.replacement_history.proven_times("nord", ["newsletter", "new"], NOON + DAY - HOUR)

    assert times == {"newsletter": [ReplacementTimes(NOON + DAY - HOUR, NOON + DAY + MINUTE)], "new": []}


def test_a_failed_attempt_is_no_proof_but_the_later_proof_of_its_run_names_it(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday", ReplacementState.FAILED)
        attempt(database_url, NOON + HOUR, "monday")
        attempt(database_url, NOON + DAY, "tuesday")
        newest, oldest = state.replacement_history.proven("nord", "newsletter")

    assert oldest.retried_after == NOON + MINUTE
    assert newest.retried_after is None


def test_rejections_are_read_by_person(database_url: str) -> None:
    with State(database_url) as state:
        reject(database_url, "1", "vendor", NOON, NOON + HOUR)
        reject(database_url, "2", "vendor", NOON, NOON)
        reject(database_url, "1", "vendor", NOON, NOON, name="products")
        by_person = state.replacement_history.rejections("nord", "newsletter", [Entity(EntityType.CONTACT, "1")])
        assert state.replacement_history.rejections("nord", "newsletter", [Entity(EntityType.LEAD, "1")]) == {}
        assert state.replacement_history.rejections("nord", "newsletter", []) == {}

    assert list(by_person) == ["contact:1"]
    (entry,) = by_person["contact:1"]
    assert (entry.stage, entry.reason, entry.vendor_code, entry.run_id) == ("vendor", "bounced", 4, "run")
    assert (entry.first_seen, entry.last_seen) == (NOON, NOON + HOUR)


def test_a_proof_is_explained_by_rejections_since_the_proof_before(database_url: str) -> None:
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


def test_a_replayed_snapshot_is_explained_by_rejections_of_its_own_run(
    database_url: str,
) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "monday")
        attempt(database_url, NOON + DAY, "tuesday", snapshot_run_id="last week")
        reject(database_url, "1", "selection", NOON - 8 * DAY, NOON - 7 * DAY, run_id="last week")
        (newest, _) = state.replacement_history.proven("nord", "newsletter")
        assert set(state.replacement_history.explanations(newest)) == {"contact:1"}


def test_the_query_leaves_out_only_rejections_that_explain_nothing(database_url: str) -> None:
    moments = pd.date_range(NOON - DAY, NOON + 2 * DAY, freq="12h").to_pydatetime()
    with State(database_url) as state:
        attempt(database_url, NOON, "monday")
        attempt(database_url, NOON + DAY, "tuesday")
        people = []
        for first in moments:
            for last in (moment for moment in moments if moment >= first):
                people.append(Entity(EntityType.CONTACT, f"{first:%d%H}-{last:%d%H}"))
                reject(database_url, people[-1].entity_id, "vendor", first, last)
        entries = state.replacement_history.rejections("nord", "newsletter", people)
        for proven in state.replacement_history.proven("nord", "newsletter"):
            assert state.replacement_history.explanations(proven) == {
                key: rejections for key, rejections in entries.items() if rejections[0].may_explain(proven)
            }
