"""Unsubscribes that change nothing: about ids that are no address, or older than the consent."""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.feedback import parsing
from campaign_sync_tests.installation import NORD, Installation
from campaign_sync_tests.scenarios.test_gate import ADDRESSES, FEEDBACK, withdrawals

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def publish(
    installation: Installation, *recipients: str, reader: str = "getUnsubscribes", at: datetime = YESTERDAY
) -> None:
    installation.vendor.publish(NORD, reader, [[each, str(int(at.timestamp() * 1000))] for each in recipients])


def checked(result: dg.ExecuteInProcessResult, name: str = "unsubscribes") -> dg.AssetCheckEvaluation:
    (found,) = [
        one
        for one in result.get_asset_check_evaluations()
        if one.check_name == name and one.asset_key.path[-1] == "suppression_state"
    ]
    return found


def test_ids_that_are_no_address_are_shown_with_their_file_day_after_day_and_stop_nothing(
    installation: Installation,
) -> None:
    publish(installation, "4711", "person2@example.org")
    publish(installation, "C-0815")

    for result in (installation.day(), installation.day()):
        check = checked(result)
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "unsubscribes of the last 30 days about recipient ids that are no address: 2." in str(check.description)
        assert "getUnsubscribes/" in str(check.metadata["files"])
        assert "4711" not in str(check.metadata) + str(check.description)
        assert checked(result, "layout").passed, "their layout isn't wrong"
    assert installation.addresses() == [each for each in ADDRESSES if each != "person2@example.org"]


def test_a_single_one_and_nothing_else_stops_nobody(installation: Installation) -> None:
    publish(installation, "4711")

    assert not checked(installation.day()).passed
    assert installation.addresses() == ADDRESSES


def test_ids_that_are_no_address_are_shown_for_a_month(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(installation, "4711")
    installation.day()
    monkeypatch.setattr(parsing, "SHOWN_FOR", timedelta(0))

    assert checked(installation.day()).passed
    with installation.state() as state:
        assert state.feedback_imports.pending("nord") == [], "it isn't read again for ever"


def test_many_stop_nobody_where_the_reader_was_understood_before(installation: Installation) -> None:
    installation.settings["mandators"]["nord"]["feedback"] = {"overlap": "1s"}
    publish(installation, "person2@example.org")
    installation.day()
    time.sleep(2)  # longer than the overlap, so that nothing of before is read again
    publish(installation, *(str(number) for number in range(4711, 4721)), at=datetime.now(UTC))

    assert not checked(installation.day()).passed


def test_many_and_nothing_else_mean_that_the_layout_takes_another_column_for_the_id(installation: Installation) -> None:
    publish(installation, *(str(number) for number in range(4711, 4721)))

    (problem, *_) = problems(installation.run(assets=FEEDBACK))

    assert "none of the 10 fetched rows fits mandators.nord.feedback.readers.getUnsubscribes" in problem


def test_bounces_of_such_ids_are_no_trouble_either(installation: Installation) -> None:
    publish(installation, "4711", reader="getOutBounces")

    result = installation.day()

    assert checked(result).passed
    assert checked(result, "layout").passed


@pytest.mark.two_lists
def test_an_unsubscribe_older_than_the_consent_changes_nothing_and_is_counted_once(installation: Installation) -> None:
    installation.day()
    for entity_id in ("c2", "c3"):
        for opt_in_id in ("newsletter-nord", "products-nord"):
            installation.consent(entity_id, opt_in_id, "granted", datetime.now(UTC) - timedelta(hours=1))
    publish(
        installation,
        "person1@example.org",
        "person2@example.org",
        "person3@example.org",
        at=datetime.now(UTC) - timedelta(hours=2),
    )

    check = checked(installation.run(assets=FEEDBACK))

    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2 of 3 new unsubscribes are older than the consent that stands now" in str(check.description)
    assert "clocks of CRM and vendor differ" in str(check.description)
    assert len({entity_id for entity_id, _, _ in withdrawals(installation)}) == 3, "they are written all the same"
    assert checked(installation.run(assets=FEEDBACK)).passed


def test_unsubscribes_newer_than_the_consent_are_nothing_to_speak_of(installation: Installation) -> None:
    publish(installation, *ADDRESSES[:2])

    check = checked(installation.run(assets=FEEDBACK))

    assert check.passed
    assert "0 of 2 new unsubscribes are older" in str(check.description)
