"""People are told what is wrong: once when it begins, once when it gets worse, once when it is over."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG
from sqlalchemy import create_engine

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.incident import Incident, IncidentKind, Subject
from campaign_sync.orchestration import repair_sensor
from campaign_sync.orchestration.alert_sensor import UnsentAlertError
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG, daily_job_name
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync_tests.alerts.receivers import Inbox, Mailbox, mail_server, web_server
from campaign_sync_tests.installation import NEWSLETTER, Installation, running_installation
from campaign_sync_tests.orchestration.event_log import ADDED_CHECK, plan_check_without_result

pytestmark = pytest.mark.thorough

LISTS = ("newsletter", "products")
QUEUED, CANCELED = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.CANCELED


class Watch:
    """An installation, its alarm sensor with a real cursor, and those whom it tells."""

    def __init__(self, shop: Installation, instance: dg.DagsterInstance, mailbox: Mailbox, inbox: Inbox) -> None:
        self.shop, self.instance, self.mailbox, self.inbox = shop, instance, mailbox, inbox
        self.cursor: str | None = None
        shop.environment["HOOK"] = inbox.url
        email = {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "sync@example.net"}
        shop.settings["alarms"] = {
            "email": {**email, "to": ["ops@example.net"]},
            "webhooks": {"ops": {"url": {"env": "HOOK"}}},
        }

    def run(self, **more: Any) -> dg.ExecuteInProcessResult:
        """Run the mandator's day, however it ends."""
        return self.shop.run("nord", self.instance, **more)

    def look(self) -> list[str]:
        """One tick of the sensor; returns the subjects of the mails that it sent."""
        before = len(self.mailbox.mails)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            found = self.shop.definitions.resolve_sensor_def("nord_alarms").evaluate_tick(context)
        self.cursor = found.cursor
        return self.mailbox.subjects[before:]

    @property
    def text(self) -> str:
        """The newest mail."""
        text: str = self.mailbox.mails[-1].get_content()
        return text

    def break_off(self) -> None:
        """Let a day break off while lists are being filled."""
        self.shop.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
        self.run()

    def mend(self) -> None:
        """Let the vendor take everything again."""
        self.shop.vendor.repair()


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with (
        running_installation(tmp_path) as shop,
        dg.DagsterInstance.ephemeral() as instance,
        mail_server() as mailbox,
        web_server() as inbox,
    ):
        shop.retry_policy = NO_RETRIES
        yield Watch(shop, instance, mailbox, inbox)


def test_a_list_left_incomplete_is_told_once_then_that_it_is_worse_then_that_it_is_over(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_sensor, "MAX_FAILURES", 2)
    assert watch.look() == [], "before the first day"
    watch.break_off()

    list_id = watch.shop.configuration.mandators["nord"].lists["newsletter"].recipient_list_id
    with watch.shop.state() as state, state.locks.acquire(list_id, "another-run"):
        assert watch.look() == ["Alarm: nord/products is INCOMPLETE"], "the other one is just being filled"
    assert watch.look() == ["Alarm: nord/newsletter is INCOMPLETE"]
    assert "Send nothing to it until the all-clear" in watch.text
    assert watch.look() == [], "nothing has changed"

    watch.run()
    assert sorted(watch.look()) == [f"Worse: nord/{name} stays INCOMPLETE" for name in LISTS]
    assert "nothing is tried by itself any more" in watch.text

    watch.mend()
    watch.run()
    assert sorted(watch.look()) == [f"All clear: nord/{name}" for name in LISTS]
    assert watch.look() == []
    assert [post["headline"] for post in watch.inbox.posts] == watch.mailbox.subjects, "everybody is told the same"
    told = [mail.get_content() for mail in watch.mailbox.mails]
    for number, name in enumerate(("Änne", "Björn", "Çelik", "Dörte", "Émile"), start=1):
        assert not any(f"person{number}@" in text or name in text for text in told), "no alarm names a person"


