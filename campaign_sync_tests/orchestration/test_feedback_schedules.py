"""Feedback imports and the sensor for the age of feedback, between daily replacements."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from campaign_sync_tests.installation import Installation, running_installation


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as built:
        yield built


def watch(shop: Installation, cursor: str | None = None) -> dg.SensorResult:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, cursor=cursor) as context,
    ):
        result = shop.sensor("feedback_watch")(context)
    assert isinstance(result, dg.SensorResult)
    return result


def evaluations(result: dg.SensorResult, mandator: str = "nord") -> list[dg.AssetCheckEvaluation]:
    return [
        event
        for event in result.asset_events
        if isinstance(event, dg.AssetCheckEvaluation) and event.asset_key.path[0] == mandator
    ]


def evaluation(result: dg.SensorResult) -> dg.AssetCheckEvaluation:
    (event,) = evaluations(result)
    assert (event.asset_key.to_user_string(), event.check_name) == ("nord/suppression_state", "feedback_age")
    return event


def test_while_feedback_is_fresh_ticks_are_skipped(shop: Installation) -> None:
    shop.first_day()
    assert evaluations(watch(shop)) == []


def test_a_first_import_that_never_succeeds_fails_the_check_where_imports_are_scheduled(shop: Installation) -> None:
    assert "were never imported" in (evaluation(watch(shop)).description or "")
    shop.settings["mandators"]["nord"]["schedule"] = None
    assert evaluations(watch(shop)) == []


@pytest.mark.parametrize(
    ("hours", "severity", "said"),
    [
        (25, dg.AssetCheckSeverity.WARN, "should have it daily"),
        (37, dg.AssetCheckSeverity.ERROR, "more than feedback.max_age"),
        (8 * 24, dg.AssetCheckSeverity.ERROR, "ALARM: the CRM has nord's feedback up to 8.0 days ago"),
    ],
)
def test_an_import_that_stopped_shows_on_the_check_though_nothing_runs(
    shop: Installation, hours: int, severity: dg.AssetCheckSeverity, said: str
) -> None:
    shop.first_day()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours, minutes=1)):
        event = evaluation(watch(shop))
    assert (event.passed, event.severity) == (False, severity)
    assert said in (event.description or "")


def test_when_imports_succeed_again_the_check_passes_once(shop: Installation) -> None:
    shop.first_day()
    result = watch(shop, cursor='{"nord": "alarm"}')
    assert evaluation(result).passed
    assert evaluations(watch(shop, cursor=result.cursor)) == []


def schedules(shop: Installation) -> dict[str, tuple[object, str | None]]:
    return {
        schedule.name: (schedule.cron_schedule, schedule.execution_timezone)
        for schedule in shop.definitions.schedules or []
        if isinstance(schedule, dg.ScheduleDefinition) and not schedule.name.startswith("campaign_sync_")
    }


def test_feedback_is_imported_between_the_replaces_where_that_is_configured(shop: Installation) -> None:
    assert set(schedules(shop)) == {"nord_daily", "sued_daily", "nord_audit_schedule", "sued_audit_schedule"}
    shop.settings["mandators"]["nord"]["feedback"] = {"schedule": "15 * * * *", "audit": None}

    planned = schedules(shop)

    assert planned["nord_feedback_schedule"] == ("15 * * * *", "Europe/Berlin")
    assert "nord_audit_schedule" not in planned


def test_a_mandator_that_is_replaced_by_hand_runs_nothing_by_itself(shop: Installation) -> None:
    shop.settings["mandators"]["nord"]["schedule"] = None
    assert set(schedules(shop)) == {"sued_daily", "sued_audit_schedule"}


def test_the_daily_replace_does_without_the_audit(shop: Installation) -> None:
    jobs = {job.name: job for job in shop.definitions.resolve_all_job_defs()}
    keys = {key.to_user_string() for key in jobs["nord_daily_replace"].asset_layer.selected_asset_keys}
    assert "nord/newsletter_recipient_list" in keys
    assert "nord/audit" not in keys
    assert {key.to_user_string() for key in jobs["nord_feedback"].asset_layer.selected_asset_keys} == {
        "nord/bounces",
        "nord/unsubscribes",
        "nord/suppression_state",
        "nord/list_drift",
    }
