"""The conditions for clearing a list, and what happens to the list if one of them isn't met."""

import re
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.replacement import mailing_interlock
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync_tests.installation import ADDRESSES, ATTRIBUTES, NEWSLETTER, NORD, PRODUCTS, Installation
from campaign_sync_tests.scenarios.daily_run import (
    CANARY,
    CHAIN,
    FEEDBACK,
    PICK,
    REPLACE,
    RUN_ID,
    addresses_without,
    rejections,
    withdrawals_with_source,
)


def changing_calls(installation: Installation) -> list[str]:
    """Return the operations of all calls that changed a list."""
    changing = {"addAll3", "clear", "removeAll", "setAttributes"}
    return [call.operation for call in installation.vendor.calls() if call.operation in changing]


# Opt-outs since the snapshot


@pytest.mark.two_lists
def test_a_person_who_unsubscribes_after_the_snapshot_is_not_sent_and_is_withdrawn_in_the_crm(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        installation.run("nord", instance, assets=FEEDBACK + PICK)
        installation.vendor.unsubscribe(NORD, "person2@example.org")  # it is in no export yet
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == addresses_without("person2@example.org")
    assert rejections(installation, result.run_id) == {("gate", "unsubscribed"): 1}
    assert withdrawals_with_source(installation) == [
        ("c2", "newsletter-nord", "optimizely:live_look"),
        ("c2", "products-nord", "optimizely:live_look"),
    ]


def test_a_blocklisted_person_is_not_sent_and_keeps_the_consent(installation: Installation) -> None:
    installation.vendor.block(NORD, "*son3@example.org")

    result = installation.day("nord")

    assert "person3@example.org" not in installation.addresses()
    assert rejections(installation, result.run_id) == {("gate", "blocklisted"): 1}
    assert withdrawals_with_source(installation) == []


def test_a_person_who_bounced_in_the_crm_after_the_snapshot_is_not_sent(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        installation.run("nord", instance, assets=FEEDBACK + PICK)
        with installation.crm() as crm:
            bounce = {"address": "person4@example.org", "bounce_kind": "hard", "bounced_at": datetime.now(UTC)}
            crm.execute(schema.address_state.insert().values(bounce))
        result = installation.run("nord", instance, assets=REPLACE)

    assert "person4@example.org" not in installation.addresses()
    assert rejections(installation, result.run_id) == {("gate", "suppressed_meanwhile"): 1}


def test_a_consent_given_again_is_not_withdrawn_by_an_opt_out_that_was_imported_before(
    installation: Installation,
) -> None:
    left = datetime.now(UTC) - timedelta(days=1)
    installation.leave("person2@example.org", at=left)
    installation.day("nord")
    installation.consent("c2", "newsletter-nord", "granted", left + timedelta(hours=1))

    result = installation.day("nord")

    assert "person2@example.org" not in installation.addresses(), "the vendor still has them on its unsubscribe list"
    assert rejections(installation, result.run_id) == {("gate", "unsubscribed"): 1}
    assert {source for _, _, source in withdrawals_with_source(installation)} == {"optimizely:unsubscribes"}


# The kind of the list


@pytest.fixture
def canary(installation: Installation) -> Installation:
    installation.settings["mandators"]["nord"]["canary_address"] = CANARY
    installation.vendor.unsubscribe(NORD, CANARY)
    return installation


def test_a_canary_shows_a_regular_list_and_stays_unsubscribed_and_out_of_it(canary: Installation) -> None:
    result = canary.day("nord")

    assert canary.addresses() == ADDRESSES
    assert CANARY in canary.vendor.unsubscribed(NORD)
    (gate, *_) = [check for check in result.get_asset_check_evaluations() if check.check_name == "gate"]
    assert "a canary shows it to be a regular list" in str(gate.metadata)


@pytest.mark.two_lists
def test_an_opt_in_list_is_refused_by_its_canary_and_the_unsubscribe_list_stays_as_it_was(canary: Installation) -> None:
    canary.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=True)
    canary.vendor.unsubscribe(NORD, "person1@example.org")

    result = canary.run("nord")

    assert "a canary has shown it to be an opt-in list" in problems(result)[0]
    assert canary.vendor.unsubscribed(NORD) == [CANARY, "person1@example.org"]
    assert canary.addresses() == []
    assert [call.list_id for call in canary.vendor.calls("clear")] == [PRODUCTS]


def test_a_list_that_is_known_to_be_an_opt_in_list_is_not_tried_again(canary: Installation) -> None:
    canary.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=True)
    canary.run("nord")
    before = len(canary.vendor.calls("addAll3"))

    result = canary.run("nord", assets=CHAIN)

    assert "campaign-sync check" in problems(result)[0]
    assert len(canary.vendor.calls("addAll3")) == before
    (gate,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "gate"]
    assert (gate.passed, gate.blocking) == (False, True)
    assert re.match(r"stopped by .*campaign-sync check", gate.description or "")


