"""Notices of incidents: one when an incident begins, when it gets worse, and when it is over."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import create_engine

from campaign_sync.cli.alarms import find_incidents
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.erasure import Erasure
from campaign_sync.domain.incident import INSTALLATION, DetectedIncidents, Incident, IncidentKind, Subject
from campaign_sync.domain.readiness import Readiness
from campaign_sync.erasure.removal import Removal
from campaign_sync.orchestration import repair_sensor
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.current_incidents import find_current_incidents
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG, PLANNED_FOR, daily_job_name
from campaign_sync.orchestration.mandator_ticks import MandatorTickError
from campaign_sync.orchestration.repair_hindrances import REPAIR_SENSOR
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.orchestration.run_failures import MonitoredAssets, NewestRuns, failed_steps
from campaign_sync.replacement.list_readiness import judge_lists
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.open import open_state
from campaign_sync.storage.recipient_lists import PartialFill, SizeAcceptance
from campaign_sync.storage.state import State
from campaign_sync_tests.alerts.receivers import Inbox, Mailbox, mail_server, web_server
from campaign_sync_tests.installation import (
    ADDRESSES,
    ATTRIBUTES,
    NEWSLETTER,
    NORD,
    PRODUCTS,
    Installation,
    running_installation,
)
from campaign_sync_tests.orchestration.event_log import LOST_CHECK, plan_check_without_result

pytestmark = pytest.mark.thorough

QUEUED, CANCELED = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.CANCELED


class AlarmSensor:
    """An installation, its alarm sensor with a real cursor, and the receivers of its notices."""

    def __init__(self, shop: Installation, instance: dg.DagsterInstance, mailbox: Mailbox, inbox: Inbox) -> None:
        self.shop, self.instance, self.mailbox, self.inbox = shop, instance, mailbox, inbox
        self.lists = list(shop.settings["mandators"]["nord"]["lists"])
        self.cursor: str | None = None
        shop.environment["HOOK"] = inbox.url
        shop.settings["mandators"]["sued"]["automation"] = {"alarms": False}
        email = {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "sync@example.net"}
        shop.settings["alarms"] = {
            "email": {**email, "to": ["ops@example.net"]},
            "webhooks": {"ops": {"url": {"env": "HOOK"}}},
        }

    def run(self, **more: Any) -> dg.ExecuteInProcessResult:
        """Run the mandator's day, however it ends."""
        return self.shop.run("nord", self.instance, **more)

    def tick(self) -> list[str]:
        """Evaluate the sensor once. Return the subjects of the mails that it sent."""
        before = len(self.mailbox.mails)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.shop.sensor("alarms").evaluate_tick(context)
        self.cursor = result.cursor
        return self.mailbox.subjects[before:]

    @property
    def text(self) -> str:
        """Return the text of the newest mail."""
        text: str = self.mailbox.mails[-1].get_content()
        return text

    def leave_incomplete(self) -> None:
        """Run a day that fails while lists are being filled."""
        self.shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
        self.run()

    def repair(self) -> None:
        """Let the vendor accept everything again."""
        self.shop.vendor.repair()


@pytest.fixture
def alarms(tmp_path: Path, two_lists: bool) -> Iterator[AlarmSensor]:
    with (
        running_installation(tmp_path, two_lists=two_lists) as shop,
        dg.DagsterInstance.ephemeral() as instance,
        mail_server() as mailbox,
        web_server() as inbox,
    ):
        shop.retry_policy = NO_RETRIES
        yield AlarmSensor(shop, instance, mailbox, inbox)


@pytest.mark.two_lists
def test_an_incomplete_list_sends_a_notice_when_it_begins_gets_worse_and_is_over(
    alarms: AlarmSensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_sensor, "MAX_FRUITLESS", 2)
    assert alarms.tick() == [], "before the first day"
    alarms.leave_incomplete()

    list_id = alarms.shop.configuration.mandators["nord"].lists["newsletter"].recipient_list_id
    with alarms.shop.state() as state, state.locks.acquire(list_id, "another-run"):
        assert alarms.tick() == ["Alarm: nord/products is INCOMPLETE"], "newsletter is being filled"
    assert alarms.tick() == ["Alarm: nord/newsletter is INCOMPLETE"]
    assert "Send nothing to it until the all-clear" in alarms.text
    assert alarms.tick() == [], "nothing has changed"

    alarms.run()
    assert sorted(alarms.tick()) == [f"Worse: nord/{name} stays INCOMPLETE" for name in alarms.lists]
    assert "no further attempt is made automatically" in alarms.text

    alarms.repair()
    alarms.run()
    assert sorted(alarms.tick()) == [f"All clear: nord/{name}" for name in alarms.lists]
    assert alarms.tick() == []
    assert [post["headline"] for post in alarms.inbox.posts] == alarms.mailbox.subjects, "all channels send the same"
    texts = [mail.get_content() for mail in alarms.mailbox.mails]
    for number, name in enumerate(("Änne", "Björn", "Çelik", "Dörte", "Émile"), start=1):
        assert not any(f"person{number}@" in text or name in text for text in texts), "no alarm names a person"


