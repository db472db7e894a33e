"""How a list is completed whose replacement stopped half-way."""

import threading

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.replacement.errors import IncompleteListError
from campaign_sync.storage.locks import LockScope
from campaign_sync.storage.replacement_steps import StepOutcome
from campaign_sync.storage.replacements import Replacement
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, NORD, Installation
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, PICK, REPLACE
from campaign_sync_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("without_retries")

THIRD = 2
"""How many batches succeed before the third, which fails."""


@pytest.fixture(autouse=True)
def _one_recipient_a_batch(installation: Installation) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}


def stop_in_third_batch(installation: Installation, instance: dg.DagsterInstance) -> Replacement:
    """Let a replacement stop in the third of five batches: the vendor stores it, and then no longer answers."""
    installation.fill_by_hand(NEWSLETTER, ["old@example.com", *ADDRESSES[:4]])
    installation.run("nord", instance, assets=FEEDBACK + PICK)
    installation.vendor.fault("addAll3", "drop", skip=THIRD, times=1)
    installation.vendor.fault("addAll3", "fault", times=99, skip=THIRD, arg="WebserviceImplException: unheard of")
    result = installation.run("nord", instance, assets=REPLACE, tags={"dagster/max_retries": "0"})
    assert not result.success
    assert "INCOMPLETE since" in problems(result)[0]
    installation.vendor.repair()
    return unfinished(installation)


def unfinished(installation: Installation) -> Replacement:
    with installation.state() as state:
        replacement = state.replacements.incomplete("nord", "newsletter")
    assert replacement is not None
    return replacement


def test_a_rerun_resumes_where_the_list_agrees_with_the_snapshot_and_sends_each_recipient_once(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = stop_in_third_batch(installation, instance)
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


def test_a_half_full_list_that_another_user_has_changed_is_cleared_and_filled_again(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        stop_in_third_batch(installation, instance)
        installation.fill_by_hand(NEWSLETTER, ["stranger@example.com"])
        clears = installation.clears()
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES
    assert installation.clears() == clears + 1


def test_a_new_day_completes_the_list_with_its_own_snapshot(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        stop_in_third_batch(installation, instance)
        installation.leave("person1@example.org")
        result = installation.run("nord", instance)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[1:]


def test_a_person_who_leaves_before_the_rerun_is_not_in_the_completed_list(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        stop_in_third_batch(installation, instance)
        installation.vendor.unsubscribe(NORD, "person1@example.org")  # after it was stored in the list
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[1:]


def test_a_list_that_cannot_be_completed_is_reported_with_its_time_and_the_reason(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = stop_in_third_batch(installation, instance)
        installation.list_settings()["max_snapshot_age"] = "PT0.001S"
        result = installation.run("nord", instance, assets=REPLACE)

    (problem,) = problems(result)
    assert f"INCOMPLETE since {first.cleared_at:%Y-%m-%d %H:%M:%S} UTC" in problem
    assert "snapshot_age" in problem


def test_a_mailing_does_not_keep_a_half_full_list_from_being_completed(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        stop_in_third_batch(installation, instance)
        installation.vendor.add_mailing(NORD, 77, "November", status="SENDING", list_ids=[NEWSLETTER])
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES


def test_an_incomplete_list_is_no_refusal() -> None:
    assert IncompleteListError("x", retryable=False).outcomes == ()


def test_a_half_full_list_whose_mandator_is_probed_by_another_run_waits_for_it(installation: Installation) -> None:
    holds, begun = threading.Event(), threading.Event()

    def probe() -> None:
        with installation.state() as state, state.locks.acquire(NORD, "probe", LockScope.MANDATOR):
            holds.set()
            begun.wait(PATIENCE)
            until(lambda: state.locks.holder(NEWSLETTER) is not None)

    prober = threading.Thread(target=probe)
    with dg.DagsterInstance.ephemeral() as instance:
        stop_in_third_batch(installation, instance)
        prober.start()
        assert holds.wait(PATIENCE)
        begun.set()
        result = installation.run("nord", instance, assets=REPLACE)
        prober.join()

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES
