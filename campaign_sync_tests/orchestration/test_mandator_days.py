"""The newest day of a mandator, by Dagster's runs and the journal."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from dagster import DagsterEventType

from campaign_sync.domain.day import CompletionStage, DayOutcome
from campaign_sync.orchestration.daily_replacement import (
    GROUP,
    GROUP_OF,
    GROUPS,
    MANDATOR_TAG,
    PLANNED_FOR,
    daily_job_name,
)
from campaign_sync.orchestration.mandator_days import (
    COMPLETES,
    MandatorDay,
    completing_run,
    group_runs,
    latest_completion,
    unfinished_days,
)
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync_tests.installation import Installation, running_installation

pytestmark = pytest.mark.thorough

LISTS = ("newsletter", "products")
CHAINS = [[["nord", f"{name}_{part}"] for part in ("selection", "snapshot", "recipient_list")] for name in LISTS]
FEEDBACK = [["nord", name] for name in ("bounces", "unsubscribes", "suppression_state")]


class Days:
    """An installation with a Dagster instance, and the day of its mandator `nord`."""

    def __init__(self, shop: Installation, instance: dg.DagsterInstance) -> None:
        self.shop, self.instance = shop, instance
        self.planned_for = datetime.now(UTC).isoformat(timespec="minutes")

    def created(self, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
        """Return a new run of the day that has done nothing yet."""
        job = self.shop.definitions.resolve_job_def(daily_job_name("nord"))
        tags = tags or {PLANNED_FOR: self.planned_for}
        return self.instance.create_run_for_job(job, status=status, tags={MANDATOR_TAG: "nord"} | tags)

    def die(self, run: dg.DagsterRun) -> None:
        """Let a run end as one whose process died."""
        self.instance.report_run_failed(run, "its process died")

    def run(self, *chains: list[list[str]], **tags: str) -> None:
        """Run the day, or parts of it, however it ends."""
        assets = [key for chain in chains for key in chain] or None
        tags = tags or {PLANNED_FOR: self.planned_for}
        self.shop.run("nord", self.instance, assets, {MANDATOR_TAG: "nord"} | tags)

    @property
    def today(self) -> MandatorDay | None:
        """The newest day, if something has failed on it."""
        with self.shop.state() as state:
            return unfinished_days(
                self.shop.configuration, self.instance, state, ["nord", "sued"], datetime.now(UTC)
            ).get("nord")

    @property
    def outcomes(self) -> list[DayOutcome]:
        """What became of its lists."""
        return list(self.today.day.outcomes.values()) if self.today else []

    def completed(self) -> tuple[CompletionStage, tuple[str, ...]]:
        """Return whether a further run completes it, and which lists are left for that."""
        assert self.today
        return self.today.completion.stage, self.today.completion.lists


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    with running_installation(tmp_path) as shop, dg.DagsterInstance.ephemeral() as instance:
        shop.retry_policy = NO_RETRIES
        yield Days(shop, instance)


@pytest.mark.long
def test_a_day_without_failures_has_nothing_to_be_completed(days: Days) -> None:
    assert days.today is None
    days.run()
    assert days.today is None


def test_lists_that_a_dead_run_has_not_reached_are_left_until_they_are_proven(days: Days) -> None:
    run = days.created(dg.DagsterRunStatus.STARTED)
    assert days.today is None, "nothing shows that it is dead"
    days.die(run)
    assert days.outcomes == [DayOutcome.NOT_REACHED] * 2
    assert days.completed() == (CompletionStage.DUE, LISTS)

    days.run(FEEDBACK, CHAINS[0], by="hand")
    assert days.completed() == (CompletionStage.DUE, ("products",)), "also a run by hand counts"
    days.run(FEEDBACK, CHAINS[1], **{COMPLETES: days.planned_for})
    assert days.outcomes == [DayOutcome.PROVEN] * 2
    assert days.completed() == (CompletionStage.COMPLETE, ())


def test_a_list_during_which_a_process_died_comes_after_the_others(days: Days) -> None:
    run = days.created(dg.DagsterRunStatus.STARTED)
    started = DagsterEventType.STEP_START.value
    event = dg.DagsterEvent(started, run.job_name, step_key="nord__newsletter_selection")
    days.instance.report_dagster_event(event, run.run_id)
    days.die(run)

    assert days.outcomes == [DayOutcome.DIED, DayOutcome.NOT_REACHED]
    assert days.completed() == (CompletionStage.DUE, ("products",))


def test_while_dagster_retries_a_run_nothing_else_is_started(days: Days) -> None:
    dead = days.created(dg.DagsterRunStatus.FAILURE, **{PLANNED_FOR: days.planned_for, "dagster/will_retry": "true"})
    assert days.completed()[0] is CompletionStage.WAITS
    days.instance.add_run_tags(dead.run_id, {"dagster/auto_retry_run_id": "another"})
    assert days.completed()[0] is CompletionStage.DUE, "the retry has ended, and its run was deleted"


@pytest.mark.long
def test_a_refused_list_is_an_outcome_and_its_neighbour_is_proven(days: Days) -> None:
    days.shop.list_settings()["limits"] = {"min_rows": 100}
    days.run()
    assert days.outcomes == [DayOutcome.REFUSED, DayOutcome.PROVEN]
    assert days.completed() == (CompletionStage.COMPLETE, ())


def test_feedback_that_failed_by_the_vendors_fault_is_tried_again_later_and_a_wrong_password_is_not(days: Days) -> None:
    days.shop.vendor.fault("getOutBounces", "fault", times=99, arg="WebserviceImplException: unheard of")
    days.run()
    assert days.outcomes == [DayOutcome.FAILED] * 2
    assert days.completed() == (CompletionStage.WAITS, LISTS)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        assert days.completed() == (CompletionStage.DUE, LISTS)

    days.shop.vendor.repair()
    days.shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
    days.run(**{COMPLETES: days.planned_for})
    assert days.outcomes == [DayOutcome.REFUSED] * 2


@pytest.mark.long
def test_an_incomplete_list_is_left_to_its_repair(days: Days) -> None:
    days.shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    days.run()
    assert days.outcomes == [DayOutcome.INCOMPLETE] * 2
    assert days.completed() == (CompletionStage.COMPLETE, ())


def test_groups_follow_the_feedback_and_begin_once_and_the_larger_list_has_its_own(days: Days) -> None:
    days.shop.settings["mandators"]["nord"]["parallel_runs"] = 3
    planned = {PLANNED_FOR: days.planned_for, GROUPS: "2"}
    days.run(FEEDBACK, **planned)
    assert days.outcomes == [DayOutcome.AWAITS_GROUP] * 2
    assert days.completed() == (CompletionStage.GROUPS_DUE, LISTS)
    assert days.today
    first, second = group_runs(days.today, days.shop.configuration.mandators["nord"])
    assert [[key.path for key in run.asset_selection or ()] for run in (first, second)] == CHAINS
    assert first.run_key != second.run_key
    lanes = {f"campaign_sync/lane_{lane}": value for lane, value in enumerate(["nord", "nord:1", "nord:1"], start=1)}
    assert first.tags == {GROUP_OF: days.planned_for, GROUP: "1", **lanes}

    days.run(CHAINS[0], **first.tags)
    assert days.outcomes == [DayOutcome.PROVEN, DayOutcome.AWAITS_GROUP]
    assert days.today
    (left,) = group_runs(days.today, days.shop.configuration.mandators["nord"])
    assert (left.run_key, left.tags) == (second.run_key, second.tags)
    days.run(CHAINS[1], **second.tags)
    assert days.completed() == (CompletionStage.COMPLETE, ())


def test_a_group_is_refused_by_old_feedback_and_its_lists_are_completed_after_a_new_import(days: Days) -> None:
    days.shop.settings["mandators"]["nord"]["parallel_runs"] = 2
    days.run(FEEDBACK, **{PLANNED_FOR: days.planned_for, GROUPS: "2"})
    assert days.today
    groups = group_runs(days.today, days.shop.configuration.mandators["nord"])
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=61)):
        assert days.completed() == (CompletionStage.DUE, LISTS)
        assert days.today
        again = completing_run(days.today)
        assert [key.path for key in again.asset_selection or ()] == FEEDBACK
        assert again.tags == {COMPLETES: days.planned_for, GROUPS: "2"}
    days.shop.settings["mandators"]["nord"]["feedback"] = {"max_age": "1s"}
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1)):
        for chain, group in zip(CHAINS, groups, strict=True):
            days.run(chain, **group.tags)
    assert days.outcomes == [DayOutcome.FAILED] * 2
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        assert days.today
        assert [key.path for key in completing_run(days.today).asset_selection or ()] == [
            *FEEDBACK,
            *CHAINS[0],
            *CHAINS[1],
        ]


def test_a_cancelled_day_and_a_day_that_is_over_are_not_completed(days: Days) -> None:
    days.die(days.created(dg.DagsterRunStatus.STARTED))
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=121)):
        assert days.completed()[0] is CompletionStage.TOO_LATE
    days.created(dg.DagsterRunStatus.CANCELED)
    assert days.completed()[0] is CompletionStage.CANCELED
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=28)):
        assert days.today is None


def test_a_newer_day_takes_the_place_of_an_unfinished_one(days: Days) -> None:
    days.die(days.created(dg.DagsterRunStatus.STARTED))
    days.created(dg.DagsterRunStatus.NOT_STARTED, **{PLANNED_FOR: "2026-11-25"})
    assert days.outcomes == [DayOutcome.IN_PROGRESS] * 2


@pytest.mark.parametrize(
    ("schedule", "deadline", "latest"),
    [
        ("30 4 * * *", None, "06:30"),
        ("30 4 * * *", "0 7 * * *", "09:00"),
        ("30 * * * *", None, "05:30"),
        (None, "0 7 * * *", "09:00"),
        (None, None, "06:30"),
    ],
)
def test_a_day_is_completed_until_its_deadline_has_passed_and_never_after_the_next_planned_one(
    days: Days, schedule: str | None, deadline: str | None, latest: str
) -> None:
    """By the rule of the schedule, which begins no day more than two hours late."""
    days.shop.settings["mandators"]["nord"] |= {"schedule": schedule, "deadline": deadline}
    settings = days.shop.configuration.mandators["nord"]
    planned = datetime(2026, 11, 24, 4, 30, tzinfo=settings.zone).astimezone(UTC)
    assert f"{latest_completion(settings, planned).astimezone(settings.zone):%H:%M}" == latest