@pytest.mark.long
@pytest.mark.two_lists
def test_a_channel_that_is_down_fails_the_tick_and_sends_later_while_others_send_once(alarms: AlarmSensor) -> None:
    alarms.shop.settings["mandators"]["nord"]["alarms_to"] = ["nord@example.net"]
    alarms.inbox.status = 503
    alarms.leave_incomplete()
    with pytest.raises(MandatorTickError, match=r"alarms\.webhooks\.ops accepted no alarm: it answered HTTP 503"):
        alarms.tick()
    assert alarms.mailbox.recipients == [["nord@example.net"]] * len(alarms.lists), (
        "a mandator may have people of its own"
    )
    alarms.inbox.status = 200
    assert alarms.tick() == [], "the mails were sent"
    assert len(alarms.inbox.posts) == len(alarms.lists)

    alarms.repair()
    alarms.run()
    alarms.tick()
    alarms.inbox.status = 503
    alarms.leave_incomplete()
    with pytest.raises(MandatorTickError):
        alarms.tick()
    alarms.repair()
    alarms.run()
    alarms.inbox.status = 200
    assert sorted(alarms.tick()) == [f"All clear: nord/{name}" for name in alarms.lists]
    assert len(alarms.inbox.posts) == 2 * len(alarms.lists), "an incident that is over before it is sent isn't sent"


@pytest.mark.two_lists
def test_a_failed_feedback_import_is_one_incident_and_not_one_per_list(alarms: AlarmSensor) -> None:
    alarms.run()
    assert alarms.tick() == []
    alarms.shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
    alarms.run()
    assert alarms.tick() == ["Alarm: the feedback of nord failed"]
    assert "No list of the mandator is replaced until this is corrected" in alarms.text
    assert "horse" not in alarms.text

    alarms.shop.environment["PASSWORD_OF_BOTH"] = "correct horse"
    alarms.run()
    assert alarms.tick() == ["All clear: the feedback of nord"]

    with time_machine.travel(datetime.now(UTC) + timedelta(hours=40)):
        assert sorted(alarms.tick()) == [
            *(f"Alarm: nord/{name} is late" for name in alarms.lists),
            "Alarm: the feedback of nord has grown old, no list is replaced",
        ]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=9)):
        assert alarms.tick() == ["Worse: the feedback of nord will soon be lost"]
        assert "unsubscribes are lost for good" in alarms.text


def test_feedback_that_grows_old_as_planned_sends_no_notice_until_an_import_is_missed(alarms: AlarmSensor) -> None:
    alarms.shop.settings["mandators"]["nord"]["schedule"] = "30 4 * * 0"
    alarms.run()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=40)):
        assert alarms.tick() == []
    with time_machine.travel(datetime.now(UTC) + timedelta(days=7, hours=3)):
        assert "Alarm: the feedback of nord has grown old, no list is replaced" in alarms.tick()


@pytest.mark.two_lists
def test_a_list_refused_by_its_checks_or_for_want_of_an_approval_sends_a_notice_that_says_what_to_do(
    alarms: AlarmSensor,
) -> None:
    alarms.shop.list_settings()["limits"] = {"min_rows": 100}
    alarms.shop.list_settings("nord", "products")["approval"] = "always"
    alarms.run()

    assert sorted(alarms.tick()) == ["Alarm: nord/newsletter a check failed", "Alarm: nord/products failed"]
    refused, waiting = sorted(mail.get_content() for mail in alarms.mailbox.mails)
    if "products failed" in refused:
        refused, waiting = waiting, refused
    assert "5 rows are fewer than min_rows 100" in refused
    assert "newsletter still holds the people whom it held before" in refused
    assert "`campaign-sync run nord --list newsletter`" in refused
    assert "launch the job nord_approve with it and a reason" in waiting
    assert "Until the plan is approved, nothing is changed in products" in waiting
    assert "still holds" not in waiting


