"""What the alarm of a late list says that it waits for."""

from datetime import UTC, datetime, timedelta

import pytest

from campaign_sync.domain.day import CompletionLimits, DayRun, RunEnd, assess_day, next_completion
from campaign_sync.orchestration.awaited_runs import awaited_run
from campaign_sync.orchestration.mandator_days import MandatorDay
from campaign_sync.orchestration.run_failures import MonitoredAssets, NewestRuns
from campaign_sync_tests.orchestration.settings import mandator_settings

MORNING = datetime(2026, 11, 27, 4, 30, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LISTS = ("newsletter", "products")
FEEDBACK = DayRun("feedback", MORNING, RunEnd.SUCCEEDED, frozenset(LISTS), ended_at=MORNING + MINUTE, groups=2)
FIRST_GROUP = DayRun("first", MORNING + 2 * MINUTE, RunEnd.IN_PROGRESS, frozenset({"products"}), group=1)
DEAD = DayRun("dead", MORNING, RunEnd.FAILED, frozenset(LISTS))


@pytest.mark.parametrize(
    ("runs", "now", "hindrance", "expected"),
    [
        ((FEEDBACK,), 5 * MINUTE, None, "The run of its group of lists is started automatically within minutes; if"),
        ((FEEDBACK, FIRST_GROUP), 5 * MINUTE, None, "automatically when others of the day have ended; if"),
        ((FEEDBACK,), 5 * MINUTE, "it is off", "The run of its group of lists isn't started, because it is off. To"),
        ((FEEDBACK,), 9 * HOUR, None, "its group of lists isn't started any more, because it is too late to begin it"),
        ((DEAD,), 5 * MINUTE, None, "A further run of the day is started automatically within minutes; if"),
    ],
)
def test_the_alarm_names_what_a_list_waits_for(
    runs: tuple[DayRun, ...], now: timedelta, hindrance: str | None, expected: str
) -> None:
    text = awaited(runs, now, hindrance)
    assert text
    assert expected in text
    assert "`campaign-sync run nord --list newsletter`" in text


def test_nothing_is_awaited_of_a_list_that_a_run_has_replaced() -> None:
    assert awaited((DayRun("all", MORNING, RunEnd.SUCCEEDED, frozenset(LISTS)),), HOUR, None) is None


def awaited(runs: tuple[DayRun, ...], now: timedelta, hindrance: str | None) -> str | None:
    day = assess_day(LISTS, runs, {}, [])
    limits = CompletionLimits(4, 2, 10 * MINUTE, MORNING + 2 * HOUR, HOUR)
    today = MandatorDay(
        "nord", "today", MORNING, day, next_completion(day, limits, MORNING + now), {}, hindrance=hindrance
    )
    newest = NewestRuns(MonitoredAssets("nord", (), ()), {}, {}, ())
    return awaited_run(newest, mandator_settings(), lambda: today, "newsletter")
