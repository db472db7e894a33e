"""The alarms and checks of mandators whose settings can't be used."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from campaign_sync.config import load_configuration
from campaign_sync.domain.incident import DetectedIncidents, Incident, IncidentKind, Subject
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.mandator_ticks import MandatorTickError
from campaign_sync.storage.database import upgrade_database
from campaign_sync.storage.state import State
from campaign_sync_tests.alerts.receivers import Mailbox, mail_server
from campaign_sync_tests.installation import Installation, running_installation

pytestmark = pytest.mark.thorough

CHILDREN = {"run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"}}
"""Dagster's settings of an instance whose runs are children of the code server."""

PASSWORD = "Zaunkönig 4711"


class Sensors:
    """An installation whose mandators may be broken, with the cursors of two sensors and a mailbox."""

    def __init__(self, shop: Installation, mailbox: Mailbox) -> None:
        self.shop, self.mailbox = shop, mailbox
        self.cursors: dict[str, str | None] = {}
        self.events: dict[str, bool | None] = {}
        email = {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "sync@example.net"}
        shop.settings["alarms"] = {"email": {**email, "to": ["ops@example.net"]}}
        self.state_url = shop.configuration.storage.state_url.get_secret_value()
        upgrade_database(self.state_url)

    @property
    def definitions(self) -> dg.Definitions:
        """The definitions as Dagster loads them."""
        path = self.shop.folder / "campaign_sync.yaml"
        path.write_text(yaml.safe_dump(self.shop.settings, allow_unicode=True), encoding="utf-8")
        return build_definitions(load_configuration(path, self.shop.environment, whole=False), datetime.now(UTC))

    def tick(self, sensor: str, instance: dg.DagsterInstance) -> list[str]:
        """Evaluate a sensor once. Return the subjects of the mails that it sent, without their beginning."""
        before = len(self.mailbox.mails)
        with dg.build_sensor_context(instance=instance, cursor=self.cursors.get(sensor)) as context:
            result = self.definitions.resolve_sensor_def(f"campaign_sync_{sensor}").evaluate_tick(context)
        self.cursors[sensor] = result.cursor
        evaluations = [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        self.events = {event.asset_key.path[0]: event.passed for event in evaluations}
        assert not any(PASSWORD in str(event) for event in evaluations)
        return self.mailbox.subjects[before:]


@pytest.fixture
def sensors(tmp_path: Path) -> Iterator[Sensors]:
    with running_installation(tmp_path) as shop, mail_server() as mailbox:
        yield Sensors(shop, mailbox)


def test_a_broken_mandator_is_red_and_alarmed_about_until_it_is_corrected(sensors: Sensors) -> None:
    sued = sensors.shop.settings["mandators"]["sued"]
    password = sued["password"]
    incomplete = Incident(
        "sued", Subject.of_list("newsletter"), IncidentKind.INCOMPLETE, datetime.now(UTC), "It is half full.", "", "/"
    )
    with State(sensors.state_url) as state:
        state.incidents.reconcile({"sued": DetectedIncidents([incomplete], ())}, datetime.now(UTC))
    with dg.DagsterInstance.ephemeral() as instance:
        assert sensors.tick("configuration", instance) == []
        assert sensors.events == {"nord": True, "sued": True}

        sued["password"] = PASSWORD
        alarm = "Alarm: the configuration of sued can't be used"
        assert alarm in sensors.tick("configuration", instance)
        assert sensors.events == {"sued": False}
        text = sensors.mailbox.mails[sensors.mailbox.subjects.index(alarm)].get_content()
        assert "mandators.sued.password: a credential must not be in this file" in " ".join(text.split())
        assert PASSWORD not in text
        assert sensors.tick("configuration", instance) == []
        assert sensors.events == {}
        assert not [subject for subject in sensors.tick("alarms", instance) if "sued" in subject]
        with State(sensors.state_url) as state:
            assert Subject.of_list("newsletter") in state.view().open_incidents("sued"), "nothing has become of it"

        sued["password"] = password
        assert sensors.tick("configuration", instance) == []
        assert sensors.events == {"sued": True}
        assert "All clear: the configuration of sued" in sensors.tick("alarms", instance)


def test_a_missing_secret_is_alarmed_about_before_a_run_needs_it_where_runs_have_the_same(sensors: Sensors) -> None:
    schedules = {"schedule": "* * * * *", "feedback": {"schedule": "* * * * *", "audit": "* * * * *"}}
    sensors.shop.settings["mandators"]["nord"] |= {"password": {"env": "OF_NORD"}, **schedules}
    alarm = "Alarm: the configuration of nord can't be used"

    def skipped(instance: dg.DagsterInstance) -> list[str | None]:
        definitions = sensors.definitions
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime.now(UTC)) as context:
            return [
                definitions.resolve_schedule_def(f"nord_{name}").evaluate_tick(context).skip_message
                for name in ("daily", "feedback_schedule", "audit_schedule")
            ]

    with dg.DagsterInstance.ephemeral() as instance:  # runs are somewhere else
        assert alarm not in sensors.tick("alarms", instance)
        sensors.tick("configuration", instance)
        assert sensors.events == {"nord": True, "sued": True}
    with dg.instance_for_test(overrides=CHILDREN) as instance:
        assert alarm in sensors.tick("alarms", instance)
        sensors.tick("configuration", instance)
        assert sensors.events == {"nord": False}
        problem = "mandators.nord.password: the environment variable OF_NORD is not set"
        assert [problem in (message or "") for message in skipped(instance)] == [True, True, True]

        sensors.shop.environment["OF_NORD"] = PASSWORD
        assert "All clear: the configuration of nord" in sensors.tick("alarms", instance)
        assert skipped(instance) == [None, None, None]


def test_a_channel_without_its_secret_makes_the_sensor_red(sensors: Sensors) -> None:
    sensors.shop.settings["alarms"]["webhooks"] = {"ops": {"url": {"env": "HOOK"}}}
    with dg.DagsterInstance.ephemeral() as instance:
        sensors.cursors["alarms"] = "{}"
        problem = r"alarms\.webhooks\.ops\.url: the environment variable HOOK is not set"
        with pytest.raises(MandatorTickError, match=problem):
            sensors.tick("alarms", instance)