def test_a_run_whose_process_died_sends_a_notice_unless_it_is_retried_at_once(alarms: AlarmSensor) -> None:
    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = alarms.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={MANDATOR_TAG: "nord"})
    assert alarms.tick() == [], "nothing shows that it is dead"
    alarms.instance.report_run_failed(run, "its process is gone")
    assert alarms.tick() == [], "it may be retried"
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert alarms.tick() == ["Alarm: a run of nord died"]
        for name, status in ((daily_job_name("nord"), QUEUED), ("nord_audit", CANCELED)):
            another = alarms.shop.definitions.resolve_job_def(name)
            alarms.instance.create_run_for_job(another, status=status, tags={MANDATOR_TAG: "nord"})
            assert alarms.tick() == [], "a queued run doesn't end the incident"
        alarms.run()
        assert alarms.tick() == ["All clear: a run of nord"]


@pytest.mark.two_lists
def test_the_notice_of_a_run_that_died_says_what_has_to_be_accepted_again(alarms: AlarmSensor) -> None:
    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = alarms.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={MANDATOR_TAG: "nord"})
    lists = [asset_key("nord", AssetKind.RECIPIENT_LIST, name) for name in alarms.lists]
    with alarms.shop.state() as state:
        for run_id, name in ((run.run_id, "newsletter"), ("another", "products")):
            state.recipient_lists.accept_size(
                SizeAcceptance(run_id, "nord", name, "a person", "sale", datetime.now(UTC))
            )
            withdrawals = WithdrawalAcceptance(run_id, "nord", name, "a person", "restored", datetime.now(UTC))
            state.known_withdrawals.accept(withdrawals)
        options = "--accept-size REASON --accept-withdrawals REASON"
        assert options in remedy_of_a_dead_run(alarms, state, run, lists)
        state.known_withdrawals.forget_accepted(replace(withdrawals, run_id=run.run_id, list="newsletter"), "any")
        text = remedy_of_a_dead_run(alarms, state, run, lists)
        assert "run `campaign-sync run nord --list newsletter --list products --accept-size REASON`. What was" in text
        assert "--accept" not in remedy_of_a_dead_run(alarms, state, run, lists[1:])


def remedy_of_a_dead_run(alarms: AlarmSensor, state: State, run: dg.DagsterRun, assets: list[dg.AssetKey]) -> str:
    alarms.instance.report_run_failed(run, "its process is gone")
    record = alarms.instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))[0]
    newest = NewestRuns(
        MonitoredAssets("nord", tuple(assets), ()), dict.fromkeys(assets, run.run_id), {run.run_id: record}, ()
    )
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        (incident,) = failed_steps(
            newest, lambda _: {}, accepted=lambda died: state.acceptances_of("nord", {died.run_id})
        )
    return incident.remedy


@pytest.mark.long
@pytest.mark.two_lists
def test_a_run_that_died_sends_no_notice_once_its_retry_has_made_the_rest(alarms: AlarmSensor) -> None:
    """Dagster's retry plans only what the run hasn't made, so the rest still has the dead run as its newest."""
    died = alarms.run()
    alarms.instance.report_run_failed(died.dagster_run, "its process is gone")
    kinds = (AssetKind.SELECTION, AssetKind.SNAPSHOT, AssetKind.RECIPIENT_LIST)
    assert alarms.run(assets=[asset_key("nord", kind, "products").path for kind in kinds]).success
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert alarms.tick() == []


def test_a_run_that_died_sends_no_notice_while_a_further_run_is_to_complete_its_day(alarms: AlarmSensor) -> None:
    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    tags = {MANDATOR_TAG: "nord", PLANNED_FOR: datetime.now(UTC).isoformat(timespec="minutes")}
    run = alarms.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    alarms.instance.report_run_failed(run, "its process is gone")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert alarms.tick() == []
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=3)):
        assert alarms.tick() == ["Alarm: a run of nord died"], "it is too late for further runs"


def test_no_alarm_promises_a_repair_while_none_can_follow(alarms: AlarmSensor) -> None:
    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    tags = {MANDATOR_TAG: "nord", PLANNED_FOR: datetime.now(UTC).isoformat(timespec="minutes")}
    run = alarms.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    alarms.instance.report_run_failed(run, "its process is gone")
    with dg.instance_for_test() as switches, time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        alarms.instance._schedule_storage = switches.schedule_storage
        assert alarms.tick() == []
        stop_repair(switches)
        assert alarms.tick() == ["Alarm: a run of nord died"]
        assert "because the sensor campaign_sync_repair is switched off. Switch it on" in alarms.text
        alarms.leave_incomplete()
        assert {*alarms.tick()} == {
            "All clear: a run of nord",
            *(f"Alarm: nord/{name} stays INCOMPLETE" for name in alarms.lists),
        }
        assert "Nothing repairs it automatically, because the sensor campaign_sync_repair is" in alarms.text


