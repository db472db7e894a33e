"""When the daily replace starts by itself, and when it had better not."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import time_machine
from pydantic import SecretStr

from campaign_sync.config import MandatorSettings
from campaign_sync.orchestration.asset_keys import feedback_keys
from campaign_sync.orchestration.daily_replacement import GROUPS, PLANNED_FOR, daily_schedule

HALF_PAST_FOUR = datetime(2026, 11, 24, 4, 30, tzinfo=ZoneInfo("Europe/Berlin"))


def schedule(**more: object) -> dg.ScheduleDefinition | None:
    settings = MandatorSettings.model_validate(
        {
            "mandator_id": 8100,
            "username": SecretStr("user"),
            "password": SecretStr("secret"),
            "schedule": "30 4 * * *",
            "lists": {
                "newsletter": {
                    "recipient_list_id": 11,
                    "kind": "regular",
                    "opt_in_id": "newsletter-nord",
                    "select": {"report": "Everybody"},
                }
            },
        }
        | more
    )
    return daily_schedule("nord", settings)


def tick(late: timedelta) -> dg.RunRequest | dg.SkipReason:
    built = schedule()
    assert built is not None
    with time_machine.travel(HALF_PAST_FOUR + late, tick=False):
        return evaluate(built, HALF_PAST_FOUR)


def evaluate(built: dg.ScheduleDefinition, planned: datetime) -> dg.RunRequest | dg.SkipReason:
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(instance=instance, scheduled_execution_time=planned) as context,
    ):
        answer = built(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_the_schedule_runs_the_mandators_job_in_the_mandators_zone() -> None:
    built = schedule(timezone="Atlantic/Canary")

    assert built is not None
    assert (built.name, built.job_name) == ("nord_daily", "nord_daily_replace")
    assert (built.cron_schedule, built.execution_timezone) == ("30 4 * * *", "Atlantic/Canary")
    assert built.default_status is dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=2)])
def test_a_tick_up_to_two_hours_late_still_runs(late: timedelta) -> None:
    assert isinstance(tick(late), dg.RunRequest)


def test_a_later_tick_is_skipped_and_says_how_to_run_it_anyway() -> None:
    answer = tick(timedelta(hours=6, minutes=30))

    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message is not None
    assert "6.5 h ago" in answer.skip_message
    assert "nord_daily_replace" in answer.skip_message


def test_a_mandator_without_a_schedule_is_started_by_hand() -> None:
    assert schedule(schedule=None) is None


def test_summer_time_does_not_make_a_tick_late() -> None:
    built = schedule()
    assert built is not None
    planned = datetime(2026, 10, 25, 4, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    with time_machine.travel(datetime(2026, 10, 25, 3, 31, tzinfo=UTC), tick=False):
        assert isinstance(evaluate(built, planned), dg.RunRequest)


def test_groups_of_lists_follow_a_run_that_imports_the_feedback_alone() -> None:
    section = {"recipient_list_id": 11, "kind": "regular", "opt_in_id": "a", "select": {"report": "Everybody"}}
    lists = {"newsletter": section, "products": section | {"recipient_list_id": 12}}
    for parallel_runs, more in ((1, lists), (3, {"newsletter": section})):
        built = schedule(parallel_runs=parallel_runs, lists=more)
        assert built
        with time_machine.travel(HALF_PAST_FOUR, tick=False):
            whole = evaluate(built, HALF_PAST_FOUR)
        assert isinstance(whole, dg.RunRequest)
        assert whole.asset_selection is None
        assert set(whole.tags) == {PLANNED_FOR}
    built = schedule(parallel_runs=3, lists=lists)
    assert built
    with time_machine.travel(HALF_PAST_FOUR, tick=False):
        feedback = evaluate(built, HALF_PAST_FOUR)
    assert isinstance(feedback, dg.RunRequest)
    assert feedback.asset_selection == feedback_keys("nord")
    assert feedback.tags[GROUPS] == "2", "no more than lists"