def test_a_channel_that_is_down_fails_the_tick_and_is_told_later_while_others_are_told_once(watch: Watch) -> None:
    watch.shop.settings["mandators"]["nord"]["alarms_to"] = ["nord@example.net"]
    watch.inbox.status = 503
    watch.break_off()
    with pytest.raises(UnsentAlertError, match=r"alarms\.webhooks\.ops took no alarm: it answered HTTP 503"):
        watch.look()
    assert watch.mailbox.recipients == [["nord@example.net"]] * len(LISTS), "a mandator may have people of its own"
    watch.inbox.status = 200
    assert watch.look() == [], "the mails were sent"
    assert len(watch.inbox.posts) == len(LISTS)

    watch.mend()
    watch.run()
    watch.look()
    watch.inbox.status = 503
    watch.break_off()
    with pytest.raises(UnsentAlertError):
        watch.look()
    watch.mend()
    watch.run()
    watch.inbox.status = 200
    assert sorted(watch.look()) == [f"All clear: nord/{name}" for name in LISTS]
    assert len(watch.inbox.posts) == 2 * len(LISTS), "what is over before it can be told needn't be told"


def test_trouble_with_feedback_is_one_trouble_and_not_one_for_every_list(watch: Watch) -> None:
    watch.run()
    assert watch.look() == []
    watch.shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
    watch.run()
    assert watch.look() == ["Alarm: the feedback of nord failed"]
    assert "No list of the mandator is replaced until this is corrected" in watch.text
    assert "horse" not in watch.text

    watch.shop.environment["PASSWORD_OF_BOTH"] = "correct horse"
    watch.run()
    assert watch.look() == ["All clear: the feedback of nord"]

    with time_machine.travel(datetime.now(UTC) + timedelta(hours=40)):
        assert sorted(watch.look()) == [
            *(f"Alarm: nord/{name} is late" for name in LISTS),
            "Alarm: the feedback of nord has grown old, no list is replaced",
        ]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=9)):
        assert watch.look() == ["Worse: the feedback of nord will soon be lost"]
        assert "unsubscribes are lost for good" in watch.text


def test_feedback_that_grows_old_by_plan_is_no_news_until_the_import_does_not_come(watch: Watch) -> None:
    watch.shop.settings["mandators"]["nord"]["schedule"] = "30 4 * * 0"
    watch.run()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=40)):
        assert watch.look() == []
    with time_machine.travel(datetime.now(UTC) + timedelta(days=7, hours=3)):
        assert "Alarm: the feedback of nord has grown old, no list is replaced" in watch.look()


def test_a_list_refused_by_its_checks_is_told_and_its_neighbour_is_no_news(watch: Watch) -> None:
    watch.shop.list_settings()["limits"] = {"min_rows": 100}
    watch.run()

    assert watch.look() == ["Alarm: nord/newsletter a check failed"]
    assert "5 rows are fewer than min_rows 100" in watch.text
    assert "newsletter still holds the people of its last proof" in watch.text
    assert "`campaign-sync run nord --list newsletter`" in watch.text


def test_a_run_whose_process_died_is_told_unless_it_is_taken_up_at_once(watch: Watch) -> None:
    job = watch.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = watch.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={MANDATOR_TAG: "nord"})
    assert watch.look() == [], "as far as anybody knows it is alive"
    watch.instance.report_run_failed(run, "its process is gone")
    assert watch.look() == [], "it may be taken up yet"
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert watch.look() == ["Alarm: a run of nord died"]
        for name, status in ((daily_job_name("nord"), QUEUED), ("nord_audit", CANCELED)):
            another = watch.shop.definitions.resolve_job_def(name)
            watch.instance.create_run_for_job(another, status=status, tags={MANDATOR_TAG: "nord"})
            assert watch.look() == [], "that one waits isn't yet that it is made up for"
        watch.run()
        assert watch.look() == ["All clear: a run of nord"]