def stop_repair(instance: dg.DagsterInstance) -> None:
    """Let a person have stopped the repair sensor in the UI."""
    target = LoadableTargetOrigin(module_name="definitions")
    repository = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "__repository__")
    origin = repository.get_instigator_origin(REPAIR_SENSOR)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED, SensorInstigatorData())
    instance.add_instigator_state(state)


@pytest.mark.two_lists
def test_an_incomplete_list_that_a_dead_run_has_left_is_one_incident(alarms: AlarmSensor) -> None:
    alarms.leave_incomplete()
    (run,) = alarms.instance.get_runs()
    alarms.instance.add_run_tags(run.run_id, {RUN_FAILURE_REASON_TAG: "UNKNOWN"})
    with alarms.shop.state() as state:
        accepted = SizeAcceptance(run.run_id, "nord", "newsletter", "a person", "sale", datetime.now(UTC))
        state.recipient_lists.accept_size(accepted)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert sorted(alarms.tick()) == [f"Alarm: nord/{name} is INCOMPLETE" for name in alarms.lists]
    texts = [" ".join(mail.get_content().split()) for mail in alarms.mailbox.mails]
    assert [text for text in texts if "nord/newsletter" in text] == [text for text in texts if "--accept-size" in text]


def test_a_heartbeat_is_sent_in_every_tick_in_which_people_can_be_alerted(alarms: AlarmSensor) -> None:
    alarms.shop.settings["alarms"]["heartbeat_url"] = {"env": "HOOK"}
    alarms.leave_incomplete()
    alarms.tick()
    alarms.tick()
    assert len(alarms.inbox.gets) == 2, "also with incidents that people know of"

    good = alarms.shop.settings["storage"]["state_url"]
    alarms.shop.settings["storage"]["state_url"] = "postgresql://unknown@127.0.0.1:1/gone"
    alarms.tick()
    assert len(alarms.inbox.gets) == 2, "the state database can't be used"
    alarms.shop.settings["storage"]["state_url"] = good
    alarms.tick()
    assert len(alarms.inbox.gets) == 3

    alarms.repair()
    alarms.run()
    alarms.mailbox.refuses = True
    with pytest.raises(MandatorTickError):
        alarms.tick()
    assert len(alarms.inbox.gets) == 3, "people don't get the all-clear"
    alarms.mailbox.refuses = False
    assert alarms.tick()
    assert len(alarms.inbox.gets) == 4

    alarms.shop.settings["alarms"]["heartbeat_url"] = {"env": "MISSING"}
    alarms.leave_incomplete()
    with pytest.raises(MandatorTickError, match=r"alarms\.heartbeat_url: the environment variable MISSING is not set"):
        alarms.tick()
    assert alarms.mailbox.subjects[-1].endswith("is INCOMPLETE"), "alarms are sent all the same"


def test_a_state_database_that_cannot_be_used_sends_a_notice_once_and_an_all_clear_once(alarms: AlarmSensor) -> None:
    good = alarms.shop.settings["storage"]["state_url"]
    alarms.shop.settings["storage"]["state_url"] = "postgresql://unknown@127.0.0.1:1/gone"

    assert alarms.tick() == ["Alarm: the state database of nord failed"]
    assert "127.0.0.1:1/gone" in alarms.text
    assert alarms.tick() == []
    alarms.shop.settings["storage"]["state_url"] = good
    assert alarms.tick() == ["All clear: the state database of nord"]
    assert alarms.tick() == []


def test_a_mailbox_that_is_gone_for_one_mandator_delays_no_other_and_makes_the_next_tick_red(
    alarms: AlarmSensor,
) -> None:
    mandators = alarms.shop.settings["mandators"]
    del mandators["sued"]["automation"], alarms.shop.settings["alarms"]["webhooks"]
    mandators["nord"]["alarms_to"] = [alarms.mailbox.unknown] = ["gone@example.net"]
    alarms.shop.settings["storage"]["state_url"] = "postgresql://unknown@127.0.0.1:1/gone"

    assert alarms.tick() == ["Alarm: the state database of sued failed"]
    with pytest.raises(MandatorTickError, match=r"^nord: the state database"):
        alarms.tick()
    alarms.mailbox.unknown = ""
    assert alarms.tick() == ["Alarm: the state database of nord failed"]
    assert alarms.tick() == []


