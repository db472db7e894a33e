"""Who is in a list and who isn't, and the recorded rejections."""

from datetime import UTC, datetime, timedelta

import pytest

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync_tests.installation import (
    LONG_AGO,
    NEWSLETTER,
    NORD,
    PRODUCTS,
    SUED,
    SUED_NEWSLETTER,
    Installation,
    epoch_ms,
)
from campaign_sync_tests.scenarios.daily_run import rejections

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.two_lists
def test_an_unsubscribed_person_is_withdrawn_in_the_crm_and_in_no_list_of_the_mandator(
    installation: Installation,
) -> None:
    installation.leave("Person2@example.org")

    result = installation.day("nord")

    assert "person2@example.org" not in installation.addresses(NEWSLETTER) + installation.addresses(PRODUCTS)
    assert rejections(installation, result.run_id) == {("selection", "unsubscribed"): 1}
    with installation.crm() as crm:
        events = crm.exec_driver_sql(
            "SELECT opt_in_id, source FROM consent_event WHERE entity_id = 'c2' AND kind = 'withdrawn' ORDER BY 1"
        ).fetchall()
    assert [tuple(event) for event in events] == [
        ("newsletter-nord", "optimizely:unsubscribes"),
        ("products-nord", "optimizely:unsubscribes"),
    ]


@pytest.mark.long
@pytest.mark.parametrize("hidden", ["\u200b", "\ufeff"])
@pytest.mark.parametrize("seen", ["in a row that has it", "in a row that lacks it", "at the preflight"])
def test_an_address_with_an_invisible_character_is_the_same_address(
    installation: Installation, seen: str, hidden: str
) -> None:
    row = ["person2@example.org", epoch_ms(YESTERDAY)]
    if seen == "in a row that has it":
        row[0] = hidden + row[0]
    else:
        with installation.crm() as crm:
            crm.execute(
                schema.contact.update().where(schema.contact.c.id == "c2").values(email=f"{hidden}person2@example.org")
            )
    if seen == "at the preflight":
        installation.vendor.unsubscribe(NORD, "person2@example.org")
    else:
        installation.vendor.publish(NORD, "getUnsubscribes", [row])

    installation.day("nord")

    assert [address for address in installation.addresses(NEWSLETTER) if "person2" in address] == []


def test_an_opt_out_of_an_invalid_address_still_counts_after_the_address_is_corrected(
    installation: Installation,
) -> None:
    with installation.crm() as crm:
        crm.execute(schema.contact.update().where(schema.contact.c.id == "c2").values(email="Bjo..ern.@example.org"))
    installation.vendor.publish(NORD, "getUnsubscribes", [["bjo..ern.@example.org", epoch_ms(YESTERDAY)]])
    installation.day("nord")
    with installation.crm() as crm:
        crm.execute(schema.contact.update().where(schema.contact.c.id == "c2").values(email="bjoern@example.org"))

    result = installation.day("nord")

    assert "bjoern@example.org" not in installation.addresses(NEWSLETTER)
    assert rejections(installation, result.run_id)["selection", "unsubscribed"] == 1


def test_an_unsubscribe_from_one_mandator_does_not_affect_the_other_mandator(installation: Installation) -> None:
    installation.leave("person2@example.org", mandator_id=NORD)

    installation.day("nord")
    installation.day("sued")
    assert "person2@example.org" in installation.addresses(SUED_NEWSLETTER)


def test_a_bounced_address_is_in_no_list_of_any_mandator(installation: Installation) -> None:
    moment = epoch_ms(YESTERDAY)
    installation.vendor.publish(SUED, "getOutBounces", [["person3@example.org", moment]])

    installation.day("sued")
    installation.day("nord")
    assert "person3@example.org" not in installation.addresses(NEWSLETTER) + installation.addresses(SUED_NEWSLETTER)


@pytest.mark.two_lists
def test_a_person_who_consented_again_after_leaving_is_in_the_list(installation: Installation) -> None:
    installation.vendor.publish(NORD, "getUnsubscribes", [["person4@example.org", epoch_ms(YESTERDAY)]])
    installation.consent("c4", "newsletter-nord", "granted", YESTERDAY + timedelta(hours=1))

    installation.day("nord")
    assert "person4@example.org" in installation.addresses(NEWSLETTER)
    assert "person4@example.org" not in installation.addresses(PRODUCTS)