def test_no_list_is_touched_if_the_canary_has_not_unsubscribed(installation: Installation) -> None:
    installation.settings["mandators"]["nord"]["canary_address"] = CANARY

    result = installation.run("nord", assets=CHAIN)

    assert "isn't unsubscribed" in problems(result)[0]
    assert changing_calls(installation) == []


def test_a_canary_that_a_killed_run_left_in_the_list_is_removed(canary: Installation) -> None:
    canary.fill_by_hand(NEWSLETTER, [*ADDRESSES, CANARY])

    canary.day("nord")
    assert canary.addresses() == ADDRESSES


# Mailings


def add_mailing(
    installation: Installation, status: str, starts_in: timedelta | None = None, list_id: int = NEWSLETTER
) -> None:
    start = datetime.now(UTC) + starts_in if starts_in is not None else None
    installation.vendor.add_mailing(NORD, 77, "November", status=status, list_ids=[list_id], scheduled_at=start)


@pytest.mark.two_lists
@pytest.mark.parametrize(
    ("status", "starts_in", "named"),
    [
        ("SENDING", None, "mailing 77, which uses the list, is being sent"),
        ("NEW", timedelta(minutes=50), "mailing 77, which uses the list, starts at"),
        pytest.param(
            *("NEW", timedelta(minutes=-5), "mailing 77, which uses the list, starts at"), marks=pytest.mark.long
        ),
    ],
)
def test_a_list_is_not_touched_while_a_mailing_is_sent_or_starts_soon(
    installation: Installation, status: str, starts_in: timedelta | None, named: str
) -> None:
    installation.settings["mandators"]["nord"]["mailings"] = {"max_wait": "10s"}
    add_mailing(installation, status, starts_in)

    result = installation.run("nord")

    assert named in problems(result)[0]
    assert [call.list_id for call in installation.vendor.calls("clear")] == [PRODUCTS]


@pytest.mark.long
@pytest.mark.two_lists
@pytest.mark.parametrize(
    ("status", "starts_in", "list_id"),
    [
        ("SENDING", None, PRODUCTS + 5),
        ("DONE", timedelta(minutes=-5), NEWSLETTER),
        ("NEW", timedelta(minutes=70), NEWSLETTER),
        ("NEW", timedelta(days=-3), NEWSLETTER),
        ("NEW", None, NEWSLETTER),
    ],
)
def test_mailings_of_other_lists_or_times_and_drafts_do_not_stop_a_replacement(
    installation: Installation, status: str, starts_in: timedelta | None, list_id: int
) -> None:
    add_mailing(installation, status, starts_in, list_id)

    installation.day("nord")
    assert installation.addresses() == ADDRESSES


def test_a_replacement_waits_for_a_mailing_and_then_checks_again_who_has_unsubscribed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_mailing(installation, "SENDING")

    def sleep(_: float) -> None:
        installation.vendor.set_mailing_status(77, "DONE")
        installation.vendor.unsubscribe(NORD, "person5@example.org")

    monkeypatch.setattr(mailing_interlock, "sleep", sleep)
    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[:4]
    assert "after waiting 0:00:30" in str([check.metadata for check in result.get_asset_check_evaluations()])


