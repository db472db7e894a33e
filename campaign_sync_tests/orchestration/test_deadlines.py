"""By when the lists must be there."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import time_machine

from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.deadlines import freshness_policy, late_since
from campaign_sync_tests.orchestration.settings import configuration, mandator_settings

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 24, 12, tzinfo=BERLIN)  # a Tuesday
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"crm_export": {"marker": "done"}}, None),
        ({"schedule": "30 4 * * *"}, dg.FreshnessPolicy.time_window(26 * HOUR)),
        ({"schedule": "30 4 * * 1-5"}, dg.FreshnessPolicy.time_window(74 * HOUR)),
        (
            {"schedule": "30 4 * * *", "crm_export": {"marker": "done", "earliest": "3h"}},
            dg.FreshnessPolicy.time_window(29 * HOUR),
        ),
        (
            {"schedule": "30 4 * * *", "deadline": "0 7 * * 1-5"},
            dg.FreshnessPolicy.cron("0 7 * * 1-5", 3.5 * HOUR, "Europe/Berlin"),
        ),
        (
            {"schedule": "30 4 * * *", "deadline": "0 7 * * *", "crm_export": {"marker": "done"}, "timezone": "UTC"},
            dg.FreshnessPolicy.cron("0 7 * * *", 9.5 * HOUR, "UTC"),
        ),
        ({"deadline": "0 7 * * *"}, dg.FreshnessPolicy.cron("0 7 * * *", 24 * HOUR, "Europe/Berlin")),
        (
            {"schedule": "30 4 * * 0", "deadline": "0 7,13 * * *"},
            dg.FreshnessPolicy.cron("0 7,13 * * *", 6 * HOUR, "Europe/Berlin"),
        ),
        ({"deadline": "0 7 1 * *"}, dg.FreshnessPolicy.cron("0 7 1 * *", timedelta(days=28), "Europe/Berlin")),
    ],
)
def test_the_deadline_or_else_the_schedule_says_when_a_list_is_late(
    settings: dict[str, object], expected: dg.FreshnessPolicy | None
) -> None:
    assert freshness_policy(mandator_settings(**settings), NOON) == expected


def test_a_seasonal_schedule_is_as_strict_in_its_season_as_a_daily_one() -> None:
    summer = datetime(2026, 6, 1, tzinfo=UTC)
    seasonal, daily = mandator_settings(schedule="0 4 * 3-10 *"), mandator_settings(schedule="0 4 * * *")
    assert freshness_policy(seasonal, summer) == freshness_policy(daily, summer)


@pytest.mark.parametrize("settings", [{"schedule": "30 4 * * *"}, {"schedule": "30 1 * * *", "deadline": "0 7 * * *"}])
def test_a_policy_depends_on_the_given_moment_alone(settings: dict[str, object]) -> None:
    policy = freshness_policy(mandator_settings(**settings), NOON)
    with time_machine.travel(datetime(2031, 3, 1, tzinfo=UTC), tick=False):
        assert freshness_policy(mandator_settings(**settings), NOON) == policy


def test_only_recipient_lists_have_a_freshness_policy() -> None:
    specs = build_definitions(configuration(schedule="30 4 * * *"), NOON).resolve_all_asset_specs()
    assert {spec.key.to_user_string() for spec in specs if spec.freshness_policy} == {"nord/newsletter_recipient_list"}


def test_alarms_use_the_same_deadline() -> None:
    by_seven = mandator_settings(schedule="30 4 * * *", deadline="0 7 * * *")
    proven = (NOON - 7 * HOUR).astimezone(UTC)
    tomorrow = datetime(2026, 11, 25, 7, tzinfo=BERLIN)
    assert late_since(by_seven, proven, tomorrow - timedelta(seconds=1)) is None
    assert late_since(by_seven, proven, tomorrow + timedelta(days=2)) == tomorrow
    assert late_since(mandator_settings(schedule="30 4 * * *"), proven, proven + 27 * HOUR) == proven + 26 * HOUR
    assert late_since(mandator_settings(), proven, proven + 99 * HOUR) is None
    assert late_since(by_seven, None, tomorrow) is None


def test_a_list_is_there_for_every_deadline_until_the_schedule_ticks_again() -> None:
    twice = mandator_settings(schedule="30 4 * * *", deadline="0 7,13 * * *")
    proven = datetime(2026, 11, 24, 4, 35, tzinfo=BERLIN).astimezone(UTC)
    tomorrow = datetime(2026, 11, 25, 7, tzinfo=BERLIN)
    assert late_since(twice, proven, tomorrow - timedelta(seconds=1)) is None
    assert late_since(twice, proven, tomorrow) == tomorrow
    some_days = mandator_settings(schedule="30 4 * * 2,4", deadline="0 7 * * 1-5")
    assert late_since(some_days, proven, tomorrow) is None, "nothing was planned"
    assert late_since(some_days, proven, tomorrow + timedelta(days=1)) == tomorrow + timedelta(days=1)


def test_no_list_is_late_in_the_night_that_has_an_hour_more() -> None:
    settings = mandator_settings(schedule="30 1 * * *", deadline="0 7 * * *")
    proven = datetime(2026, 10, 25, 1, 40, tzinfo=BERLIN).astimezone(UTC)
    assert late_since(settings, proven, datetime(2026, 10, 25, 7, 1, tzinfo=BERLIN).astimezone(UTC)) is None
