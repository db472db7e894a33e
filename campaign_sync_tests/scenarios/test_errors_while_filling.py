"""Errors between `clear` and the proof, and the list after them."""

from typing import Any

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, Installation
from campaign_sync_tests.scenarios.daily_run import CHAIN, REPLACE, addresses_without

carry_out = ListWriter.carry_out


@pytest.fixture(autouse=True)
def _small_batches(installation: Installation) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 2}


def test_a_session_that_expires_between_two_batches_is_renewed(installation: Installation) -> None:
    installation.vendor.fault("addAll3", "expire", skip=2)

    installation.day("nord")

    assert installation.addresses() == ADDRESSES
    assert len(installation.vendor.calls("login")) > 1


def test_rows_whose_answer_is_lost_are_sent_again(
    installation: Installation,
) -> None:
    installation.vendor.fault("addAll3", "drop", skip=1, times=2)

    result = installation.day("nord")

    assert installation.addresses() == ADDRESSES
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {}


@pytest.mark.two_lists
def test_a_row_that_the_vendor_fails_on_is_sent_once_more_and_then_recorded_as_rejected(
    installation: Installation,
) -> None:
    installation.vendor.refuse(8100, "person3@example.org", 7)

    result = installation.day("nord")

    assert installation.addresses() == addresses_without("person3@example.org")
    assert len(installation.vendor.calls("addAll3")) == 2 * (5 + 1)
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("vendor", "vendor_error"): 1}


def test_a_fault_during_the_fill_ends_in_a_complete_list_because_the_replacement_is_retried(
    installation: Installation,
) -> None:
    installation.vendor.fault("addAll3", "fault", skip=2, arg="java.lang.IllegalStateException: try later")

    result = installation.run("nord")

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES


def test_a_list_that_stays_incomplete_is_reported_and_recorded_as_failed(installation: Installation) -> None:
    installation.vendor.fault("clear", "fault", times=99, arg="java.lang.SecurityException: not permitted")
    installation.fill_by_hand(NEWSLETTER, ADDRESSES)

    result = installation.run("nord", assets=CHAIN)

    assert any("newsletter" in problem and "INCOMPLETE since" in problem for problem in problems(result))
    with installation.state() as state:
        incomplete = state.replacements.incomplete("nord", "newsletter")
    assert incomplete is not None
    assert incomplete.state is ReplacementState.FAILED


def test_a_person_who_unsubscribes_during_the_fill_is_swept_and_recorded_as_rejected(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_then_leave(*arguments: Any, **options: Any) -> object:
        codes = carry_out(*arguments, **options)
        installation.vendor.unsubscribe(8100, "person2@example.org")
        return codes

    monkeypatch.setattr(ListWriter, "carry_out", fill_then_leave)

    result = installation.day("nord")

    assert "person2@example.org" not in installation.addresses()
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("sweep", "unsubscribed"): 1}


def test_a_list_that_another_user_writes_to_meanwhile_is_not_proven(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_then_add_recipient(*arguments: Any, **options: Any) -> object:
        codes = carry_out(*arguments, **options)
        installation.fill_by_hand(NEWSLETTER, ["stranger@example.com"])
        return codes

    monkeypatch.setattr(ListWriter, "carry_out", fill_then_add_recipient)

    result = installation.run("nord", assets=CHAIN)

    assert not result.success
    assert any("it has 6 recipients where 5 should be (5 equal, extra 1)" in problem for problem in problems(result))


def test_a_list_that_is_materialized_alone_does_not_bypass_the_preflight(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        never = installation.run("nord", instance, assets=REPLACE)
        assert "no snapshot yet" in problems(never)[0]

        installation.run("nord", instance)
        clears = installation.clears()
        installation.list_settings()["max_snapshot_age"] = "PT0.001S"
        installation.leave("person1@example.org")
        installation.run("nord", instance, assets=CHAIN[:3])
        stale = installation.run("nord", instance, assets=REPLACE)

    assert installation.clears() == clears
    assert "snapshot_age" in problems(stale)[0]