def test_while_the_state_database_is_read_only_notices_are_sent_once(alarms: AlarmSensor) -> None:
    alarms.inbox.status = 503
    alarms.leave_incomplete()
    with pytest.raises(MandatorTickError):
        alarms.tick()
    engine = create_engine(alarms.shop.settings["storage"]["state_url"])
    with engine.begin() as database:
        for change in ("UPDATE ON incident", "INSERT ON notice"):
            name = change.partition(" ")[0]
            database.exec_driver_sql(
                f"CREATE TRIGGER full_{name} BEFORE {change} BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
    alarms.inbox.status = 200
    assert alarms.tick() == ["Alarm: the state database of nord failed"]
    for _ in range(2):
        assert alarms.tick() == []
    assert len(alarms.inbox.posts) == 1
    with engine.begin() as database:
        for name in ("UPDATE", "INSERT"):
            database.exec_driver_sql(f"DROP TRIGGER full_{name}")
    alarms.tick()
    assert len(alarms.inbox.posts) == 2 + len(alarms.lists)


def test_without_any_channel_notices_are_logged(alarms: AlarmSensor) -> None:
    del alarms.shop.settings["alarms"]
    subject = Subject.of_list("newsletter")
    late = Incident("nord", subject, IncidentKind.LATE, datetime.now(UTC), "It is late.", "Look.", "/runs")
    with alarms.shop.state() as state:
        state.incidents.reconcile({"nord": DetectedIncidents([late], [])}, datetime.now(UTC))
    alarms.tick()
    with alarms.shop.state() as state:
        assert state.view().open_incidents("nord") == {}
        assert state.incidents.unsent(datetime.now(UTC)).of("nord", "log") == []


def test_each_channel_sends_the_all_clear_of_the_state_database_once_though_another_is_down(
    alarms: AlarmSensor,
) -> None:
    good = alarms.shop.settings["storage"]["state_url"]
    alarms.shop.settings["storage"]["state_url"] = "postgresql://unknown@127.0.0.1:1/gone"
    alarms.tick()
    alarms.shop.settings["storage"]["state_url"] = good
    alarms.inbox.status = 503
    assert alarms.tick() == ["All clear: the state database of nord"]
    for _ in range(2):
        with pytest.raises(MandatorTickError, match="HTTP 503"):
            alarms.tick()
    alarms.inbox.status = 200
    assert alarms.tick() == []
    assert alarms.mailbox.subjects.count("All clear: the state database of nord") == 1
    assert [post["headline"] for post in alarms.inbox.posts] == alarms.mailbox.subjects


def test_an_incident_of_a_list_stays_open_if_a_later_run_does_not_reach_the_list(alarms: AlarmSensor) -> None:
    alarms.run()
    alarms.shop.list_settings()["limits"] = {"min_rows": 100}
    alarms.run()
    assert alarms.tick() == ["Alarm: nord/newsletter a check failed"]

    alarms.shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
    alarms.run()
    assert alarms.tick() == ["Alarm: the feedback of nord failed"], "the list was left out, its check is only planned"
    alarms.shop.environment["PASSWORD_OF_BOTH"] = "correct horse"

    del alarms.shop.list_settings()["limits"]
    alarms.run(assets=[["nord", "bounces"], ["nord", "unsubscribes"], ["nord", "suppression_state"]])
    alarms.run(assets=[["nord", "newsletter_selection"], ["nord", "newsletter_snapshot"]])
    assert alarms.tick() == ["All clear: the feedback of nord"], "the list itself wasn't replaced yet"

    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = alarms.instance.create_run_for_job(job, tags={MANDATOR_TAG: "nord"})
    alarms.instance.report_run_canceled(run)
    assert alarms.tick() == []
    alarms.run(assets=[["nord", "newsletter_recipient_list"]])
    assert alarms.tick() == ["All clear: nord/newsletter"]


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("status", "awaited"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, "A run that replaces it waits in Dagster's queue since"),
        (dg.DagsterRunStatus.STARTED, "If it hangs, terminate it there, and run `campaign-sync run nord --list"),
    ],
)
def test_a_run_that_waits_or_hangs_does_not_delay_the_notice_of_late_lists(
    alarms: AlarmSensor, status: dg.DagsterRunStatus, awaited: str
) -> None:
    alarms.run()
    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = alarms.instance.create_run_for_job(job, status=status, tags={MANDATOR_TAG: "nord"})
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=30)):
        assert sorted(alarms.tick()) == [f"Alarm: nord/{name} is late" for name in alarms.lists]
        assert awaited in " ".join(alarms.text.split())
        alarms.instance.report_run_canceled(run)
        with alarms.shop.state() as state:
            current = find_current_incidents(alarms.shop.configuration, alarms.instance, state, datetime.now(UTC))
    late = current.open["nord"][Subject.of_list("newsletter")]
    assert "Its newest run was cancelled, at" in late.remedy, "what is shown is how it is now"


