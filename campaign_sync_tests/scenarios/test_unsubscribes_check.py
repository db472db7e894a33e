"""Unsubscribes that change nothing: those of ids that are no address, or older than the consent."""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.feedback import pending_feedback
from campaign_sync_tests.installation import ADDRESSES, NORD, Installation, epoch_ms
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, addresses_without, check, withdrawals

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def publish(
    installation: Installation, *recipients: str, reader: str = "getUnsubscribes", at: datetime = YESTERDAY
) -> None:
    installation.vendor.publish(NORD, reader, [[recipient, epoch_ms(at)] for recipient in recipients])


def unsubscribes_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    return check(result, "unsubscribes", "suppression_state")


def test_ids_that_are_no_address_are_reported_with_their_file_every_day_and_stop_nothing(
    installation: Installation,
) -> None:
    publish(installation, "4711", "person2@example.org")
    publish(installation, "C-0815")

    for result in (installation.day(), installation.day()):
        evaluation = unsubscribes_check(result)
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "unsubscribes of the last 30 days about recipient ids that are no address: 2." in str(
            evaluation.description
        )
        assert "getUnsubscribes/" in str(evaluation.metadata["files"])
        assert "4711" not in str(evaluation.metadata) + str(evaluation.description)
        assert check(result, "layout", "suppression_state").passed, "their layout isn't wrong"
    assert installation.addresses() == addresses_without("person2@example.org")


@pytest.mark.long
def test_a_single_id_that_is_no_address_stops_nothing(installation: Installation) -> None:
    publish(installation, "4711")

    assert not unsubscribes_check(installation.day()).passed
    assert installation.addresses() == ADDRESSES


@pytest.mark.long
def test_ids_that_are_no_address_are_reported_for_a_limited_time(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(installation, "4711")
    installation.day()
    monkeypatch.setattr(pending_feedback, "SHOWN_FOR", timedelta(0))

    assert unsubscribes_check(installation.day()).passed
    with installation.state() as state:
        assert state.feedback_imports.pending("nord") == [], "it isn't read again for ever"


@pytest.mark.long
def test_many_ids_that_are_no_address_stop_nothing_if_the_layout_was_confirmed_before(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"] = {"overlap": "1s"}
    publish(installation, "person2@example.org")
    installation.day()
    time.sleep(2)  # longer than the overlap, so that no earlier row is read again
    publish(installation, *(str(number) for number in range(4711, 4721)), at=datetime.now(UTC))

    assert not unsubscribes_check(installation.day()).passed


def test_many_ids_that_are_no_address_and_no_other_rows_mean_that_the_layout_is_wrong(
    installation: Installation,
) -> None:
    publish(installation, *(str(number) for number in range(4711, 4721)))

    (problem, *_) = problems(installation.run(assets=FEEDBACK))

    assert "none of the 10 fetched rows fits mandators.nord.feedback.readers.getUnsubscribes" in problem


@pytest.mark.long
def test_bounces_of_ids_that_are_no_address_are_not_reported(installation: Installation) -> None:
    publish(installation, "4711", reader="getOutBounces")

    result = installation.day()

    assert unsubscribes_check(result).passed
    assert check(result, "layout", "suppression_state").passed


@pytest.mark.two_lists
def test_an_unsubscribe_older_than_the_consent_changes_nothing_and_is_counted_once(installation: Installation) -> None:
    installation.first_day()
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

    evaluation = unsubscribes_check(installation.run(assets=FEEDBACK))

    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2 of 3 new unsubscribes are older than the current consent" in str(evaluation.description)
    assert "clocks of CRM and vendor differ" in str(evaluation.description)
    assert len({entity_id for entity_id, _ in withdrawals(installation)}) == 3, "they are written all the same"
    assert unsubscribes_check(installation.run(assets=FEEDBACK)).passed


def test_unsubscribes_newer_than_the_consent_are_not_reported(installation: Installation) -> None:
    publish(installation, *ADDRESSES[:2])

    evaluation = unsubscribes_check(installation.run(assets=FEEDBACK))

    assert evaluation.passed
    assert "0 of 2 new unsubscribes are older" in str(evaluation.description)
