"""`campaign-sync alarms`: what is wrong now, and whether alarms are delivered."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from rich.console import Console

from campaign_sync.cli.alarms import send_test_notices, show_incidents
from campaign_sync.cli.run import problems
from campaign_sync.domain.incident import DetectedIncidents, Incident, IncidentKind, Subject
from campaign_sync.domain.list_drift import ListDrift
from campaign_sync_tests import first_day
from campaign_sync_tests.alerts.receivers import mail_server, web_server
from campaign_sync_tests.installation import Installation, running_installation

pytestmark = pytest.mark.xdist_group("alerts")


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run an installation whose lists are all proven, and return its folder with Dagster's in it."""
    folder = tmp_path_factory.mktemp("proven")
    (folder / "dagster").mkdir()
    with (
        dg.instance_for_test(temp_dir=str(folder / "dagster")) as instance,
        running_installation(folder) as running,
    ):
        for mandator in ("nord", "sued"):
            result = running.run(mandator, instance)
            assert result.success, problems(result)
    return folder


@pytest.fixture
def installation(proven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Copy an installation whose lists are all proven, on the instance of Dagster that the commands use."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(proven / "dagster", tmp_path / "dagster")
    with (
        dg.instance_for_test(temp_dir=str(tmp_path / "dagster")),
        running_installation(tmp_path) as running,
    ):
        first_day.restore(proven, tmp_path)
        yield running


def run_alarm_sensor(installation: Installation, now: datetime | None = None) -> None:
    """Record a check by the alarm sensor, of both mandators, in which nothing was found."""
    with installation.state() as state:
        for mandator in ("nord", "sued"):
            state.incidents.reconcile({mandator: DetectedIncidents([], [])}, now or datetime.now(UTC))


def shown(installation: Installation) -> tuple[bool, str]:
    console = Console(record=True, width=250)
    return show_incidents(installation.configuration, console), console.export_text()


def test_an_incident_is_found_by_the_command_itself_which_records_nothing(installation: Installation) -> None:
    since = datetime(2026, 11, 24, 4, tzinfo=UTC)
    over = Incident("nord", Subject.of_list("newsletter"), IncidentKind.INCOMPLETE, since,
                    "The list is INCOMPLETE.", "Send nothing to it.", "/runs")  # fmt: skip
    run_alarm_sensor(installation)
    assert shown(installation) == (
        True,
        "Nothing is wrong: the alarm sensor is running, and all lists are as planned.\n",
    )
    with installation.state() as state:
        state.incidents.reconcile({"nord": DetectedIncidents([over], [])}, datetime.now(UTC))
    assert shown(installation)[0], "the list is complete by now"
    installation.environment["PASSWORD_OF_BOTH"] = "wrong horse"
    with dg.DagsterInstance.get() as instance:
        assert not installation.run("nord", instance).success
    installation.environment["PASSWORD_OF_BOTH"] = "correct horse"

    fine, printed = shown(installation)

    assert not fine
    assert "the feedback of nord" in printed
    assert "No list of the mandator is replaced until this is corrected" in printed
    with installation.state() as state:
        assert state.view().open_incidents("nord") == {over.subject: over}
        assert state.incidents.unsent(datetime.now(UTC)).of("nord", "log") != [], "the command sends nothing"


def test_an_incident_of_the_sensor_is_shown_where_dagster_cannot_be_asked(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = datetime(2026, 11, 24, 4, tzinfo=UTC)
    known = Incident("nord", Subject.of_list("newsletter"), IncidentKind.INCOMPLETE, since,
                     "The list is INCOMPLETE.", "Send nothing to it.", "/runs")  # fmt: skip
    with installation.state() as state:
        state.incidents.reconcile({"nord": DetectedIncidents([known], [])}, datetime.now(UTC))
    with monkeypatch.context() as patch:  # undone before the instance restores the variable
        patch.delenv("DAGSTER_HOME")
        printed = shown(installation)[1]
    assert "nord/newsletter" in printed
    assert "2026-11-24 05:00 CET" in printed
    assert "The list is INCOMPLETE. Send nothing to it." in printed


def test_sensors_that_are_off_or_late_are_named_with_when_the_others_ran(installation: Installation) -> None:
    run_alarm_sensor(installation)
    target = LoadableTargetOrigin(module_name="campaign_sync.definitions")
    origin = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "__repository__")
    now = datetime.now(UTC)
    ticks = {
        "campaign_sync_alarms": (InstigatorStatus.RUNNING, now),
        "campaign_sync_repair": (InstigatorStatus.STOPPED, now),
        "campaign_sync_reports": (InstigatorStatus.RUNNING, now - timedelta(hours=3)),
        "campaign_sync_list_drift": (InstigatorStatus.RUNNING, now - timedelta(days=3)),
    }
    with dg.DagsterInstance.get() as instance:
        for name, (status, ticked_at) in ticks.items():
            switched_on = now.timestamp() if name == "campaign_sync_list_drift" else None
            data = SensorInstigatorData(
                last_tick_timestamp=ticked_at.timestamp(), last_sensor_start_timestamp=switched_on
            )
            instance.add_instigator_state(
                InstigatorState(origin.get_instigator_origin(name), InstigatorType.SENSOR, status, data)
            )

    fine, printed = shown(installation)

    assert not fine
    assert "the sensor campaign_sync_repair is switched off" in printed
    assert "the sensor campaign_sync_reports hasn't run for 3.0 h" in printed
    assert "the sensor campaign_sync_configuration has never run" in printed
    assert "the sensor campaign_sync_list_drift" not in printed, "it was switched on just now"
    assert "the sensor campaign_sync_alarms" not in printed
    assert "Sensors ran last: campaign_sync_alarms less than a minute ago" in printed

    with time_machine.travel(now + timedelta(hours=1)):
        printed = shown(installation)[1]
    assert "no alarm would be sent, because the sensor campaign_sync_alarms hasn't run for 60 min" in printed
    assert "the alarm sensor hasn't checked" not in printed, "that is said once"


def test_lists_are_not_called_fine_unless_the_sensors_have_run(installation: Installation) -> None:
    fine, printed = shown(installation)
    assert not fine
    expected = "the alarm sensor has never checked nord, so no alarm would be sent; see whether Dagster's daemon runs"
    assert expected in printed
    assert "Nothing is wrong" not in printed

    run_alarm_sensor(installation, datetime.now(UTC) - timedelta(hours=3))
    fine, printed = shown(installation)
    assert not fine
    assert "the alarm sensor hasn't checked nord since" in printed
    assert "3.0 h ago" in printed

    run_alarm_sensor(installation)
    installation.settings["mandators"]["sued"]["automation"] = {"alarms": False}
    fine, printed = shown(installation)
    assert not fine
    assert "no alarm of sued is sent: its alarms are switched off" in printed
    assert "nord" not in printed


def test_a_list_that_is_not_ready_is_shown_before_a_sensor_reports_it(installation: Installation) -> None:
    run_alarm_sensor(installation)
    with dg.DagsterInstance.get() as instance:
        installation.environment["PASSWORD_OF_BOTH"] = "wrong horse"
        assert not installation.run("nord", instance).success
    installation.environment["PASSWORD_OF_BOTH"] = "correct horse"

    fine, printed = shown(installation)

    assert not fine
    assert printed.count("wasn't replaced by the newest run that was to") == 2


@pytest.mark.long
@pytest.mark.parametrize(("days", "fine"), [(2, True), (4, False)])
def test_lists_replaced_on_weekdays_are_as_planned_on_a_sunday_but_not_later(
    installation: Installation, days: int, fine: bool
) -> None:
    for mandator in ("nord", "sued"):
        installation.settings["mandators"][mandator]["schedule"] = "30 4 * * 1-5"
    now = datetime.now(UTC) + timedelta(days=days)
    with time_machine.travel(now):
        run_alarm_sensor(installation)
        is_fine, printed = shown(installation)
    assert is_fine is fine
    assert ("wasn't replaced in time" in printed) is not fine


def test_readiness_is_unknown_if_dagsters_instance_is_missing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_alarm_sensor(installation)
    with monkeypatch.context() as patch:  # undone before the instance restores the variable
        patch.delenv("DAGSTER_HOME")
        fine, printed = shown(installation)

    assert not fine
    assert "Dagster can't be asked whether a newer run was to replace it" in printed


def test_a_list_that_cannot_be_checked_is_shown_with_the_time(installation: Installation) -> None:
    run_alarm_sensor(installation)
    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
        assert proven is not None
        since = datetime(2026, 11, 24, 4, tzinfo=UTC)
        state.list_drifts.record(
            ListDrift("nord", "newsletter", proven.id).after_failed_check("the vendor is out of reach", since)
        )

    fine, printed = shown(installation)

    assert not fine
    assert "2026-11-24 05:00 CET" in printed
    assert "It can't be seen whether the list is still as it was proven: the vendor is out of reach" in printed


def test_a_test_goes_to_every_channel_and_reports_failures(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    with running_installation(tmp_path) as installation, mail_server() as mailbox, web_server() as inbox:
        assert not send_test_notices(installation.configuration, console)
        printed = console.export_text()
        assert all(f"{mandator}: alarms go to the log only" in printed for mandator in ("nord", "sued"))
        installation.settings["alarms"] = {
            "apprise": {"ops": {"url": {"env": "SERVICE"}, "mandators": ["sued"]}},
        }
        installation.environment["SERVICE"] = f"json://{inbox.url.removeprefix('http://')}"
        assert not send_test_notices(installation.configuration, console)
        printed = console.export_text()
        assert "nord: alarms go to the log only" in printed, "the target is for another mandator"
        assert "sued: alarms" not in printed
        inbox.posts.clear()
        installation.environment["HOOK"] = inbox.url
        installation.settings["alarms"] = {
            "email": {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "a@example.net",
                      "to": ["ops@example.net"]},
            "webhooks": {"ops": {"url": {"env": "HOOK"}}},
            "heartbeat_url": {"env": "HOOK"},
        }  # fmt: skip
        installation.settings["mandators"]["sued"]["alarms_to"] = ["sued@example.net"]
        assert send_test_notices(installation.configuration, console)
        assert mailbox.recipients == [["ops@example.net"], ["sued@example.net"]]
        assert [post["stage"] for post in inbox.posts] == ["test", "test"]
        assert inbox.gets == ["/hook"]
        inbox.status = 404
        assert not send_test_notices(installation.configuration, console)

    printed = console.export_text()
    assert "the receiver at alarms.heartbeat_url accepted a heartbeat" in printed
    assert "alarms.heartbeat_url accepted no heartbeat: it answered HTTP 404" in printed
    assert "alarms.webhooks.ops accepted no alarm: it answered HTTP 404" in printed
