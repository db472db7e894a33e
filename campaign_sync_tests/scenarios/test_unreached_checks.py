"""Checks that a run doesn't reach are reported as not reached, so that yesterday's results don't seem current."""

import re

import dagster as dg
import pytest

from campaign_sync_tests.installation import Installation

pytestmark = pytest.mark.usefixtures("without_retries")


def newest(instance: dg.DagsterInstance, *path: str) -> dict[str, tuple[bool, str]]:
    """Return the newest result of each check of an asset: whether it passed, and its description."""
    key = dg.AssetKey(path)
    names = CHECKS[path[1].removeprefix("newsletter_").removeprefix("products_")]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(key, name) for name in names]
    )
    results = {}
    for check, record in records.items():
        evaluation = record.evaluation
        assert isinstance(evaluation, dg.AssetCheckEvaluation), f"{check.name} has no result"
        results[check.name] = (evaluation.passed, evaluation.description or "")
    assert set(results) == set(names)
    return results


CHECKS = {
    "unsubscribes": ("readable", "fresh"),
    "suppression_state": ("layout", "matched", "silence", "propagation"),
    "snapshot": ("utf8", "single_consent", "plausible_size"),
    "recipient_list": ("gate", "proof", "rejections"),
}

FEEDBACK_AGE = dg.AssetCheckKey(dg.AssetKey(["nord", "suppression_state"]), "feedback_age")
"""A sensor evaluates this one."""


def green(results: dict[str, tuple[bool, str]]) -> bool:
    return all(passed for passed, _ in results.values())


def wrongly_reported(results: dict[str, tuple[bool, str]], why: str) -> list[str]:
    """Return the checks that aren't reported as not reached for this reason."""
    expected = f"Not reached, so neither passed nor failed, because {why}"
    return [name for name, (passed, description) in results.items() if passed or expected not in description]


@pytest.mark.two_lists
def test_checks_behind_a_failed_selection_are_not_evaluated_and_the_other_list_is_green(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    assert installation.run(instance=instance).success
    installation.list_settings()["select"] = {"marketing_list": "Unknown"}

    assert not installation.run(instance=instance).success

    why = "nord/newsletter_selection failed: "
    assert wrongly_reported(newest(instance, "nord", "newsletter_snapshot"), why) == []
    results = newest(instance, "nord", "newsletter_recipient_list")
    assert wrongly_reported(results, why) == []
    assert re.search(r" The list wasn't touched: its last proof, of .* UTC, holds\.$", results["proof"][1])
    assert green(newest(instance, "nord", "products_snapshot"))
    assert green(newest(instance, "nord", "products_recipient_list"))


def test_checks_behind_a_snapshot_whose_check_fails_are_not_evaluated(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.list_settings()["limits"] = {"min_rows": 100}

    assert not installation.run(instance=instance).success

    results = newest(instance, "nord", "newsletter_recipient_list")
    assert wrongly_reported(results, "plausible_size of the snapshot stops the list") == []
    assert "The list was never proven." in results["proof"][1]
    assert not newest(instance, "nord", "newsletter_snapshot")["plausible_size"][1].startswith("Not reached")


@pytest.mark.long
@pytest.mark.two_lists
def test_checks_behind_feedback_that_cannot_be_fetched_are_not_evaluated_except_its_age(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    assert installation.run(instance=instance).success
    installation.vendor.fault("getUnsubscribes", "fault", times=99)

    assert not installation.run(instance=instance).success

    why = "nord/unsubscribes failed: "
    assert wrongly_reported(newest(instance, "nord", "unsubscribes"), why) == []
    assert wrongly_reported(newest(instance, "nord", "suppression_state"), why) == []
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key([FEEDBACK_AGE])
    assert not isinstance(records[FEEDBACK_AGE].evaluation, dg.AssetCheckEvaluation)
    for name in ("newsletter", "products"):
        assert wrongly_reported(newest(instance, "nord", f"{name}_snapshot"), why) == []


def test_the_proof_of_an_incomplete_replacement_is_not_evaluated(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    assert installation.run(instance=instance).success
    installation.vendor.fault("addAll3", "fault", times=99)

    assert not installation.run(instance=instance, assets=[("nord", "newsletter_recipient_list")]).success

    results = newest(instance, "nord", "newsletter_recipient_list")
    assert wrongly_reported(results, "nord/newsletter_recipient_list failed: ") == ["gate"], "that was passed"
    assert "INCOMPLETE since" in results["proof"][1]
