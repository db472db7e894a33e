"""A run killed while it tries a canary on an opt-in list: whatever comes, nobody fills that list."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync.storage.recipient_lists import ListKind
from campaign_sync.storage.state import State
from campaign_sync_tests.faults.installations import Installation, Prepared, prepared
from campaign_sync_tests.faults.process_pool import Nursery
from campaign_sync_tests.faults.survey import changing
from campaign_sync_tests.faults.vendor_states import BEFORE, CANARY, OPT_IN_LIST
from campaign_sync_tests.installation import NEWSLETTER, NORD

pytestmark = pytest.mark.thorough

LEFT = "person2@example.org"
"""Who has unsubscribed, and would be revived if the list were filled."""

ADDED = "after Recipient.addAll3 #1"
FOUND = "after insert list_kind #1"


@pytest.fixture(scope="session")
def opt_in_list(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """An opt-in list that nobody has found out yet."""
    with prepared(OPT_IN_LIST, "sqlite", nursery, tmp_path_factory.mktemp("opt-in-list")) as ready:
        yield ready


def test_killed_when_the_canary_has_just_been_added_no_run_ever_fills_the_list(
    opt_in_list: Prepared, nursery: Nursery, tmp_path: Path
) -> None:
    with opt_in_list.copy(tmp_path / "copy") as installation:
        assert installation.replace(nursery, ADDED) is None
        assert CANARY not in installation.vendor.unsubscribed(NORD), "the list has revived it"

        for _ in range(3):
            assert "the canary_address of nord isn't unsubscribed there" in refusal(installation, nursery)
            assert_untouched(installation)

        installation.vendor.unsubscribe(NORD, CANARY)  # as the refusal says
        assert_found_out(installation, nursery)


def test_killed_anywhere_between_the_canary_and_the_verdict_no_run_ever_fills_the_list(
    opt_in_list: Prepared, nursery: Nursery, tmp_path: Path
) -> None:
    with opt_in_list.copy(tmp_path / "undisturbed") as installation:
        report = installation.replace(nursery)
        assert report is not None
        points = changing(report.points[report.points.index(ADDED) :])
    assert points[:4] == (ADDED, "after Unsubscribe.addAll #1", "after Recipient.removeAll #1", FOUND)

    for number, point in enumerate(points):
        with opt_in_list.copy(tmp_path / f"copy{number}") as installation:
            assert installation.replace(nursery, point) is None, point
            assert_untouched(installation)

            refusal(installation, nursery)
            assert_untouched(installation)

            installation.vendor.unsubscribe(NORD, CANARY)
            assert_found_out(installation, nursery)


def refusal(installation: Installation, nursery: Nursery) -> str:
    """What the next run says, which must not replace the list."""
    report = installation.replace(nursery)
    assert report is not None
    assert report.verdict == "refused"
    return report.told


def assert_untouched(installation: Installation) -> None:
    """Nobody but the canary was ever added, taken out or revived."""
    held = {recipient["id"] for recipient in installation.vendor.recipients(NEWSLETTER)}
    assert held - {CANARY} == set(BEFORE)
    assert LEFT in installation.vendor.unsubscribed(NORD)
    assert installation.vendor.calls("clear") == []
    assert {call.rows for call in installation.vendor.calls("addAll3")} == {1}


def assert_found_out(installation: Installation, nursery: Nursery) -> None:
    """The next run shows the list to be an opt-in list, and leaves the canary as it was."""
    assert "a canary has shown it to be an opt-in list" in refusal(installation, nursery)
    assert_untouched(installation)
    assert installation.canary_is_as_it_was()
    with State(installation.state_url) as state:
        assert state.recipient_lists.kind(NEWSLETTER) is ListKind.OPT_IN