def test_a_state_database_that_cannot_be_used_is_told_once_and_so_is_its_return(watch: Watch) -> None:
    good = watch.shop.settings["storage"]["state_url"]
    watch.shop.settings["storage"]["state_url"] = "postgresql://nobody@127.0.0.1:1/gone"

    assert watch.look() == ["Alarm: the state database of nord failed"]
    assert "127.0.0.1:1/gone" in watch.text
    assert watch.look() == []
    watch.shop.settings["storage"]["state_url"] = good
    assert watch.look() == ["All clear: the state database of nord"]
    assert watch.look() == []


def test_while_the_state_database_takes_no_changes_nothing_is_told_at_every_look(watch: Watch) -> None:
    watch.inbox.status = 503
    watch.break_off()
    with pytest.raises(UnsentAlertError):
        watch.look()
    engine = create_engine(watch.shop.settings["storage"]["state_url"])
    with engine.begin() as database:
        for change in ("UPDATE ON incident", "INSERT ON notice"):
            name = change.partition(" ")[0]
            database.exec_driver_sql(
                f"CREATE TRIGGER full_{name} BEFORE {change} BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
    watch.inbox.status = 200
    assert watch.look() == ["Alarm: the state database of nord failed"]
    for _ in range(2):
        assert watch.look() == []
    assert len(watch.inbox.posts) == 1
    with engine.begin() as database:
        for name in ("UPDATE", "INSERT"):
            database.exec_driver_sql(f"DROP TRIGGER full_{name}")
    watch.look()
    assert len(watch.inbox.posts) == 2 + len(LISTS)


def test_without_any_channel_the_log_is_told_all_the_same(watch: Watch) -> None:
    del watch.shop.settings["alarms"]
    subject = Subject.of_list("newsletter")
    broken = Incident("nord", subject, IncidentKind.LATE, datetime.now(UTC), "It is late.", "Look.", "/runs")
    with watch.shop.state() as state:
        state.incidents.reconcile("nord", [broken], [], datetime.now(UTC))
    watch.look()
    with watch.shop.state() as state:
        assert state.incidents.open("nord") == {}
        assert state.incidents.unsent("nord", "log", datetime.now(UTC)) == []


def test_the_return_of_the_state_database_is_told_once_by_each_channel_though_another_one_is_down(
    watch: Watch,
) -> None:
    good = watch.shop.settings["storage"]["state_url"]
    watch.shop.settings["storage"]["state_url"] = "postgresql://nobody@127.0.0.1:1/gone"
    watch.look()
    watch.shop.settings["storage"]["state_url"] = good
    watch.inbox.status = 503
    assert watch.look() == ["All clear: the state database of nord"]
    for _ in range(2):
        with pytest.raises(UnsentAlertError, match="HTTP 503"):
            watch.look()
    watch.inbox.status = 200
    assert watch.look() == []
    assert watch.mailbox.subjects.count("All clear: the state database of nord") == 1
    assert [post["headline"] for post in watch.inbox.posts] == watch.mailbox.subjects


def test_what_was_wrong_with_a_list_is_not_over_because_a_later_run_never_came_to_it(watch: Watch) -> None:
    watch.run()
    watch.shop.list_settings()["limits"] = {"min_rows": 100}
    watch.run()
    assert watch.look() == ["Alarm: nord/newsletter a check failed"]

    watch.shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
    watch.run()
    assert watch.look() == ["Alarm: the feedback of nord failed"], "the list was left out, its check is only planned"
    watch.shop.environment["PASSWORD_OF_BOTH"] = "correct horse"

    del watch.shop.list_settings()["limits"]
    watch.run(assets=[["nord", "bounces"], ["nord", "unsubscribes"], ["nord", "suppression_state"]])
    watch.run(assets=[["nord", "newsletter_selection"], ["nord", "newsletter_snapshot"]])
    assert watch.look() == ["All clear: the feedback of nord"], "the list itself wasn't replaced yet"

    job = watch.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = watch.instance.create_run_for_job(job, tags={MANDATOR_TAG: "nord"})
    watch.instance.report_run_canceled(run)
    assert watch.look() == []
    watch.run(assets=[["nord", "newsletter_recipient_list"]])
    assert watch.look() == ["All clear: nord/newsletter"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_that_waits_or_hangs_keeps_nobody_from_hearing_that_lists_are_late(
    watch: Watch, status: dg.DagsterRunStatus
) -> None:
    watch.run()
    job = watch.shop.definitions.resolve_job_def(daily_job_name("nord"))
    watch.instance.create_run_for_job(job, status=status, tags={MANDATOR_TAG: "nord"})
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=30)):
        assert sorted(watch.look()) == [f"Alarm: nord/{name} is late" for name in LISTS]


