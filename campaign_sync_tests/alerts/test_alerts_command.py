"""`campaign-sync alarms`: what is wrong, and whether alarms reach people."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from rich.console import Console

from campaign_sync.cli.alarms import send_test_notices, show_incidents
from campaign_sync.cli.run import problems
from campaign_sync.domain.incident import Incident, IncidentKind, Subject
from campaign_sync.domain.list_drift import ListDrift
from campaign_sync_tests.alerts.receivers import mail_server, web_server
from campaign_sync_tests.installation import Installation, running_installation


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation whose lists were all proven, in an instance of Dagster that the commands ask."""
    monkeypatch.chdir(tmp_path)
    with dg.instance_for_test() as instance, running_installation(tmp_path) as built:
        for mandator in ("nord", "sued"):
            result = built.run(mandator, instance)
            assert result.success, problems(result)
        yield built


def look_everywhere(shop: Installation, now: datetime | None = None) -> None:
    """What the alarm sensors of both mandators leave behind when they have found nothing."""
    with shop.state() as state:
        for mandator in ("nord", "sued"):
            state.incidents.reconcile(mandator, [], [], now or datetime.now(UTC))


def shown(shop: Installation) -> tuple[bool, str]:
    console = Console(record=True, width=250)
    return show_incidents(shop.configuration, console), console.export_text()


def test_what_is_wrong_is_shown_until_it_is_over(shop: Installation) -> None:
    since = datetime(2026, 11, 24, 4, tzinfo=UTC)
    broken = Incident("nord", Subject.of_list("newsletter"), IncidentKind.INCOMPLETE, since,
                     "The list is INCOMPLETE.", "Send nothing to it.", "/runs")  # fmt: skip
    look_everywhere(shop)
    assert shown(shop) == (True, "Nothing is wrong: the alarm sensors have looked, and all lists are as planned.\n")
    with shop.state() as state:
        state.incidents.reconcile("nord", [broken], [], datetime.now(UTC))
    fine, told = shown(shop)
    assert not fine
    assert "nord/newsletter" in told
    assert "2026-11-24 05:00 CET" in told
    assert "The list is INCOMPLETE. Send nothing to it." in told
    look_everywhere(shop)
    assert shown(shop)[0]


def test_nothing_is_called_fine_where_nobody_has_looked(shop: Installation) -> None:
    fine, told = shown(shop)
    assert not fine
    assert "nobody has looked for incidents of nord yet; see whether Dagster's daemon runs" in told
    assert "Nothing is wrong" not in told

    look_everywhere(shop, datetime.now(UTC) - timedelta(hours=3))
    fine, told = shown(shop)
    assert not fine
    assert "nobody has looked for incidents of nord since" in told
    assert "3.0 h ago" in told

    look_everywhere(shop)
    shop.settings["mandators"]["sued"]["automation"] = {"alarms": False}
    fine, told = shown(shop)
    assert not fine
    assert "nobody looks for incidents of sued: its alarm sensor is switched off" in told
    assert "nord" not in told


def test_how_lists_stand_is_shown_though_no_sensor_has_found_it_yet(shop: Installation) -> None:
    look_everywhere(shop)
    with dg.DagsterInstance.get() as instance:
        shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
        assert not shop.run("nord", instance).success
    shop.environment["PASSWORD_OF_BOTH"] = "correct horse"

    fine, told = shown(shop)

    assert not fine
    assert told.count("wasn't replaced by the newest run that was to") == 2


@pytest.mark.parametrize(("days", "fine"), [(2, True), (4, False)])
def test_lists_of_weekdays_are_as_planned_on_a_sunday_and_no_longer(shop: Installation, days: int, fine: bool) -> None:
    for mandator in ("nord", "sued"):
        shop.settings["mandators"][mandator]["schedule"] = "30 4 * * 1-5"
    now = datetime.now(UTC) + timedelta(days=days)
    with time_machine.travel(now):
        look_everywhere(shop)
        found, told = shown(shop)
    assert found is fine
    assert ("wasn't replaced in time" in told) is not fine


def test_an_instance_that_cannot_be_asked_leaves_it_open_whether_lists_are_ready(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_everywhere(shop)
    with monkeypatch.context() as patch:  # undone before the instance puts back what it found
        patch.delenv("DAGSTER_HOME")
        fine, told = shown(shop)

    assert not fine
    assert "Dagster can't be asked whether a newer run was to replace it" in told


def test_a_list_that_cannot_be_looked_at_is_shown_with_since_when(shop: Installation) -> None:
    look_everywhere(shop)
    with shop.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
        assert proven is not None
        since = datetime(2026, 11, 24, 4, tzinfo=UTC)
        state.list_drifts.record(
            ListDrift("nord", "newsletter", proven.id).after_failed_check("the vendor is out of reach", since)
        )

    fine, told = shown(shop)

    assert not fine
    assert "2026-11-24 05:00 CET" in told
    assert "It can't be seen whether the list is still as it was proven: the vendor is out of reach" in told


def test_a_test_reaches_everybody_and_tells_who_was_not_reached(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    with running_installation(tmp_path) as shop, mail_server() as mailbox, web_server() as inbox:
        assert send_test_notices(shop.configuration, console)
        assert "alarms go to the log only" in console.export_text()
        shop.environment["HOOK"] = inbox.url
        shop.settings["alarms"] = {
            "email": {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "a@example.net",
                      "to": ["ops@example.net"]},
            "webhooks": {"ops": {"url": {"env": "HOOK"}}},
        }  # fmt: skip
        shop.settings["mandators"]["sued"]["alarms_to"] = ["sued@example.net"]
        assert send_test_notices(shop.configuration, console)
        assert mailbox.recipients == [["ops@example.net"], ["sued@example.net"]]
        assert [post["stage"] for post in inbox.posts] == ["test", "test"]
        inbox.status = 404
        assert not send_test_notices(shop.configuration, console)

    assert "alarms.webhooks.ops took no alarm: it answered HTTP 404" in console.export_text()
