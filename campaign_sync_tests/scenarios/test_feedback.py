"""The import of feedback from the vendor into the CRM, and what keeps it from getting lost."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from campaign_sync.cli.check import check_everything
from campaign_sync.cli.run import problems
from campaign_sync.cli.sample import show_sample
from campaign_sync.crm.sql import schema
from campaign_sync.optimizely.services import Unsubscribes
from campaign_sync.storage.expired_files import remove_raw_rows
from campaign_sync.storage.feedback_imports import FeedbackImports
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.delivered_files.sftp_server import PASSWORD, USERNAME, serve_sftp
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, SUED, Installation, epoch_ms
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, audit, check, withdrawals

NOW = datetime.now(UTC)
YESTERDAY = NOW - timedelta(days=1)


def set_readers(installation: Installation, **of: dict[str, Any]) -> None:
    feedback = installation.settings["mandators"]["nord"].setdefault("feedback", {})
    feedback["readers"] = {"getOutBounces": {}, "getUnsubscribes": {}, **of}


def bounces(installation: Installation) -> list[tuple[str, str]]:
    with installation.crm() as crm:
        return [tuple(row) for row in crm.exec_driver_sql("SELECT address, bounce_kind FROM address_state ORDER BY 1")]


@pytest.mark.two_lists
def test_an_unsubscribe_withdraws_only_the_consents_of_lists_that_the_person_was_in(installation: Installation) -> None:
    installation.settings["mandators"]["nord"]["lists"]["products"]["select"] = {"marketing_list": "Empty"}
    installation.list_settings("nord", "products")["limits"] = {"min_rows": 0}
    with installation.crm() as crm:
        crm.execute(schema.marketing_list.insert().values(id="no", name="Empty", entity_type="contact", kind="static"))
    installation.day()
    installation.vendor.publish(NORD, "getUnsubscribes", [["person2@example.org", epoch_ms(datetime.now(UTC))]])

    installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord")], "they were never written to about products"
    assert "person2@example.org" not in installation.addresses()


@pytest.mark.two_lists
def test_an_unsubscribe_with_a_mailing_withdraws_the_consent_of_the_mailings_list(installation: Installation) -> None:
    set_readers(installation, getMailingUnsubscribes={"recipient": 0, "mailing": 1, "time": 2})
    installation.first_day()
    installation.vendor.add_mailing(NORD, 777001, "Produkte im November", status="DONE", list_ids=[PRODUCTS])
    left = [["person2@example.org", "777001", epoch_ms(datetime.now(UTC))], ["person3@example.org", "1", epoch_ms(NOW)]]
    installation.vendor.publish(NORD, "getMailingUnsubscribes", left[:1])

    installation.day()

    assert withdrawals(installation) == [("c2", "products-nord")]
    assert "person2@example.org" in installation.addresses(NEWSLETTER)
    assert "person2@example.org" not in installation.addresses(PRODUCTS)


def test_a_person_whose_address_has_changed_is_found_by_the_snapshot_that_was_sent(installation: Installation) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")
    installation.leave("person2@example.org", at=datetime.now(UTC))

    installation.day()

    assert ("c2", "newsletter-nord") in withdrawals(installation)
    assert "moved@example.org" not in installation.addresses()


def test_responses_are_bounces_by_their_category_and_only_final_ones_keep_people_out(
    installation: Installation,
) -> None:
    set_readers(installation, getResponses={"recipient": 0, "time": 1, "category": 2})
    replies = {"person1": "hardbounce", "person2": "softbounce", "person3": "autoresponder"}
    rows = [[f"{name}@example.org", epoch_ms(YESTERDAY), category] for name, category in replies.items()]
    installation.vendor.publish(NORD, "getResponses", rows)
    installation.vendor.publish(NORD, "getOutBounces", [["person4@example.org", epoch_ms(YESTERDAY)]])

    installation.day()

    assert bounces(installation) == [
        ("person1@example.org", "hard"),
        ("person2@example.org", "soft"),
        ("person4@example.org", "limit"),
    ]
    assert installation.addresses() == [f"person{number}@example.org" for number in (2, 3, 5)]


@pytest.mark.long
def test_bounces_without_a_time_are_recorded_once_however_often_they_are_read(installation: Installation) -> None:
    set_readers(installation, getOutBounces={"time": None})
    installation.vendor.publish(NORD, "getOutBounces", [["person4@example.org"]])
    for _ in range(2):
        installation.day()
    with installation.crm() as crm:
        before = crm.exec_driver_sql("SELECT * FROM address_state").fetchall()
    installation.day()
    with installation.crm() as crm:
        assert crm.exec_driver_sql("SELECT * FROM address_state").fetchall() == before
    assert "person4@example.org" not in installation.addresses()


def test_a_bounce_that_was_reset_in_the_crm_stays_reset_until_the_address_bounces_again(
    installation: Installation,
) -> None:
    installation.vendor.publish(NORD, "getOutBounces", [["person4@example.org", epoch_ms(YESTERDAY)]])
    installation.day()
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM address_state")

    installation.day()
    assert "person4@example.org" in installation.addresses(), "the same row was read again"

    installation.vendor.publish(NORD, "getOutBounces", [["person4@example.org", epoch_ms(NOW)]])
    installation.day()
    assert "person4@example.org" not in installation.addresses()


def test_rows_that_do_not_fit_the_layout_are_reported_and_do_not_stop_the_others(installation: Installation) -> None:
    rows = [["person1@example.org", epoch_ms(YESTERDAY)], ["person2@example.org", "yesterday"], ["", ""]]
    installation.vendor.publish(NORD, "getUnsubscribes", rows)

    result = installation.run(assets=FEEDBACK)

    assert "2 rows of getUnsubscribes can't be read" in (check(result, "layout").description or "")
    assert ("c1", "newsletter-nord") in withdrawals(installation)


def test_an_export_file_that_comes_late_is_read_in_the_overlap(installation: Installation) -> None:
    installation.first_day()
    before_the_last_import = datetime.now(UTC) - timedelta(minutes=90)
    left = [["person2@example.org", epoch_ms(YESTERDAY)]]
    installation.vendor.publish(NORD, "getUnsubscribes", left, published_at=before_the_last_import)

    installation.day()

    assert "person2@example.org" not in installation.addresses()


def test_a_reader_that_fails_half_way_does_not_move_the_watermark_or_touch_a_list(
    installation: Installation,
) -> None:
    rows = [[f"stranger{number}@example.com", epoch_ms(YESTERDAY)] for number in range(7_000)]
    installation.vendor.publish(NORD, "getUnsubscribes", rows, published_at=NOW - timedelta(hours=1))
    installation.vendor.fault(
        "getUnsubscribes", "fault", times=99, skip=20
    )  # 14 windows of the month, then its last one

    result = installation.run()

    assert not result.success
    with installation.state() as state:
        assert state.feedback_imports.committed_until("nord") == {}
        last = state.feedback_imports.fetched_until("nord", "getUnsubscribes", lambda _: True)
    assert last is not None
    assert last < NOW - timedelta(days=1), "what had been fetched before is kept"
    assert installation.clears() == 0

    installation.vendor.repair()
    calls_before = len(installation.vendor.calls("getUnsubscribes"))
    assert installation.run(assets=FEEDBACK).success
    assert len(installation.vendor.calls("getUnsubscribes")) - calls_before < 14, "only what was missing is read again"
    with installation.state() as state:
        assert len(state.feedback_imports.unmatched("nord").unsubscribes) == 7_000


def test_fetched_rows_that_are_lost_before_they_are_in_the_crm_are_fetched_again(installation: Installation) -> None:
    installation.leave("person2@example.org")
    installation.run(assets=FEEDBACK[:2])
    shutil.rmtree(installation.folder / "frames" / "feedback")

    installation.day()

    assert "person2@example.org" not in installation.addresses()


def test_raw_rows_are_removed_after_their_retention_and_the_watermark_stays(installation: Installation) -> None:
    installation.first_day()
    raw = installation.folder / "frames" / "feedback" / "nord"
    fetched = set(raw.rglob("*.csv"))
    with installation.state() as state:
        now = datetime.now(UTC)
        frames = FileStorage(installation.settings["storage"]["frames"])
        assert remove_raw_rows(frames, state.feedback_imports, "nord", now - timedelta(days=1), now) == 28

    left = set(raw.rglob("*.csv"))
    assert len(fetched) == 30
    assert len(fetched & left) == 2, "the windows that ended today"
    assert {path.with_suffix(".csv") for path in raw.rglob("*.json")} == left
    with installation.state() as state:
        assert set(state.feedback_imports.committed_until("nord")) == {"getOutBounces", "getUnsubscribes"}


def deliver(folder: Path, name: str, text: str, at: datetime) -> None:
    """Write a file as a job of the vendor delivers it."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at.timestamp(), at.timestamp()))


