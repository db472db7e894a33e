"""The ways of replacing a list, which all end in the same proof."""

from campaign_sync.cli.run import problems
from campaign_sync_tests.installation import NEWSLETTER, NORD, Installation
from campaign_sync_tests.scenarios.test_gate import EVERYBODY, FEEDBACK, PICK, REPLACE

CHAIN = [*FEEDBACK, *PICK, *REPLACE]


def differential(shop: Installation) -> None:
    shop.list_settings()["strategy"] = "differential"
    shop.list_settings()["id_attribute"] = "Recipient"


def clears_of(shop: Installation, list_id: int = NEWSLETTER) -> int:
    return [call.list_id for call in shop.world.calls("clear")].count(list_id)


def test_differences_end_in_the_same_list(shop: Installation) -> None:
    shop.fill_by_hand(NEWSLETTER, ["old@example.com", *EVERYBODY[:4]])
    differential(shop)

    result = shop.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert shop.addresses() == EVERYBODY
    assert all(one["attributes"]["opt-in-id"] == "newsletter-nord" for one in shop.world.recipients(NEWSLETTER))


def test_differences_are_made_without_an_empty_moment_and_without_sending_anybody_who_is_there(
    shop: Installation,
) -> None:
    differential(shop)
    shop.run("nord", assets=CHAIN)
    assert shop.addresses() == EVERYBODY
    shop.leave("person1@example.org")
    shop.add_contact("c6", "sixth@example.org")
    with shop.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET city = 'Zürich' WHERE id = 'c2'")
    sent = sum(call.rows for call in shop.world.calls("addAll3"))

    result = shop.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert shop.addresses() == [*EVERYBODY[1:], "sixth@example.org"]
    changed = next(one for one in shop.world.recipients(NEWSLETTER) if one["id"] == "person2@example.org")
    assert changed["attributes"]["Ort"] == "Zürich"
    assert sum(call.rows for call in shop.world.calls("addAll3")) - sent == 1
    assert len(shop.world.calls("setAttributes")) == 1
    assert clears_of(shop) == 0


def test_a_day_without_differences_changes_nothing_and_is_proven(shop: Installation) -> None:
    differential(shop)
    shop.run("nord", assets=CHAIN)
    before = len(shop.world.calls("addAll3"))

    assert shop.run("nord", assets=CHAIN).success
    assert len(shop.world.calls("addAll3")) == before


def test_somebody_whom_the_vendor_would_not_write_to_any_more_does_not_stay_in_the_list(shop: Installation) -> None:
    differential(shop)
    shop.list_settings()["limits"] = {"max_shrink": 0.5}
    shop.run("nord", assets=CHAIN)
    shop.world.unsubscribe(NORD, "person3@example.org")
    shop.world.bounce(NORD, "person4@example.org")

    result = shop.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert shop.addresses() == [EVERYBODY[0], EVERYBODY[1], EVERYBODY[4]]
    with shop.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {
            ("gate", "unsubscribed"): 1,
            ("sweep", "swept"): 1,
        }


def test_a_name_for_ids_that_the_vendor_does_not_know_is_told_before_anything_is_touched(shop: Installation) -> None:
    shop.fill_by_hand(NEWSLETTER, EVERYBODY[:4])
    differential(shop)
    shop.list_settings()["id_attribute"] = "Empfaenger"

    result = shop.run("nord", assets=CHAIN)

    assert "mandators.nord.lists.newsletter.id_attribute" in problems(result)[0]
    assert shop.addresses() == EVERYBODY[:4]


def test_a_difference_that_breaks_off_is_told_and_mended_by_the_next_run(shop: Installation) -> None:
    shop.fill_by_hand(NEWSLETTER, ["old@example.com", *EVERYBODY[:3]])
    differential(shop)
    shop.world.fault("addAll3", "fault", times=1, arg="WebserviceImplException: unheard of")

    result = shop.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert shop.addresses() == EVERYBODY
    with shop.state() as state:
        assert state.replacements.incomplete("nord", "newsletter") is None