@pytest.mark.long
def test_an_incomplete_list_that_a_run_holds_for_too_long_sends_a_notice(alarms: AlarmSensor) -> None:
    alarms.run()
    alarms.leave_incomplete()
    list_id = alarms.shop.configuration.mandators["nord"].lists["newsletter"].recipient_list_id
    with (
        time_machine.travel(datetime.now(UTC) + timedelta(hours=30)),
        alarms.shop.state() as state,
        state.locks.acquire(list_id, "a-run-that-hangs"),
    ):
        assert "Alarm: nord/newsletter is INCOMPLETE" in alarms.tick()


def test_a_list_that_looks_half_full_is_an_incident_until_it_is_proven(alarms: AlarmSensor) -> None:
    with alarms.shop.state() as state:
        state.recipient_lists.record_partial_fill(PartialFill("nord", "newsletter", 3, 5, datetime.now(UTC)))

    assert alarms.tick() == ["Alarm: nord/newsletter looks half full"]
    assert "it held 3 recipients, nearly all of them among the 5 that it should hold" in " ".join(alarms.text.split())
    alarms.run()
    assert alarms.tick() == ["All clear: nord/newsletter"]


@pytest.mark.long
@pytest.mark.two_lists
def test_an_incomplete_list_is_not_clear_by_renaming_it_in_the_configuration(alarms: AlarmSensor) -> None:
    alarms.leave_incomplete()
    assert len(alarms.tick()) == len(alarms.lists)
    lists = alarms.shop.settings["mandators"]["nord"]["lists"]
    lists["news"] = lists.pop("newsletter")
    assert alarms.tick() == []

    alarms.repair()
    alarms.run()
    assert sorted(alarms.tick()) == [f"All clear: nord/{name}" for name in alarms.lists]


@pytest.mark.long
def test_an_incomplete_list_gets_worse_when_no_further_run_is_started_to_repair_it(
    alarms: AlarmSensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_sensor, "MAX_RUNS", 1)
    alarms.leave_incomplete()
    alarms.tick()
    with alarms.shop.state() as state:
        unfinished = state.replacements.incomplete("nord", "newsletter")
    assert unfinished
    tags = {MANDATOR_TAG: "nord", repair_sensor.REPAIR_TAG: f"newsletter:{unfinished.cleared_at:%Y%m%dT%H%M%S}"}
    job = alarms.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = alarms.instance.create_run_for_job(job, asset_selection={dg.AssetKey(["nord", "bounces"])}, tags=tags)
    alarms.instance.report_run_canceled(run)
    assert alarms.tick() == ["Worse: nord/newsletter stays INCOMPLETE"]


@pytest.mark.two_lists
def test_a_list_that_failed_sends_a_notice_though_the_rest_of_the_run_was_cancelled(alarms: AlarmSensor) -> None:
    alarms.shop.list_settings()["opt_in_id"] = "unheard-of"
    alarms.instance.report_run_canceled(alarms.run().dagster_run)
    assert alarms.tick() == ["Alarm: nord/newsletter failed"]


@pytest.mark.long
@pytest.mark.two_lists
def test_a_run_that_dies_after_one_of_its_lists_has_failed_sends_a_notice_as_well(alarms: AlarmSensor) -> None:
    alarms.run()
    alarms.shop.list_settings()["opt_in_id"] = "unheard-of"
    failed = alarms.run()
    assert alarms.tick() == ["Alarm: nord/newsletter failed"]
    alarms.instance.add_run_tags(failed.run_id, {RUN_FAILURE_REASON_TAG: "UNEXPECTED_TERMINATION"})
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert alarms.tick() == ["Alarm: a run of nord died"]


def test_a_tick_without_incidents_leaves_no_file_behind(alarms: AlarmSensor) -> None:
    with dg.build_sensor_context(instance=alarms.instance) as context:
        sensor = alarms.shop.sensor("alarms")
        sensor.evaluate_tick(context)

        assert context._logger is None, "Dagster makes a file for every tick whose logger was asked for"