@pytest.mark.long
@pytest.mark.two_lists
def test_delivered_files_are_imported_like_exports_and_each_is_read_once_even_if_it_is_late(
    installation: Installation,
) -> None:
    folder = installation.folder / "delivered"
    folder.mkdir()
    for name in ("newsletter", "products"):
        installation.list_settings("nord", name)["limits"] = {"max_shrink": 1}
    installation.settings["mandators"]["nord"]["feedback"] = {
        "files": {"url": str(folder)},
        "readers": {
            "getOutBounces": {"files": "bounces_*.csv"},
            "getUnsubscribes": {"files": "left_*.csv", "recipient": "Empfänger", "time": "Zeit", "time_format": "iso"},
        },
    }
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    deliver(folder, "bounces_1.csv", f"person1@example.org;{epoch_ms(YESTERDAY)}\n", hour_ago)
    deliver(folder, "left_2.csv", f"Zeit;Empfänger\n{YESTERDAY.isoformat()};person2@example.org\n", hour_ago)
    installation.day()
    assert installation.addresses() == [f"person{number}@example.org" for number in (3, 4, 5)]

    late = f"Empfänger;Zeit\nperson3@example.org;{(YESTERDAY - timedelta(days=3)).isoformat()}\n"
    deliver(folder, "left_1.csv", late, hour_ago - timedelta(days=3))
    installation.day()

    assert installation.addresses() == [f"person{number}@example.org" for number in (4, 5)]
    assert installation.vendor.calls("getUnsubscribes") == []
    with installation.state() as state:
        assert len(state.feedback_imports.deliveries("nord", "getUnsubscribes")) == 2


