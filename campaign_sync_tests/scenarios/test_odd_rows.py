"""Feedback rows that don't fit the layout: when they stop a mandator, and when they don't."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from campaign_sync.cli.check import check_everything
from campaign_sync.cli.run import problems
from campaign_sync_tests.installation import NORD, Installation, epoch_ms
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, check, withdrawals

NOW = datetime.now(UTC)
YESTERDAY = NOW - timedelta(days=1)


def test_a_day_on_which_no_new_row_fits_stops_the_mandator_until_a_row_fits(installation: Installation) -> None:
    rows = [["person1@example.org", epoch_ms(YESTERDAY)], ["?", "?"]]
    installation.vendor.publish(NORD, "getUnsubscribes", rows, published_at=NOW - timedelta(hours=3))
    installation.run(assets=FEEDBACK)
    swapped = [[epoch_ms(NOW), f"stranger{number}@example.com"] for number in range(10)]
    installation.vendor.publish(NORD, "getUnsubscribes", swapped)

    result = installation.run()

    assert "none of the 10 fetched rows fits mandators.nord.feedback.readers.getUnsubscribes" in problems(result)[0]
    assert installation.clears() == 0

    installation.vendor.publish(NORD, "getUnsubscribes", [["person2@example.org", epoch_ms(NOW)]])
    result = installation.run(assets=FEEDBACK)
    assert "rows of getUnsubscribes can't be read" in (check(result, "layout").description or "")
    assert ("c2", "newsletter-nord") in withdrawals(installation)


def test_a_single_row_that_does_not_fit_stops_nothing_once_the_layout_is_confirmed(
    installation: Installation,
) -> None:
    installation.vendor.publish(NORD, "getUnsubscribes", [["?", "?"]], published_at=NOW - timedelta(hours=3))
    assert "none of the 1 fetched rows fits" in problems(installation.run(assets=FEEDBACK))[0], (
        "the layout isn't confirmed yet"
    )
    installation.leave("person1@example.org")
    installation.run(assets=FEEDBACK)

    installation.vendor.publish(NORD, "getUnsubscribes", [["??", "?"]])
    result = installation.run(assets=FEEDBACK)

    assert result.success
    assert "2 rows of getUnsubscribes can't be read" in (check(result, "layout").description or "")


def test_check_warns_if_the_only_unsubscribes_are_those_by_mailing(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getMailingUnsubscribes": {}}
    }
    assert check_everything(installation.configuration, Console(width=300))
    assert "that name no mailing or an old one; add getUnsubscribes to readers" in capsys.readouterr().out


@pytest.mark.two_lists
def test_an_unsubscribe_with_an_impossible_mailing_id_counts_for_every_list(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": {}, "getMailingUnsubscribes": {}}
    }
    rows = [["person1@example.org", str(2**64), epoch_ms(YESTERDAY)], ["person2@example.org", "0", epoch_ms(YESTERDAY)]]
    installation.vendor.publish(NORD, "getMailingUnsubscribes", rows)

    assert installation.run(assets=FEEDBACK).success

    assert [row for row in withdrawals(installation) if row[1] == "products-nord"] == [
        ("c1", "products-nord"),
        ("c2", "products-nord"),
    ]