@pytest.mark.two_lists
def test_an_incomplete_list_that_is_taken_out_of_the_configuration_gets_no_all_clear(alarms: AlarmSensor) -> None:
    alarms.leave_incomplete()
    assert "Alarm: nord/newsletter is INCOMPLETE" in alarms.tick()
    del alarms.shop.settings["mandators"]["nord"]["lists"]["newsletter"]

    assert alarms.tick() == ["Unwatched: nord/newsletter is INCOMPLETE"]
    assert "this alarm gets no all-clear" in alarms.text
    assert alarms.inbox.posts[-1]["stage"] == "unwatched"
    assert alarms.tick() == [], "that is the last of it"


@pytest.mark.two_lists
def test_an_incomplete_list_is_not_clear_by_another_list_under_its_name(alarms: AlarmSensor) -> None:
    def sent() -> list[str]:
        before = len(alarms.inbox.posts)
        alarms.tick()
        return sorted(post["headline"] for post in alarms.inbox.posts[before:])

    alarms.leave_incomplete()
    alarms.shop.fill_by_hand(NEWSLETTER, ADDRESSES[:2])
    assert sent() == [f"Alarm: nord/{name} is INCOMPLETE" for name in alarms.lists]
    former = f"recipient list {NEWSLETTER} of nord"
    alarms.shop.vendor.add_list(NORD, 4711, "New", ATTRIBUTES)
    alarms.shop.list_settings()["recipient_list_id"] = 4711
    assert sent() == [f"Alarm: {former} stays INCOMPLETE"]
    assert "nord/newsletter, which it was then, has the recipient_list_id 4711" in alarms.inbox.posts[-1]["text"]
    with alarms.shop.state() as state:
        judged = judge_lists(alarms.shop.configuration, "nord", state.view(), {}, datetime.now(UTC))
    assert [of_list.status.readiness for of_list in judged] == [Readiness.NEVER, Readiness.INCOMPLETE]

    alarms.repair()
    assert alarms.run().success
    assert alarms.shop.addresses(4711) == ADDRESSES, "nothing was resumed from the other list"
    check_lists(alarms)
    assert sent() == ["All clear: nord/products", "Unwatched: nord/newsletter is INCOMPLETE"]
    with alarms.shop.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])
    assert sent() == [], "it isn't known yet"
    check_lists(alarms)
    assert sent() == [f"All clear: {former}"]

    alarms.shop.list_settings()["recipient_list_id"] = NEWSLETTER
    assert alarms.run().success
    assert alarms.shop.addresses(NEWSLETTER) == ADDRESSES
    assert sent() == []


@pytest.mark.long
@pytest.mark.two_lists
def test_an_incomplete_list_is_not_clear_by_its_id_under_another_name(alarms: AlarmSensor) -> None:
    alarms.leave_incomplete()
    assert len(alarms.tick()) == len(alarms.lists)
    lists = alarms.shop.settings["mandators"]["nord"]["lists"]
    for name, list_id in zip(alarms.lists, (PRODUCTS, NEWSLETTER), strict=True):
        lists[name]["recipient_list_id"] = list_id
    assert alarms.tick() == []

    alarms.repair()
    alarms.run()
    assert sorted(alarms.tick()) == [f"All clear: nord/{name}" for name in alarms.lists]


def check_lists(alarms: AlarmSensor) -> None:
    """Run the hourly import of feedback, which also compares lists with their proofs."""
    assert alarms.shop.definitions.resolve_job_def("nord_feedback").execute_in_process(instance=alarms.instance).success


def test_a_list_that_was_emptied_after_its_proof_is_an_incident_until_it_is_whole_again(alarms: AlarmSensor) -> None:
    alarms.run()
    check_lists(alarms)
    assert alarms.tick() == []
    held = alarms.shop.vendor.recipients(NEWSLETTER)
    with alarms.shop.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])
    assert alarms.tick() == [], "the list wasn't checked yet"

    check_lists(alarms)
    assert alarms.tick() == ["Alarm: nord/newsletter was changed after its proof"]
    assert (
        "0 people are in it where 5 were proven: 5 are missing. Send nothing to it until the all-clear" in alarms.text
    )
    check_lists(alarms)
    assert alarms.tick() == []

    alarms.shop.vendor.put(NEWSLETTER, held)
    check_lists(alarms)
    assert alarms.tick() == ["All clear: nord/newsletter"]


@pytest.mark.long
def test_a_list_that_was_changed_after_its_proof_is_well_again_when_it_was_replaced(alarms: AlarmSensor) -> None:
    alarms.run()
    with alarms.shop.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])
    check_lists(alarms)
    assert alarms.tick() == ["Alarm: nord/newsletter was changed after its proof"]

    alarms.run()
    assert alarms.tick() == ["All clear: nord/newsletter"]