def test_files_on_an_sftp_server_are_imported_and_shown_by_sample_and_check(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = installation.folder / "server" / "outbox"
    outbox.mkdir(parents=True)
    deliver(outbox, "b.csv", "", datetime.now(UTC) - timedelta(hours=1))
    left = f"id;when\nperson2@example.org;{epoch_ms(YESTERDAY)}\n"
    deliver(outbox, "u.csv", left, datetime.now(UTC) - timedelta(hours=1))
    with serve_sftp(installation.folder / "server") as server:
        installation.environment |= {"SFTP_USER": USERNAME, "SFTP_PASSWORD": PASSWORD}
        installation.settings["mandators"]["nord"]["feedback"] = {
            "files": {
                "url": server.url,
                "username": {"env": "SFTP_USER"},
                "password": {"env": "SFTP_PASSWORD"},
                "known_hosts": server.known_hosts(installation.folder / "known_hosts"),
            },
            "readers": {"getOutBounces": {"files": "b.csv"}, "getUnsubscribes": {"files": "u*.csv"}},
        }
        show_sample(installation.configuration, "nord", 7, Console(width=200))
        assert check_everything(installation.configuration, Console(width=200))
        installation.day()

    assert "person2@example.org" not in installation.addresses()
    output = capsys.readouterr().out
    assert "getUnsubscribes: {recipient: id, time: when, header: true, time_format: epoch_ms}" in output
    assert "getUnsubscribes: 1 file, the newest of" in output
    assert "person2" not in output


def test_no_list_is_replaced_if_a_job_has_stopped_delivering_files(installation: Installation) -> None:
    folder = installation.folder / "delivered"
    folder.mkdir()
    installation.settings["mandators"]["nord"]["feedback"] = {
        "files": {"url": str(folder)},
        "readers": {"getOutBounces": {"files": "b*"}, "getUnsubscribes": {"files": "u*"}},
    }
    for name in ("b.csv", "u.csv"):
        deliver(folder, name, "", datetime.now(UTC) - timedelta(days=3))

    result = installation.run()

    assert "more than feedback.max_age 36.0 h" in problems(result)[0]
    assert installation.clears() == 0


@pytest.mark.long
def test_a_blocklisted_address_is_not_selected_until_the_vendor_releases_it(
    installation: Installation,
) -> None:
    installation.vendor.block(NORD, "*son3@example.org")
    installation.day()
    result = installation.day()
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("selection", "blocklisted"): 1}
        assert state.blocked_addresses.all("sued") == []
    assert withdrawals(installation) == []

    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM blocked")
    installation.day()
    assert "person3@example.org" in installation.addresses()


