"""Sequences of events that once led, or might lead, to a wrong list that nobody notices."""

from collections.abc import Iterator

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.config import ConfigurationError
from campaign_sync.orchestration.assets.recipient_list import REPLAY_TAG
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync_tests.installation import LONG_AGO, NEWSLETTER, NORD, Installation
from campaign_sync_tests.scenarios.test_gate import EVERYBODY, FEEDBACK, PICK, REPLACE, RUN_ID

CHAIN = [*FEEDBACK, *PICK, *REPLACE]


@pytest.fixture(autouse=True)
def _no_second_try_within_a_run(shop: Installation) -> None:
    shop.retry_policy = NO_RETRIES


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def mend_the_vendor(shop: Installation) -> None:
    shop.world.repair()
    with shop.world.transaction() as vendor:
        vendor.execute("DELETE FROM refused")


def last_proven_snapshot(shop: Installation) -> str:
    with shop.state() as state:
        return state.replacements.proven_snapshots("nord", "newsletter")[0]


def test_a_vendor_that_turns_nearly_everybody_away_does_not_leave_a_proven_list(shop: Installation) -> None:
    shop.day("nord")
    for address in EVERYBODY[:3]:
        shop.world.refuse(NORD, address, 7)

    result = shop.run("nord", assets=CHAIN)

    assert "INCOMPLETE" in problems(result)[0]
    assert "only 2 are in it, the vendor turned the others away" in problems(result)[0]
    mend_the_vendor(shop)
    assert shop.run("nord", assets=REPLACE).success
    assert shop.addresses() == EVERYBODY


def test_a_vendor_that_turns_everybody_away_on_the_very_first_day_does_not_leave_a_proven_list(
    shop: Installation,
) -> None:
    for address in EVERYBODY:
        shop.world.refuse(NORD, address, 7)

    assert "INCOMPLETE" in problems(shop.run("nord", assets=CHAIN))[0]


def test_a_vendor_that_always_refuses_as_many_is_no_news(shop: Installation) -> None:
    shop.world.bounce(NORD, EVERYBODY[0])
    shop.world.bounce(NORD, EVERYBODY[1])
    for _ in range(3):
        shop.day("nord")
    assert shop.addresses() == EVERYBODY[2:]


def test_an_address_that_changed_since_the_list_broke_off_is_the_new_one_when_it_is_whole(
    shop: Installation, instance: dg.DagsterInstance
) -> None:
    shop.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    shop.world.fault("addAll3", "fault", skip=3, times=99, arg="WebserviceImplException: unheard of")
    assert not shop.run("nord", instance, assets=CHAIN).success
    mend_the_vendor(shop)
    with shop.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'new1@example.org' WHERE id = 'c1'")

    result = shop.run("nord", instance, assets=CHAIN)

    assert result.success, problems(result)
    assert shop.addresses() == ["new1@example.org", *EVERYBODY[1:]]


def test_yesterdays_list_is_not_taken_for_todays_where_clearing_it_failed(
    shop: Installation, instance: dg.DagsterInstance
) -> None:
    shop.run("nord", instance, assets=CHAIN)
    with shop.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'new1@example.org' WHERE id = 'c1'")
    shop.world.fault("clear", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not shop.run("nord", instance, assets=CHAIN).success
    mend_the_vendor(shop)

    result = shop.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert shop.addresses() == ["new1@example.org", *EVERYBODY[1:]]


def test_a_permission_for_one_snapshot_does_not_empty_the_list_by_another(
    shop: Installation, instance: dg.DagsterInstance
) -> None:
    shop.run("nord", instance, assets=CHAIN)
    with shop.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member WHERE entity_id > 'c2'")
    with shop.state() as state:
        state.recipient_lists.accept_size(SizeAcceptance(RUN_ID, "nord", "newsletter", "anna", "because", LONG_AGO))
    shop.world.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not shop.run("nord", instance, assets=CHAIN, run_id=RUN_ID).success
    mend_the_vendor(shop)
    with shop.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member")
    assert not shop.run("nord", instance, assets=CHAIN).success

    result = shop.run("nord", instance, assets=REPLACE)

    assert "nobody is left to be sent" in problems(result)[0]


def test_whoever_takes_up_what_broke_off_inherits_the_permission_for_the_same_rows(
    shop: Installation, instance: dg.DagsterInstance
) -> None:
    shop.run("nord", instance, assets=CHAIN)
    with shop.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member WHERE entity_id > 'c2'")
    with shop.state() as state:
        state.recipient_lists.accept_size(SizeAcceptance(RUN_ID, "nord", "newsletter", "anna", "because", LONG_AGO))
    shop.world.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not shop.run("nord", instance, assets=CHAIN, run_id=RUN_ID).success
    mend_the_vendor(shop)

    result = shop.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert shop.addresses() == EVERYBODY[:2]


def test_a_replay_does_not_bring_back_whom_the_crm_has_forgotten_or_moved(
    shop: Installation, instance: dg.DagsterInstance
) -> None:
    shop.run("nord", instance, assets=CHAIN)
    with shop.crm() as crm:
        for table, column in (
            ("contact", "id"),
            ("marketing_list_member", "entity_id"),
            ("consent_event", "entity_id"),
        ):
            crm.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = 'c2'")
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c3'")
    shop.list_settings()["limits"] = {"max_shrink": 0.5}

    result = shop.run("nord", instance, assets=REPLACE, tags={REPLAY_TAG: last_proven_snapshot(shop)})

    assert result.success, problems(result)
    assert shop.addresses() == [EVERYBODY[0], *EVERYBODY[3:]]
    with shop.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {
            ("gate", "address_changed"): 1,
            ("gate", "gone_from_crm"): 1,
        }


@pytest.mark.two_lists
def test_a_snapshot_is_replayed_into_its_own_list_only(shop: Installation, instance: dg.DagsterInstance) -> None:
    shop.list_settings("nord", "products")["opt_in_id"] = "newsletter-nord"
    shop.run("nord", instance)
    with shop.state() as state:
        (other,) = state.replacements.proven_snapshots("nord", "products")

    result = shop.run("nord", instance, assets=REPLACE, tags={REPLAY_TAG: other})

    assert "has no proven snapshot" in problems(result)[0]


@pytest.mark.two_lists
@pytest.mark.parametrize("spelling", [f" {NEWSLETTER}", f"0{NEWSLETTER}", float(NEWSLETTER), f"+{NEWSLETTER}"])
def test_two_entries_for_one_list_are_found_however_they_spell_it(shop: Installation, spelling: object) -> None:
    shop.list_settings("nord", "products")["recipient_list_id"] = spelling

    with pytest.raises(ConfigurationError, match="two entries would overwrite each other"):
        _ = shop.configuration


def test_a_run_that_cannot_even_log_in_still_says_that_the_list_is_incomplete(
    shop: Installation, instance: dg.DagsterInstance
) -> None:
    shop.world.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    assert not shop.run("nord", instance, assets=CHAIN).success
    shop.world.add_mandator(NORD, "api-user", "changed")

    result = shop.run("nord", instance, assets=REPLACE)

    assert "INCOMPLETE since" in problems(result)[0]
    assert "doesn't let this user in" in problems(result)[0]


def test_a_state_database_that_fails_is_told_in_one_sentence(shop: Installation, instance: dg.DagsterInstance) -> None:
    shop.run("nord", instance, assets=FEEDBACK + PICK)
    with shop.state() as state, state._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lease RENAME TO lost")

    result = shop.run("nord", instance, assets=REPLACE)

    assert "storage.state_url) failed" in problems(result)[0]
    assert shop.clears() == 0