@pytest.mark.sample(1)
@pytest.mark.parametrize(("subject", "kind"), [("newsletter", IncidentKind.FAILED), ("a run", IncidentKind.DIED)])
def test_an_incident_of_a_run_stays_open_while_dagster_knows_no_run(
    alarms: AlarmSensor, subject: str, kind: IncidentKind
) -> None:
    """As after an upgrade that gives assets other keys: nothing shows yet that it is over."""
    failed = Incident("nord", Subject.parse(subject), kind, datetime.now(UTC), "It failed.", "Look.", "/runs")
    with alarms.shop.state() as state:
        state.incidents.reconcile({"nord": DetectedIncidents([failed], [])}, datetime.now(UTC))
    alarms.tick()
    assert alarms.tick() == []
    alarms.run()
    assert len(alarms.tick()) == 1, "all clear"


@pytest.mark.two_lists
def test_a_check_without_a_result_is_an_incident(alarms: AlarmSensor) -> None:
    alarms.run()
    for name in alarms.lists:
        plan_check_without_result(alarms.instance, asset_key("nord", AssetKind.RECIPIENT_LIST, name))
    assert sorted(alarms.tick()) == [f"Alarm: nord/{name} a check failed" for name in alarms.lists]
    assert f"a check has no result: products_recipient_list/{LOST_CHECK}" in alarms.text


@pytest.mark.long
def test_a_list_that_the_vendor_cannot_be_asked_for_sends_no_notice(alarms: AlarmSensor) -> None:
    alarms.run()
    alarms.shop.vendor.fault("getCount", "fault", times=99, arg="WebserviceImplException: unheard of")
    check_lists(alarms)
    assert alarms.tick() == []


def test_a_retention_job_that_fails_or_does_not_run_is_an_incident_until_it_succeeds(alarms: AlarmSensor) -> None:
    job = alarms.shop.definitions.resolve_job_def("campaign_sync_retention")
    where = "the retention of the installation"

    def sent(later: timedelta = timedelta()) -> list[str]:
        before = len(alarms.mailbox.mails)
        with (
            time_machine.travel(datetime.now(UTC) + later),
            dg.build_sensor_context(instance=alarms.instance) as context,
        ):
            alarms.shop.sensor("retention_watch").evaluate_tick(context)
        return alarms.mailbox.subjects[before:]

    def end(failed: bool) -> None:
        run = alarms.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        if failed:
            alarms.instance.report_run_failed(run)
        else:
            assert job.execute_in_process(instance=alarms.instance).success

    assert sent() == [], "it never ran"
    end(failed=True)
    assert sent() == [f"Alarm: {where} failed"]
    assert "No list is concerned" in alarms.text
    assert sent() == []
    with alarms.shop.state() as state:
        assert [document.subject for document in find_incidents(alarms.shop.configuration).problems][:1] == [
            "the retention"
        ]
        assert state.view().open_incidents("nord") == {}
    end(failed=False)
    assert sent() == [f"All clear: {where}"]

    alarms.shop.environment["ERASURE_KEY"] = "k" * 32
    alarms.shop.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}}
    job = alarms.shop.definitions.resolve_job_def("campaign_sync_retention")
    with open_state(alarms.shop.configuration) as state:
        key, erased_at = state.erasures.key(), datetime.now(UTC) - timedelta(days=2)
        subjects = key.subjects(["person1@example.org"], ["contact:c1"])
        state.erasures.record(Erasure("e7", erased_at, "officer", "request 7", key.probe, subjects))
        with state.heartbeats.keep_alive("another-run"):
            end(failed=False)
        erasures = "the erasure of people of the installation"
        assert sent() == [f"Alarm: {erasures} is late"]
        written = " ".join(alarms.text.split())
        assert f"Erasure e7 of {erased_at:%Y-%m-%d} was pending at " in written
        assert "in: copies of the CRM, feedback as received," in written
        assert "`campaign-sync erase --retry` tries again" in written
        assert not {"person1", "contact", "c1@", *(digest for _, digest in subjects)} & set(re.split(r"[\W]+", written))
        assert sent() == []
        configuration = alarms.shop.configuration
        (report,) = Removal(configuration, state, FileStorage(configuration.storage.frames)).attempt()  # `--retry`
        assert not report.is_pending
        assert state.view().open_incidents(INSTALLATION) == {}
    assert sent() == [f"All clear: {erasures}"]
    assert sent(timedelta(days=1)) == []
    assert sent(timedelta(days=3)) == [f"Alarm: {where} is late"]
