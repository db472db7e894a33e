"""Sequences of events that once led, or might lead, to a wrong list without any error."""

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.config import ConfigurationError
from campaign_sync.orchestration.assets.recipient_list import REPLAY_TAG
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync_tests.installation import ADDRESSES, LONG_AGO, NEWSLETTER, NORD, Installation
from campaign_sync_tests.scenarios.daily_run import CHAIN, FEEDBACK, PICK, REPLACE, RUN_ID, erase

pytestmark = pytest.mark.usefixtures("without_retries")


def repair_vendor(installation: Installation) -> None:
    installation.vendor.repair()
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM refused")


def last_proven_snapshot(installation: Installation) -> str:
    with installation.state() as state:
        return state.replacements.proven_snapshots("nord", "newsletter")[0]


def test_a_vendor_that_refuses_most_recipients_does_not_leave_a_proven_list(installation: Installation) -> None:
    installation.first_day("nord")
    for address in ADDRESSES[:3]:
        installation.vendor.refuse(NORD, address, 7)

    result = installation.run("nord", assets=CHAIN)

    assert "INCOMPLETE" in problems(result)[0]
    assert "only 2 are in it, the vendor turned the others away" in problems(result)[0]
    repair_vendor(installation)
    assert installation.run("nord", assets=REPLACE).success
    assert installation.addresses() == ADDRESSES


def test_a_vendor_that_refuses_all_recipients_on_the_first_day_does_not_leave_a_proven_list(
    installation: Installation,
) -> None:
    for address in ADDRESSES:
        installation.vendor.refuse(NORD, address, 7)

    assert "INCOMPLETE" in problems(installation.run("nord", assets=CHAIN))[0]


def test_a_list_is_proven_if_the_vendor_refuses_as_many_recipients_as_before(installation: Installation) -> None:
    installation.vendor.bounce(NORD, ADDRESSES[0])
    installation.vendor.bounce(NORD, ADDRESSES[1])
    for _ in range(3):
        installation.day("nord")
    assert installation.addresses() == ADDRESSES[2:]


def test_a_resumed_replacement_sends_an_address_as_it_was_changed_since(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.vendor.fault("addAll3", "fault", skip=3, times=99, arg="WebserviceImplException: unheard of")
    assert not installation.run("nord", instance, assets=CHAIN).success
    repair_vendor(installation)
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'new1@example.org' WHERE id = 'c1'")

    result = installation.run("nord", instance, assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == ["new1@example.org", *ADDRESSES[1:]]


def test_a_list_that_could_not_be_cleared_is_not_proven_with_yesterdays_recipients(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run("nord", instance, assets=CHAIN)
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'new1@example.org' WHERE id = 'c1'")
    installation.vendor.fault("clear", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not installation.run("nord", instance, assets=CHAIN).success
    repair_vendor(installation)

    result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ["new1@example.org", *ADDRESSES[1:]]


def fail_with_accepted_size(installation: Installation, instance: dg.DagsterInstance) -> None:
    """Replace the list, then accept a snapshot of two recipients whose replacement stops after the clear."""
    installation.run("nord", instance, assets=CHAIN)
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member WHERE entity_id > 'c2'")
    with installation.state() as state:
        state.recipient_lists.accept_size(SizeAcceptance(RUN_ID, "nord", "newsletter", "anna", "because", LONG_AGO))
    installation.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not installation.run("nord", instance, assets=CHAIN, run_id=RUN_ID).success
    repair_vendor(installation)


def test_a_size_accepted_for_one_snapshot_does_not_allow_an_empty_one(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    fail_with_accepted_size(installation, instance)
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member")
    assert not installation.run("nord", instance, assets=CHAIN).success

    result = installation.run("nord", instance, assets=REPLACE)

    assert "no recipient is left to be sent" in problems(result)[0]


def test_a_size_accepted_for_a_run_counts_when_its_replacement_is_resumed_with_the_same_rows(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    fail_with_accepted_size(installation, instance)

    result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[:2]


def test_a_replay_does_not_send_people_who_are_erased_or_have_a_new_address(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run("nord", instance, assets=CHAIN)
    erase(installation, "c2")
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c3'")
    installation.list_settings()["limits"] = {"max_shrink": 0.5}

    result = installation.run("nord", instance, assets=REPLACE, tags={REPLAY_TAG: last_proven_snapshot(installation)})

    assert result.success, problems(result)
    assert installation.addresses() == [ADDRESSES[0], *ADDRESSES[3:]]
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {
            ("gate", "address_changed"): 1,
            ("gate", "gone_from_crm"): 1,
        }


@pytest.mark.two_lists
def test_a_snapshot_is_replayed_into_its_own_list_only(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.list_settings("nord", "products")["opt_in_id"] = "newsletter-nord"
    installation.run("nord", instance)
    with installation.state() as state:
        (other,) = state.replacements.proven_snapshots("nord", "products")

    result = installation.run("nord", instance, assets=REPLACE, tags={REPLAY_TAG: other})

    assert "has no proven snapshot" in problems(result)[0]


@pytest.mark.two_lists
@pytest.mark.parametrize("spelling", [f" {NEWSLETTER}", f"0{NEWSLETTER}", float(NEWSLETTER), f"+{NEWSLETTER}"])
def test_two_entries_for_one_list_are_found_in_every_spelling(installation: Installation, spelling: object) -> None:
    installation.list_settings("nord", "products")["recipient_list_id"] = spelling

    with pytest.raises(ConfigurationError, match="two entries would overwrite each other"):
        _ = installation.configuration


def test_a_run_that_cannot_log_in_still_reports_that_the_list_is_incomplete(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not installation.run("nord", instance, assets=CHAIN).success
    installation.vendor.add_mandator(NORD, "api-user", "changed")

    result = installation.run("nord", instance, assets=REPLACE)

    assert "INCOMPLETE since" in problems(result)[0]
    assert "doesn't let this user in" in problems(result)[0]


def test_a_failing_state_database_is_reported_in_one_sentence(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run("nord", instance, assets=FEEDBACK + PICK)
    with installation.state_database() as connection:
        connection.exec_driver_sql("ALTER TABLE lease RENAME TO lost")

    result = installation.run("nord", instance, assets=REPLACE)

    assert "storage.state_url) failed" in problems(result)[0]
    assert installation.clears() == 0
