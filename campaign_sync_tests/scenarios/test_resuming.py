"""How a list that broke off half full becomes whole again."""

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.replacement.errors import IncompleteListError
from campaign_sync.storage.replacement_steps import StepOutcome
from campaign_sync.storage.replacements import Replacement
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, NORD, Installation
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, PICK, REPLACE

pytestmark = pytest.mark.usefixtures("without_retries")

THIRD = 2
"""So many batches pass before the one that fails."""


@pytest.fixture(autouse=True)
def _one_recipient_a_batch(installation: Installation) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}


def break_off(installation: Installation, instance: dg.DagsterInstance) -> Replacement:
    """Let a replace end in the third of five batches: the vendor has stored it, and is not heard of again."""
    installation.fill_by_hand(NEWSLETTER, ["old@example.com", *ADDRESSES[:4]])
    installation.run("nord", instance, assets=FEEDBACK + PICK)
    installation.vendor.fault("addAll3", "drop", skip=THIRD, times=1)
    installation.vendor.fault("addAll3", "fault", times=99, skip=THIRD, arg="WebserviceImplException: unheard of")
    result = installation.run("nord", instance, assets=REPLACE, tags={"dagster/max_retries": "0"})
    assert not result.success
    assert "INCOMPLETE since" in problems(result)[0]
    installation.vendor.repair()
    return broken(installation)


def broken(installation: Installation) -> Replacement:
    with installation.state() as state:
        found = state.replacements.incomplete("nord", "newsletter")
    assert found is not None
    return found


def test_a_rerun_goes_on_where_the_list_agrees_with_the_snapshot_and_sends_nobody_twice(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = break_off(installation, instance)
        clears, sent = installation.clears(), len(installation.vendor.calls("addAll3"))
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES
    assert installation.clears() == clears, "nothing was cleared again"
    assert len(installation.vendor.calls("addAll3")) - sent == len(ADDRESSES) - (THIRD + 1)
    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
        assert proven is not None
        assert (proven.resumes, proven.cleared_at) == (first.id, first.cleared_at)
        assert state.replacements.incomplete("nord", "newsletter") is None
        outcomes = [step.outcome for step in state.replacements.steps(first.id) if step.step == "addAll3"]
    assert StepOutcome.UNKNOWN in outcomes


def test_a_half_full_list_that_somebody_meddled_with_is_cleared_and_filled_anew(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        break_off(installation, instance)
        installation.fill_by_hand(NEWSLETTER, ["stranger@example.com"])
        clears = installation.clears()
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES
    assert installation.clears() == clears + 1


def test_a_whole_new_day_mends_the_list_as_well_with_what_is_true_by_then(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        break_off(installation, instance)
        installation.leave("person1@example.org")
        result = installation.run("nord", instance)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[1:]


def test_somebody_who_left_since_the_list_broke_off_is_not_in_it_when_it_is_whole_again(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        break_off(installation, instance)
        installation.vendor.unsubscribe(NORD, "person1@example.org")  # they were stored before it broke off
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[1:]


def test_a_list_that_cannot_be_mended_says_since_when_it_is_incomplete_and_what_stands_against_it(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = break_off(installation, instance)
        installation.list_settings()["max_snapshot_age"] = "PT0.001S"
        result = installation.run("nord", instance, assets=REPLACE)

    (told,) = problems(result)
    assert f"INCOMPLETE since {first.cleared_at:%Y-%m-%d %H:%M:%S} UTC" in told
    assert "snapshot_age" in told


def test_a_mailing_about_to_start_does_not_keep_a_half_full_list_from_being_filled(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        break_off(installation, instance)
        installation.vendor.add_mailing(NORD, 77, "November", status="SENDING", list_ids=[NEWSLETTER])
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES


def test_an_incomplete_list_is_no_refusal() -> None:
    assert IncompleteListError("x", retryable=False).outcomes == ()