def test_every_withdrawal_can_be_traced_to_the_row_it_came_from(installation: Installation) -> None:
    installation.vendor.publish(NORD, "getUnsubscribes", [["x@example.com", epoch_ms(YESTERDAY)]])
    installation.leave("person2@example.org")
    installation.run(assets=FEEDBACK)

    with installation.state() as state:
        records = state.write_backs.unsubscribes("nord", YESTERDAY - timedelta(days=30))
        (record, *_) = [record for record in records if record.entity]
        assert record.raw is not None
        fetched = state.feedback_imports.find(record.raw.import_id)
        position = record.raw.position
    assert fetched is not None
    lines = (installation.folder / "frames" / fetched.file).read_text().splitlines()
    assert "person2@example.org" in lines[1 + position]


def test_a_reader_without_rows_is_reported_only_if_mailings_went_out(
    installation: Installation,
) -> None:
    result = installation.run(assets=FEEDBACK)
    assert check(result, "silence").passed
    assert "and no mailing went out" in (check(result, "silence").description or "")

    installation.vendor.publish(NORD, "getMailings", [["777001", epoch_ms(YESTERDAY)]])
    result = installation.run(assets=FEEDBACK)
    silence = check(result, "silence")
    assert (silence.passed, silence.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "though mailings went out" in (silence.description or "")


def test_the_time_of_opt_outs_is_measured_to_the_crm_and_to_the_last_list(installation: Installation) -> None:
    installation.first_day()
    assert check(installation.day(), "propagation").metadata["opt-outs"].value == 0
    installation.leave("person2@example.org", at=datetime.now(UTC))
    installation.day()

    result = installation.day()

    metadata = result.asset_materializations_for_node("nord__suppression_state")[0].metadata
    to_crm, to_absence = (metadata[f"opt-out to {end}, hours: longest"].value for end in ("CRM", "absence"))
    assert isinstance(to_crm, float)
    assert isinstance(to_absence, float)
    assert 0 <= to_crm <= to_absence < 0.1
    assert check(result, "propagation").passed


def test_the_feedback_job_touches_no_list(installation: Installation) -> None:
    installation.leave("person2@example.org")
    job = installation.definitions.resolve_job_def("nord_feedback")
    result = job.execute_in_process()

    assert result.success
    assert ("c2", "newsletter-nord") in withdrawals(installation)
    assert [call.operation for call in installation.vendor.calls() if call.operation in ("clear", "addAll3")] == []


@pytest.mark.two_lists
def test_the_audit_imports_unsubscribes_that_no_export_has_and_reports_both_directions(
    installation: Installation,
) -> None:
    installation.leave("person1@example.org", at=YESTERDAY)
    installation.leave("person4@example.org", at=YESTERDAY)
    installation.run(assets=FEEDBACK)
    installation.vendor.unsubscribe(NORD, "person2@example.org")
    installation.vendor.block(NORD, "person3@example.org")
    for opt_in_id in ("newsletter-nord", "products-nord"):
        installation.consent("c1", opt_in_id, "granted", NOW)  # again
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed WHERE key = 'person4@example.org'")

    result = audit(installation)

    assert check(result, "complete").metadata["missing"].value == 1
    agreed = check(result, "agreed")
    assert {name: value.value for name, value in agreed.metadata.items()} == {
        "consenting here": 1,
        "withdrawn in the CRM only": 1,
    }
    assert ("c2", "newsletter-nord") in withdrawals(installation)
    assert ("c2", "products-nord") in withdrawals(installation)
    with installation.state() as state:
        assert [address for address, _, _ in state.blocked_addresses.all("nord")] == ["person3@example.org"]
    assert check(audit(installation), "complete").passed, "imported is imported"


@pytest.mark.long
def test_an_unsubscribe_of_one_mandator_does_not_withdraw_the_others_consents(installation: Installation) -> None:
    installation.first_day("sued")
    installation.leave("person2@example.org", at=datetime.now(UTC), mandator_id=SUED)
    installation.day("nord")
    installation.day("sued")
    assert withdrawals(installation) == [("c2", "newsletter-sued")]


@pytest.mark.two_lists
@pytest.mark.parametrize("point", [pytest.param("add", marks=pytest.mark.long), "commit"])
def test_an_import_that_fails_half_way_is_completed_without_duplicates(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    installation.leave("person2@example.org")
    installation.vendor.publish(NORD, "getOutBounces", [["person4@example.org", epoch_ms(YESTERDAY)]])
    original: Callable[..., Any] = getattr(FeedbackImports, point)

    def fail(*arguments: Any) -> None:
        raise MemoryError("killed")

    monkeypatch.setattr(FeedbackImports, point, fail)
    assert not installation.run().success
    monkeypatch.setattr(FeedbackImports, point, original)
    assert installation.run(assets=FEEDBACK).success

    assert withdrawals(installation) == [("c2", "newsletter-nord"), ("c2", "products-nord")]
    assert bounces(installation) == [("person4@example.org", "limit")]


@pytest.mark.two_lists
def test_a_person_who_subscribes_again_and_leaves_again_is_withdrawn_again(
    installation: Installation,
) -> None:
    installation.leave("person2@example.org", at=YESTERDAY)
    installation.day()
    for opt_in_id in ("newsletter-nord", "products-nord"):
        installation.consent("c2", opt_in_id, "granted", YESTERDAY + timedelta(hours=1))
    installation.day()
    assert len(withdrawals(installation)) == 2, "still on the vendor's list, but that was imported before"

    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed")
    installation.day()
    assert "person2@example.org" in installation.addresses()
    installation.vendor.unsubscribe(NORD, "person2@example.org")  # it is in no export yet
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")
    assert audit(installation).success  # it asks by the address of now, which the vendor doesn't know
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'person2@example.org' WHERE id = 'c2'")
    assert check(audit(installation), "complete").metadata["missing"].value == 1

    assert len(withdrawals(installation)) == 4
    installation.day()
    assert "person2@example.org" not in installation.addresses()


@pytest.mark.two_lists
def test_a_row_that_is_read_again_withdraws_nothing_more(installation: Installation) -> None:
    set_readers(installation, getMailingUnsubscribes={"recipient": 0, "mailing": 1, "time": 2})
    installation.first_day()
    installation.vendor.add_mailing(NORD, 777001, "Produkte", status="DONE", list_ids=[PRODUCTS])
    left = [["person2@example.org", "777001", epoch_ms(datetime.now(UTC))]]
    installation.vendor.publish(NORD, "getMailingUnsubscribes", left)
    installation.run(assets=FEEDBACK)
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM mailing")  # the vendor has forgotten it

    installation.run(assets=FEEDBACK)

    assert withdrawals(installation) == [("c2", "products-nord")]


def test_a_vendor_that_reports_everybody_as_unsubscribed_is_not_believed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.first_day()
    monkeypatch.setattr(Unsubscribes, "contains_all", lambda _, ids: [True] * len(ids))

    assert not installation.run().success
    result = installation.definitions.resolve_job_def("nord_audit").execute_in_process(raise_on_error=False)

    assert not result.success
    assert "so no consent was withdrawn" in problems(result)[0]
    assert withdrawals(installation) == []


def test_an_unsubscribe_does_not_withdraw_the_consent_of_an_addresss_former_owner(installation: Installation) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")
    installation.add_contact("c9", "person2@example.org")
    installation.day()
    installation.leave("person2@example.org", at=datetime.now(UTC))

    installation.day()

    assert ("c9", "newsletter-nord") in withdrawals(installation)
    assert ("c2", "newsletter-nord") not in withdrawals(installation)
    assert "moved@example.org" in installation.addresses()


@pytest.mark.long
@pytest.mark.two_lists
def test_bounces_with_a_wrong_category_column_are_imported_after_the_correction(
    installation: Installation,
) -> None:
    set_readers(installation, getResponses={"recipient": 0, "time": 1, "category": 3})
    rows = [[f"person{number}@example.org", epoch_ms(YESTERDAY), "hardbounce", "unknown"] for number in (1, 2)]
    installation.vendor.publish(
        NORD, "getResponses", [*rows, ["person3@example.org", epoch_ms(YESTERDAY), "hardbounce", "550"]]
    )
    result = installation.run()
    assert "1 row of getResponses can't be read" in (check(result, "layout").description or "")

    set_readers(installation, getResponses={"recipient": 0, "time": 1, "category": 2})
    installation.list_settings()["limits"] = {"max_shrink": 1}
    installation.list_settings("nord", "products")["limits"] = {"max_shrink": 1}
    installation.day()

    assert ("person3@example.org", "hard") in bounces(installation)


def test_unreadable_rows_whose_file_is_gone_are_still_reported_and_stop_no_list(installation: Installation) -> None:
    installation.vendor.publish(NORD, "getUnsubscribes", [["person1@example.org", epoch_ms(YESTERDAY)], ["?", "?"]])
    installation.run(assets=FEEDBACK)
    shutil.rmtree(installation.folder / "frames" / "feedback")

    result = installation.run()

    assert "The files of 1 of these rows are gone" in (check(result, "layout").description or "")
    assert "nord/suppression_state: layout" in problems(result)[0]
    assert len(problems(result)) == 1


@pytest.mark.two_lists
def test_a_lost_delivered_file_is_reported_until_it_is_delivered_again(installation: Installation) -> None:
    folder = installation.folder / "delivered"
    folder.mkdir()
    installation.settings["mandators"]["nord"]["feedback"] = {
        "files": {"url": str(folder)},
        "readers": {"getOutBounces": {"files": "b*"}, "getUnsubscribes": {"files": "u*"}},
    }
    hours_ago = [datetime.now(UTC) - timedelta(hours=hours) for hours in (3, 2, 1)]
    deliver(folder, "b.csv", "", hours_ago[0])
    deliver(folder, "u1.csv", f"person1@example.org;{epoch_ms(YESTERDAY)}\n", hours_ago[1])
    deliver(folder, "u2.csv", f"person2@example.org;{epoch_ms(YESTERDAY)}\n", hours_ago[2])
    installation.run(assets=FEEDBACK[:2])
    with installation.state() as state:
        lost = min(state.feedback_imports.uncommitted("nord", "getUnsubscribes"), key=lambda fetched: fetched.until)
    (installation.folder / "frames" / lost.file).unlink()
    for name in ("u1.csv", "u2.csv"):
        (folder / name).unlink()

    for _ in range(2):
        result = installation.run()
        assert "u1.csv (getUnsubscribes of nord) got lost" in problems(result)[0]
    assert installation.clears() == 0

    deliver(folder, "u1.csv", f"person1@example.org;{epoch_ms(YESTERDAY)}\n", hours_ago[2])
    for name in ("newsletter", "products"):
        installation.list_settings("nord", name)["limits"] = {"max_shrink": 1}
    installation.day()
    assert installation.addresses() == [f"person{number}@example.org" for number in (3, 4, 5)]
