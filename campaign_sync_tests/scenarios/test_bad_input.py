"""Whatever is wrong is said in one sentence, at its place, before anything is cleared."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, SUED_NEWSLETTER, Installation


def wrong_password(shop: Installation) -> None:
    shop.environment["PASSWORD_OF_BOTH"] = "stale"


def unknown_list(shop: Installation) -> None:
    shop.list_settings()["recipient_list_id"] = 4711


def list_of_another_mandator(shop: Installation) -> None:
    shop.settings["mandators"].pop("sued")
    shop.list_settings()["recipient_list_id"] = SUED_NEWSLETTER


def unknown_attribute(shop: Installation) -> None:
    shop.list_settings()["attributes"]["Lieblingsfarbe"] = "city"


def unknown_opt_in(shop: Installation) -> None:
    shop.list_settings()["opt_in_id"] = "newsletter-west"


def opt_in_of_another_mandator(shop: Installation) -> None:
    shop.list_settings()["opt_in_id"] = "newsletter-sued"


def unknown_marketing_list(shop: Installation) -> None:
    shop.list_settings()["select"] = {"marketing_list": "Newsletter West"}


def unknown_crm_column(shop: Installation) -> None:
    shop.list_settings()["attributes"]["Vorname"] = "nickname"


def empty_selection(shop: Installation) -> None:
    with shop.crm() as crm:
        crm.execute(schema.marketing_list_member.delete())


def shrunken_selection(shop: Installation) -> None:
    shop.fill_by_hand(NEWSLETTER, [f"old{number}@example.org" for number in range(100)])


BAD_LISTS: list[tuple[Callable[[Installation], None], str]] = [
    (unknown_list, "4711"),
    (list_of_another_mandator, str(SUED_NEWSLETTER)),
    (unknown_attribute, "Lieblingsfarbe"),
    (unknown_opt_in, "newsletter-west"),
    (opt_in_of_another_mandator, "belongs to mandator 'sued'"),
    (unknown_marketing_list, "Newsletter West"),
    (unknown_crm_column, "nickname"),
    (empty_selection, "min_rows"),
    (shrunken_selection, "max_shrink"),
]


@pytest.mark.two_lists
@pytest.mark.parametrize(("spoil", "named"), BAD_LISTS, ids=[spoil.__name__ for spoil, _ in BAD_LISTS])
def test_a_bad_list_is_not_touched_says_why_and_does_not_stop_its_neighbour(
    shop: Installation, spoil: Callable[[Installation], None], named: str
) -> None:
    spoil(shop)

    result = shop.run("nord")

    assert not result.success
    told = problems(result)
    assert len(told) == 1, told
    assert named in told[0]
    assert [call.list_id for call in shop.world.calls("clear")] == [PRODUCTS]


def unreachable_vendor(shop: Installation) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shop.settings["optimizely"]["base_url"] = f"http://127.0.0.1:{free.getsockname()[1]}/soap11"


def unreachable_crm(shop: Installation) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shop.settings["crm"]["url"] = f"postgresql://nobody@127.0.0.1:{free.getsockname()[1]}/crm"


def crm_without_the_contract(shop: Installation) -> None:
    shop.settings["crm"]["url"] = f"sqlite:///{shop.folder / 'state.db'}"
    shop.settings["storage"]["state_url"] = f"sqlite:///{shop.folder / 'other.db'}"
    with shop.state():
        (shop.folder / "state.db").touch()


def write_latin_1(shop: Installation, column: str, *ids: str) -> None:
    with shop.crm() as crm:
        for each in ids:
            crm.exec_driver_sql(f"UPDATE contact SET {column} = CAST(X'4AFC7267656E' AS TEXT) WHERE id = '{each}'")


def wrong_feedback_layout(shop: Installation) -> None:
    shop.leave("person1@example.org")
    shop.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": {"time_format": "%d.%m.%Y %H:%M:%S"}}
    }


BAD_MANDATORS: list[tuple[Callable[[Installation], None], str]] = [
    (wrong_password, "password"),
    (unreachable_vendor, "127.0.0.1"),
    (unreachable_crm, "127.0.0.1"),
    (crm_without_the_contract, "campaign-sync crm init"),
    (wrong_feedback_layout, "feedback.readers.getUnsubscribes"),
]


@pytest.mark.parametrize(("spoil", "named"), BAD_MANDATORS, ids=[spoil.__name__ for spoil, _ in BAD_MANDATORS])
def test_trouble_with_the_mandator_clears_none_of_its_lists(
    shop: Installation, spoil: Callable[[Installation], None], named: str
) -> None:
    spoil(shop)

    result = shop.run("nord")

    assert not result.success
    assert any(named in problem for problem in problems(result)), problems(result)
    assert shop.clears() == 0


@pytest.mark.parametrize("column", ["first_name", "email"])
def test_text_that_is_not_utf8_costs_its_own_row_and_shows(shop: Installation, column: str) -> None:
    write_latin_1(shop, column, "c1")

    result = shop.day("nord")

    assert shop.addresses() == [f"person{number}@example.org" for number in (2, 3, 4, 5)]
    found = [one for one in result.get_asset_check_evaluations() if one.check_name == "utf8"]
    if column == "first_name":
        assert {(one.passed, one.severity) for one in found} == {(False, dg.AssetCheckSeverity.WARN)}
        assert "1 row left out for text that isn't UTF-8 in the CRM (latin-1, perhaps); first_name in 1 row" in str(
            found[0].description
        )
        with shop.state() as state:
            assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("snapshot", "not_utf8"): 1}


def test_many_texts_that_are_not_utf8_stop_the_list_also_when_it_is_materialized_alone(shop: Installation) -> None:
    for number in range(10, 20):
        shop.add_contact(f"c{number}", f"person{number}@example.org")
    write_latin_1(shop, "first_name", *(f"c{number}" for number in range(10, 20)))

    result = shop.run("nord")

    assert not result.success
    assert any("10 rows left out for text that isn't UTF-8" in problem for problem in problems(result))
    alone = shop.run("nord", assets=[("nord", "newsletter_recipient_list")])
    assert "utf8: 10 rows left out" in problems(alone)[0]
    assert shop.addresses() == []


def test_feedback_rows_that_do_not_fit_are_kept_counted_and_read_again_once_the_layout_is_mended(
    shop: Installation,
) -> None:
    yesterday = str(int(datetime.now(UTC).timestamp() * 1000) - 86_400_000)
    shop.world.publish(NORD, "getUnsubscribes", [["1", "2"], ["person1@example.org", yesterday]])

    first = shop.run("nord")
    assert len(problems(first)) == 1
    assert "nord/suppression_state: layout – 1 row of getUnsubscribes can't be read" in problems(first)[0]
    assert shop.addresses()[0] == "person2@example.org"

    readers = {"getOutBounces": {}, "getUnsubscribes": {"header": True}}
    shop.settings["mandators"]["nord"]["feedback"] = {"readers": readers}
    assert problems(shop.day("nord")) == []


def test_nobodys_address_or_name_reaches_the_event_log(shop: Installation) -> None:
    shop.add_contact("c6", "canary@example.org", first_name="Kanarienvogel\x07", last_name="Zwitscher\ufffd")
    shop.world.unsubscribe(8100, "person1@example.org")
    shop.world.fault("addAll3", "fault", times=99, arg="canary@example.org")

    result = shop.run("nord")

    log = "".join(str(event) for event in result.all_events).casefold()
    assert "incomplete" in log
    assert not [word for word in ("canary@", "kanarienvogel", "zwitscher", "person1@") if word in log]
