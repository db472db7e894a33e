"""Runs killed while they try a canary on an opt-in list: no later run fills that list."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync.storage.recipient_lists import ListKind
from campaign_sync.storage.state import State
from campaign_sync_tests.faults.installations import InstallationCopy, PreparedInstallation, prepared_installation
from campaign_sync_tests.faults.process_pool import ProcessPool
from campaign_sync_tests.faults.survey import change_points
from campaign_sync_tests.faults.vendor_states import BEFORE, CANARY, OPT_IN_LIST
from campaign_sync_tests.installation import NEWSLETTER, NORD

pytestmark = pytest.mark.thorough

LEFT = "person2@example.org"
"""A person who has unsubscribed, and who would be mailed again if the list were filled."""

ADDED = "after Recipient.addAll3 #1"
KIND_RECORDED = "after insert list_kind #1"


@pytest.fixture(scope="session")
def opt_in_list(process_pool: ProcessPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedInstallation]:
    """Yield an opt-in list whose kind isn't known yet."""
    with prepared_installation(OPT_IN_LIST, "sqlite", process_pool, tmp_path_factory.mktemp("opt-in-list")) as ready:
        yield ready


def test_killed_when_the_canary_has_just_been_added_no_run_ever_fills_the_list(
    opt_in_list: PreparedInstallation, process_pool: ProcessPool, tmp_path: Path
) -> None:
    with opt_in_list.copy(tmp_path / "copy") as installation:
        assert installation.replace(process_pool, ADDED) is None
        assert CANARY not in installation.vendor.unsubscribed(NORD), (
            "adding it has removed it from the unsubscribe list"
        )

        for _ in range(3):
            assert "the canary_address of nord isn't unsubscribed there" in refusal(installation, process_pool)
            assert_untouched(installation)

        installation.vendor.unsubscribe(NORD, CANARY)  # as the refusal says
        assert_kind_is_found(installation, process_pool)


def test_killed_anywhere_between_the_canary_and_the_verdict_no_run_ever_fills_the_list(
    opt_in_list: PreparedInstallation, process_pool: ProcessPool, tmp_path: Path
) -> None:
    with opt_in_list.copy(tmp_path / "undisturbed") as installation:
        report = installation.replace(process_pool)
        assert report is not None
        points = change_points(report.points[report.points.index(ADDED) :])
    assert points[:4] == (ADDED, "after Unsubscribe.addAll #1", "after Recipient.removeAll #1", KIND_RECORDED)

    for number, point in enumerate(points):
        with opt_in_list.copy(tmp_path / f"copy{number}") as installation:
            assert installation.replace(process_pool, point) is None, point
            assert_untouched(installation)

            refusal(installation, process_pool)
            assert_untouched(installation)

            installation.vendor.unsubscribe(NORD, CANARY)
            assert_kind_is_found(installation, process_pool)


def refusal(installation: InstallationCopy, process_pool: ProcessPool) -> str:
    """Run a replacement, which must be refused, and return its message."""
    report = installation.replace(process_pool)
    assert report is not None
    assert report.verdict == "refused"
    return report.message


def assert_untouched(installation: InstallationCopy) -> None:
    """Check that no recipient but the canary was ever added, removed or taken off the unsubscribe list."""
    recipient_ids = {recipient["id"] for recipient in installation.vendor.recipients(NEWSLETTER)}
    assert recipient_ids - {CANARY} == set(BEFORE)
    assert LEFT in installation.vendor.unsubscribed(NORD)
    assert installation.vendor.calls("clear") == []
    assert {call.rows for call in installation.vendor.calls("addAll3")} == {1}


def assert_kind_is_found(installation: InstallationCopy, process_pool: ProcessPool) -> None:
    """Check that the next run finds the list to be an opt-in list, and leaves the canary as it was."""
    assert "a canary has shown it to be an opt-in list" in refusal(installation, process_pool)
    assert_untouched(installation)
    assert installation.canary_is_as_it_was()
    with State(installation.state_url) as state:
        assert state.recipient_lists.kind(NEWSLETTER) is ListKind.OPT_IN