def test_an_incomplete_list_that_somebody_has_been_at_for_too_long_is_told(watch: Watch) -> None:
    watch.run()
    watch.break_off()
    list_id = watch.shop.configuration.mandators["nord"].lists["newsletter"].recipient_list_id
    with (
        time_machine.travel(datetime.now(UTC) + timedelta(hours=30)),
        watch.shop.state() as state,
        state.locks.acquire(list_id, "a-run-that-hangs"),
    ):
        assert "Alarm: nord/newsletter is INCOMPLETE" in watch.look()


def test_a_list_that_looks_half_full_is_told_until_it_is_proven(watch: Watch) -> None:
    with watch.shop.state() as state:
        state.recipient_lists.record_partial_fill(PartialFill("nord", "newsletter", 3, 5, datetime.now(UTC)))

    assert watch.look() == ["Alarm: nord/newsletter looks half full"]
    assert "it held 3 recipients, nearly all of them among the 5 that it should hold" in " ".join(watch.text.split())
    watch.run()
    assert watch.look() == ["All clear: nord/newsletter"]


def test_an_incomplete_list_is_not_clear_by_renaming_it_in_the_configuration(watch: Watch) -> None:
    watch.break_off()
    assert len(watch.look()) == len(LISTS)
    lists = watch.shop.settings["mandators"]["nord"]["lists"]
    lists["news"] = lists.pop("newsletter")
    assert watch.look() == []

    watch.mend()
    watch.run()
    assert sorted(watch.look()) == [f"All clear: nord/{name}" for name in LISTS]


def test_a_list_that_no_run_gets_to_mend_is_told_as_such_once_none_is_started_any_more(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_sensor, "MAX_RUNS", 1)
    watch.break_off()
    watch.look()
    with watch.shop.state() as state:
        broken = state.replacements.incomplete("nord", "newsletter")
    assert broken
    tags = {MANDATOR_TAG: "nord", repair_sensor.REPAIR_TAG: f"newsletter:{broken.cleared_at:%Y%m%dT%H%M%S}"}
    job = watch.shop.definitions.resolve_job_def(daily_job_name("nord"))
    run = watch.instance.create_run_for_job(job, asset_selection={dg.AssetKey(["nord", "bounces"])}, tags=tags)
    watch.instance.report_run_canceled(run)
    assert watch.look() == ["Worse: nord/newsletter stays INCOMPLETE"]


def test_a_list_that_failed_is_told_though_somebody_cancelled_the_rest_of_the_run(watch: Watch) -> None:
    watch.shop.list_settings()["opt_in_id"] = "unheard-of"
    watch.instance.report_run_canceled(watch.run().dagster_run)
    assert watch.look() == ["Alarm: nord/newsletter failed"]


def test_a_run_that_dies_after_one_of_its_lists_has_failed_is_told_as_well(watch: Watch) -> None:
    watch.run()
    watch.shop.list_settings()["opt_in_id"] = "unheard-of"
    failed = watch.run()
    assert watch.look() == ["Alarm: nord/newsletter failed"]
    watch.instance.add_run_tags(failed.run_id, {RUN_FAILURE_REASON_TAG: "UNEXPECTED_TERMINATION"})
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=4)):
        assert watch.look() == ["Alarm: a run of nord died"]


