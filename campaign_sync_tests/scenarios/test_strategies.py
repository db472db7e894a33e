"""The strategies of replacing a list, which all end in the same proof."""

import pytest

from campaign_sync.cli.run import problems
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, NORD, Installation
from campaign_sync_tests.scenarios.daily_run import CHAIN


def differential(installation: Installation) -> None:
    installation.list_settings()["strategy"] = "differential"
    installation.list_settings()["id_attribute"] = "Recipient"


def clears_of(installation: Installation, list_id: int = NEWSLETTER) -> int:
    return [call.list_id for call in installation.vendor.calls("clear")].count(list_id)


def test_the_differential_strategy_ends_in_the_same_list(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, ["old@example.com", *ADDRESSES[:4]])
    differential(installation)

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES
    recipients = installation.vendor.recipients(NEWSLETTER)
    assert {recipient["attributes"]["opt-in-id"] for recipient in recipients} == {"newsletter-nord"}


def test_the_differential_strategy_clears_nothing_and_sends_only_what_differs(
    installation: Installation,
) -> None:
    differential(installation)
    installation.run("nord", assets=CHAIN)
    assert installation.addresses() == ADDRESSES
    installation.leave("person1@example.org")
    installation.add_contact("c6", "sixth@example.org")
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET city = 'Zürich' WHERE id = 'c2'")
    sent = sum(call.rows for call in installation.vendor.calls("addAll3"))

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == [*ADDRESSES[1:], "sixth@example.org"]
    recipients = {recipient["id"]: recipient for recipient in installation.vendor.recipients(NEWSLETTER)}
    assert recipients["person2@example.org"]["attributes"]["Ort"] == "Zürich"
    assert sum(call.rows for call in installation.vendor.calls("addAll3")) - sent == 1
    assert len(installation.vendor.calls("setAttributes")) == 1
    assert clears_of(installation) == 0


@pytest.mark.long
def test_a_day_without_differences_changes_nothing_and_is_proven(installation: Installation) -> None:
    differential(installation)
    installation.run("nord", assets=CHAIN)
    before = len(installation.vendor.calls("addAll3"))

    assert installation.run("nord", assets=CHAIN).success
    assert len(installation.vendor.calls("addAll3")) == before


def test_people_who_unsubscribed_or_bounced_do_not_stay_in_the_list(
    installation: Installation,
) -> None:
    differential(installation)
    installation.list_settings()["limits"] = {"max_shrink": 0.5}
    installation.run("nord", assets=CHAIN)
    installation.vendor.unsubscribe(NORD, "person3@example.org")
    installation.vendor.bounce(NORD, "person4@example.org")

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == [ADDRESSES[0], ADDRESSES[1], ADDRESSES[4]]
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {
            ("gate", "unsubscribed"): 1,
            ("sweep", "swept"): 1,
        }


def test_an_unknown_id_attribute_is_reported_before_the_list_is_touched(
    installation: Installation,
) -> None:
    installation.fill_by_hand(NEWSLETTER, ADDRESSES[:4])
    differential(installation)
    installation.list_settings()["id_attribute"] = "Empfaenger"

    result = installation.run("nord", assets=CHAIN)

    assert "mandators.nord.lists.newsletter.id_attribute" in problems(result)[0]
    assert installation.addresses() == ADDRESSES[:4]


def test_a_differential_replacement_that_fails_is_completed_by_its_retry(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, ["old@example.com", *ADDRESSES[:3]])
    differential(installation)
    installation.vendor.fault("addAll3", "fault", times=1, arg="WebserviceImplException: unheard of")

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES
    with installation.state() as state:
        assert state.replacements.incomplete("nord", "newsletter") is None