def test_the_check_of_mailings_can_be_switched_off(installation: Installation) -> None:
    installation.settings["mandators"]["nord"]["mailings"] = {"watch": False}
    add_mailing(installation, "SENDING")

    installation.day("nord")
    assert installation.vendor.calls("getIdsInStatus") == []


# Locks


def test_a_list_that_another_run_is_replacing_is_not_touched_and_can_be_replaced_afterwards(
    installation: Installation,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        installation.run("nord", instance, assets=FEEDBACK + PICK)
        with installation.state() as state, state.locks.acquire(NEWSLETTER, "another-run"):
            refused = installation.run("nord", instance, assets=REPLACE)
            assert "run another-run is replacing it" in problems(refused)[0]
            assert changing_calls(installation) == []
        assert installation.run("nord", instance, assets=REPLACE).success


# Size


def halve_selection(installation: Installation) -> None:
    with installation.crm() as crm:
        crm.execute(schema.marketing_list_member.delete().where(schema.marketing_list_member.c.entity_id > "c2"))


def test_a_selection_that_shrank_by_half_clears_nothing(installation: Installation) -> None:
    installation.first_day("nord")
    clears = installation.clears()
    halve_selection(installation)

    result = installation.run("nord", assets=CHAIN)

    assert "max_shrink" in problems(result)[0]
    assert installation.clears() == clears
    assert installation.addresses() == ADDRESSES


def test_after_a_change_of_the_list_s_id_its_size_is_compared_with_what_the_new_list_holds(
    installation: Installation,
) -> None:
    installation.first_day("nord")
    others, customers = 4711, [f"kunde{number}@example.org" for number in range(20)]
    installation.vendor.add_list(NORD, others, "Kunden", ATTRIBUTES)
    installation.fill_by_hand(others, customers)
    installation.list_settings()["recipient_list_id"] = others

    message = " ".join(problems(installation.run("nord", assets=CHAIN)))

    assert "the list shrinks by 75% from 20 (in the list now) to 5" in message
    assert sorted(installation.addresses(others)) == sorted(customers)


def test_an_accepted_size_counts_for_one_run_only(installation: Installation) -> None:
    installation.first_day("nord")
    halve_selection(installation)
    with installation.state() as state:
        state.recipient_lists.accept_size(
            SizeAcceptance(RUN_ID, "nord", "newsletter", "anna", "Sommeraktion beendet", datetime.now(UTC))
        )

    other = installation.run("nord", assets=CHAIN)
    assert not other.success
    accepted = installation.run("nord", assets=CHAIN, run_id=RUN_ID)

    assert accepted.success, problems(accepted)
    assert installation.addresses() == ADDRESSES[:2]
    checks = {check.check_name: check.description or "" for check in accepted.get_asset_check_evaluations()}
    assert "accepted this once by anna: Sommeraktion beendet" in checks["plausible_size"]


def test_an_accepted_size_counts_for_dagsters_retry_after_a_death_and_not_when_a_person_executes_the_run_again(
    installation: Installation,
) -> None:
    installation.first_day("nord")
    halve_selection(installation)
    with installation.state() as state:
        state.recipient_lists.accept_size(
            SizeAcceptance(RUN_ID, "nord", "newsletter", "anna", "Sommeraktion beendet", datetime.now(UTC))
        )

    by_a_person = {"dagster/parent_run_id": RUN_ID}
    assert "max_shrink" in problems(installation.run("nord", assets=CHAIN, tags=by_a_person))[0]
    retry = installation.run("nord", assets=CHAIN, tags={**by_a_person, "dagster/retry_number": "1"})

    assert retry.success, problems(retry)
    assert installation.addresses() == ADDRESSES[:2]


# Questions without an answer


@pytest.mark.parametrize(
    "question", ["containsAll", "areBlacklisted", "getIdsInStatus", "getAttributeNames", "getCount"]
)
def test_a_question_that_the_vendor_does_not_answer_refuses_the_replacement(
    installation: Installation, question: str
) -> None:
    installation.vendor.fault(question, "fault", times=99, arg="x")

    result = installation.run("nord")

    assert not result.success
    assert changing_calls(installation) == []