def test_a_look_that_finds_nothing_leaves_no_file_behind(watch: Watch) -> None:
    with dg.build_sensor_context(instance=watch.instance) as context:
        sensor = watch.shop.definitions.resolve_sensor_def("nord_alarms")
        sensor.evaluate_tick(context)

        assert context._logger is None, "Dagster makes a file for every tick whose logger was asked for"


def test_an_incomplete_list_that_is_taken_out_of_the_configuration_gets_no_all_clear(watch: Watch) -> None:
    watch.break_off()
    assert "Alarm: nord/newsletter is INCOMPLETE" in watch.look()
    del watch.shop.settings["mandators"]["nord"]["lists"]["newsletter"]

    assert watch.look() == ["Unwatched: nord/newsletter is INCOMPLETE"]
    assert "no all-clear will come" in watch.text
    assert watch.inbox.posts[-1]["stage"] == "unwatched"
    assert watch.look() == [], "that is the last of it"


def look_at_lists(watch: Watch) -> None:
    """What the hourly import of feedback does."""
    assert watch.shop.definitions.resolve_job_def("nord_feedback").execute_in_process(instance=watch.instance).success


def test_a_list_that_was_emptied_after_its_proof_is_told_until_it_is_whole_again(watch: Watch) -> None:
    watch.run()
    look_at_lists(watch)
    assert watch.look() == []
    held = watch.shop.vendor.recipients(NEWSLETTER)
    with watch.shop.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])
    assert watch.look() == [], "nobody has looked at the list yet"

    look_at_lists(watch)
    assert watch.look() == ["Alarm: nord/newsletter was changed after its proof"]
    assert "0 people are in it where 5 were proven: 5 are missing. Send nothing to it until the all-clear" in watch.text
    look_at_lists(watch)
    assert watch.look() == []

    watch.shop.vendor.put(NEWSLETTER, held)
    look_at_lists(watch)
    assert watch.look() == ["All clear: nord/newsletter"]


def test_a_list_that_was_changed_after_its_proof_is_well_again_when_it_was_replaced(watch: Watch) -> None:
    watch.run()
    with watch.shop.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])
    look_at_lists(watch)
    assert watch.look() == ["Alarm: nord/newsletter was changed after its proof"]

    watch.run()
    assert watch.look() == ["All clear: nord/newsletter"]


@pytest.mark.parametrize(("subject", "kind"), [("newsletter", IncidentKind.FAILED), ("a run", IncidentKind.DIED)])
def test_an_incident_of_a_run_stays_open_while_dagster_knows_no_run(
    watch: Watch, subject: str, kind: IncidentKind
) -> None:
    """As after an upgrade that gives assets other keys: nothing shows yet that it is over."""
    failed = Incident("nord", Subject.parse(subject), kind, datetime.now(UTC), "It failed.", "Look.", "/runs")
    with watch.shop.state() as state:
        state.incidents.reconcile("nord", [failed], [], datetime.now(UTC))
    watch.look()
    assert watch.look() == []
    watch.run()
    assert len(watch.look()) == 1, "all clear"


def test_a_check_without_a_result_is_an_incident(watch: Watch) -> None:
    watch.run()
    for name in LISTS:
        plan_check_without_result(watch.instance, asset_key("nord", AssetKind.RECIPIENT_LIST, name))
    assert sorted(watch.look()) == [f"Alarm: nord/{name} a check failed" for name in LISTS]
    assert f"a check has no result: products_recipient_list/{ADDED_CHECK}" in watch.text


def test_a_vendor_that_cannot_be_asked_for_a_list_alarms_nobody_about_the_list(watch: Watch) -> None:
    watch.run()
    watch.shop.vendor.fault("getCount", "fault", times=99, arg="WebserviceImplException: unheard of")
    look_at_lists(watch)
    assert watch.look() == []
