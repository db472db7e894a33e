"""Stored plans and their approvals, on both databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from campaign_sync.domain.approval import ListMoment
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
PLAN = StoredPlan(
    id="p1",
    mandator="nord",
    list="newsletter",
    recipient_list_id=2**40,
    settings_digest="settings",
    proof_id=None,
    planned_at=NOON,
    in_list=500,
    contents_digest="contents",
    entity_types='{"contact": 480}',
    frozen_entity_types='{"contact": 490}',
    not_utf8=2,
    snapshot_id="s1",
    rejections_file="rejections.parquet",
    rejections_digest="digest",
)


@pytest.fixture
def state(database_url: str) -> Iterator[State]:
    with State(database_url) as opened:
        yield opened


def test_a_plan_is_approved_once_and_by_the_first_person(state: State) -> None:
    state.list_plans.add(PLAN)
    state.list_plans.add(replace(PLAN, id="p2", list="products"))
    assert state.list_plans.get("p1") == PLAN
    assert state.list_plans.get("p3") is None

    state.list_plans.approve(PLAN, "anna", "seen", NOON)
    again = state.list_plans.approve(PLAN, "ben", "too late", NOON + timedelta(hours=1))
    assert (again.approved_by, again.reason, again.approved_at) == ("anna", "seen", NOON)
    assert state.list_plans.approved("nord", "newsletter") == [again]
    assert again.moment == ListMoment(2**40, "settings", None)
    assert again.in_list == 500
    assert (again.sent, again.frozen, again.snapshot_id) == ({"contact": 480}, {"contact": 490}, "s1")
    assert state.list_plans.approved("nord", "products") == []


def test_no_run_takes_the_snapshot_of_a_plan_for_its_own(state: State) -> None:
    def add(minute: int, plan_id: str | None = None) -> str:
        file = (f"{minute}.parquet", "digest")
        moment = NOON + timedelta(minutes=minute)
        return state.snapshots.add("nord", "newsletter", 5, file, "run", moment, plan_id=plan_id).id

    add(0, "p1")
    assert state.snapshots.latest("nord", "newsletter") is None
    assert state.snapshots.newest() == {}
    of_run = add(1)
    of_plan = add(2, "p1")
    latest = state.snapshots.latest("nord", "newsletter")
    assert latest is not None
    assert latest.id == of_run
    assert state.snapshots.newest() == {("nord", "newsletter"): latest}
    stored = state.snapshots.get(of_plan)
    assert stored is not None
    assert stored.plan_id == "p1"