@pytest.mark.long
def test_a_withdrawal_at_the_same_time_as_a_grant_wins(installation: Installation) -> None:
    installation.consent("c5", "newsletter-nord", "withdrawn", LONG_AGO)

    result = installation.day("nord")

    assert "person5@example.org" not in installation.addresses()
    assert rejections(installation, result.run_id) == {("selection", "consent_withdrawn"): 1}


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("email", "reason"), [("", "no_address"), ("nowhere", "invalid_address"), ("a b@example.org", "invalid_address")]
)
def test_a_row_without_a_usable_address_is_rejected_with_its_reason(
    installation: Installation, email: str, reason: str
) -> None:
    installation.add_contact("c6", email)

    result = installation.day("nord")

    assert rejections(installation, result.run_id) == {("selection", reason): 1}


@pytest.mark.two_lists
def test_a_person_with_another_lists_consent_only_is_not_selected(
    installation: Installation,
) -> None:
    installation.add_contact("c6", "sixth@example.org", consent="products-nord")

    result = installation.day("nord")

    assert "sixth@example.org" not in installation.addresses(NEWSLETTER)
    assert "sixth@example.org" in installation.addresses(PRODUCTS)
    assert rejections(installation, result.run_id) == {("selection", "no_consent"): 1}


def test_of_two_people_with_the_same_address_one_is_sent_and_the_other_is_rejected(installation: Installation) -> None:
    installation.add_contact("c6", " PERSON1@example.org")

    result = installation.day("nord")

    assert installation.addresses().count("person1@example.org") == 1
    assert rejections(installation, result.run_id) == {("snapshot", "duplicate_address"): 1}


def test_a_name_with_a_character_that_xml_forbids_rejects_only_its_row(installation: Installation) -> None:
    installation.add_contact("c6", "sixth@example.org", first_name="Bell\x07a")

    result = installation.day("nord")

    assert rejections(installation, result.run_id) == {("snapshot", "forbidden_characters"): 1}


def test_people_whom_the_vendor_refuses_are_recorded_with_the_vendors_reason(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, "person1@example.org")
    installation.vendor.block(NORD, "*son2@example.org")
    installation.vendor.bounce(NORD, "person3@example.org")
    installation.vendor.refuse(NORD, "person4@example.org", 6)

    result = installation.day("nord")

    assert installation.addresses() == ["person5@example.org"]
    assert rejections(installation, result.run_id) == {
        ("gate", "unsubscribed"): 1,
        ("gate", "blocklisted"): 1,
        ("vendor", "bounced"): 1,
        ("vendor", "filtered"): 1,
    }


def test_an_unsubscribe_that_the_crm_cannot_match_suppresses_the_address_until_it_can(
    installation: Installation,
) -> None:
    installation.leave("stranger@example.com", at=YESTERDAY)
    installation.day("nord")

    installation.add_contact("c6", "Stranger@example.com")
    result = installation.day("nord")

    assert "stranger@example.com" not in installation.addresses()
    assert rejections(installation, result.run_id)["selection", "unsubscribed"] == 1
    with installation.state() as state:
        assert state.feedback_imports.unmatched("nord").unsubscribes == []


@pytest.mark.long
def test_a_bounce_that_the_crm_cannot_match_suppresses_the_address_in_every_mandator(
    installation: Installation,
) -> None:
    moment = epoch_ms(YESTERDAY)
    installation.vendor.publish(SUED, "getOutBounces", [["stranger@example.com", moment]])
    installation.day("sued")

    installation.add_contact("c6", "Stranger@example.com")
    result = installation.day("nord")

    assert "stranger@example.com" not in installation.addresses()
    assert rejections(installation, result.run_id)["selection", "bounced"] == 1


@pytest.mark.parametrize(("media_type", "reason"), [("SMS", "is of media type 'SMS'"), (" ", "has no media type")])
def test_an_opt_in_that_is_not_for_e_mail_is_refused_and_the_list_keeps_its_recipients(
    installation: Installation, media_type: str, reason: str
) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.execute(
            schema.opt_in.update().where(schema.opt_in.c.opt_in_id == "newsletter-nord").values(media_type=media_type)
        )
    before, clears = installation.addresses(), installation.clears()

    result = installation.run(assets=[("nord", "suppression_state"), ("nord", "newsletter_selection")])

    assert reason in problems(result)[0]
    assert "mandators.nord.lists.newsletter.opt_in_id" in problems(result)[0]
    assert (installation.addresses(), installation.clears()) == (before, clears)


@pytest.mark.sample(1)
@pytest.mark.parametrize("media_type", ["email", "E-Mail", "EMAIL"])
def test_e_mail_is_sent_as_the_crm_spells_it(installation: Installation, media_type: str) -> None:
    with installation.crm() as crm:
        crm.execute(schema.opt_in.update().values(media_type=media_type))

    installation.day()

    recipients = installation.vendor.recipients(NEWSLETTER)
    assert {recipient["attributes"]["media-type"] for recipient in recipients} == {media_type}
