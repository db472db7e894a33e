"""Errors in the configuration, the CRM or the vendor: each is reported in one sentence before a list is cleared."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, SUED_NEWSLETTER, Installation
from campaign_sync_tests.scenarios.daily_run import check


def wrong_password(installation: Installation) -> None:
    installation.environment["PASSWORD_OF_BOTH"] = "stale"


def unknown_list(installation: Installation) -> None:
    installation.list_settings()["recipient_list_id"] = 4711


def list_of_another_mandator(installation: Installation) -> None:
    installation.settings["mandators"].pop("sued")
    installation.list_settings()["recipient_list_id"] = SUED_NEWSLETTER


def unknown_attribute(installation: Installation) -> None:
    installation.list_settings()["attributes"]["Lieblingsfarbe"] = "city"


def unknown_opt_in(installation: Installation) -> None:
    installation.list_settings()["opt_in_id"] = "newsletter-west"


def opt_in_of_another_mandator(installation: Installation) -> None:
    installation.list_settings()["opt_in_id"] = "newsletter-sued"


def unknown_marketing_list(installation: Installation) -> None:
    installation.list_settings()["select"] = {"marketing_list": "Newsletter West"}


def unknown_crm_column(installation: Installation) -> None:
    installation.list_settings()["attributes"]["Vorname"] = "nickname"


def empty_selection(installation: Installation) -> None:
    with installation.crm() as crm:
        crm.execute(schema.marketing_list_member.delete())


def shrunken_selection(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, [f"old{number}@example.org" for number in range(100)])


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


@pytest.mark.sample(4)
@pytest.mark.two_lists
@pytest.mark.parametrize(("configure", "named"), BAD_LISTS, ids=[configure.__name__ for configure, _ in BAD_LISTS])
def test_a_list_with_an_error_is_not_touched_and_does_not_stop_the_other_list(
    installation: Installation, configure: Callable[[Installation], None], named: str
) -> None:
    configure(installation)

    result = installation.run("nord")

    assert not result.success
    messages = problems(result)
    assert len(messages) == 1, messages
    assert named in messages[0]
    assert [call.list_id for call in installation.vendor.calls("clear")] == [PRODUCTS]


def unreachable_vendor(installation: Installation) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        installation.settings["optimizely"]["base_url"] = f"http://127.0.0.1:{free.getsockname()[1]}/soap11"


def unreachable_crm(installation: Installation) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        installation.settings["crm"]["url"] = f"postgresql://user@127.0.0.1:{free.getsockname()[1]}/crm"


def crm_without_the_schema(installation: Installation) -> None:
    installation.settings["crm"]["url"] = f"sqlite:///{installation.folder / 'state.db'}"
    installation.settings["storage"]["state_url"] = f"sqlite:///{installation.folder / 'other.db'}"
    with installation.state():
        (installation.folder / "state.db").touch()


def write_latin_1(installation: Installation, column: str, *ids: str) -> None:
    with installation.crm() as crm:
        for entity_id in ids:
            crm.exec_driver_sql(f"UPDATE contact SET {column} = CAST(X'4AFC7267656E' AS TEXT) WHERE id = '{entity_id}'")


def wrong_feedback_layout(installation: Installation) -> None:
    installation.leave("person1@example.org")
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": {"time_format": "%d.%m.%Y %H:%M:%S"}}
    }


BAD_MANDATORS: list[tuple[Callable[[Installation], None], str]] = [
    (wrong_password, "password"),
    (unreachable_vendor, "127.0.0.1"),
    (unreachable_crm, "127.0.0.1"),
    (crm_without_the_schema, "campaign-sync crm init"),
    (wrong_feedback_layout, "feedback.readers.getUnsubscribes"),
]


@pytest.mark.parametrize(
    ("configure", "named"), BAD_MANDATORS, ids=[configure.__name__ for configure, _ in BAD_MANDATORS]
)
def test_an_error_of_the_mandator_clears_none_of_its_lists(
    installation: Installation, configure: Callable[[Installation], None], named: str
) -> None:
    configure(installation)

    result = installation.run("nord")

    assert not result.success
    assert any(named in problem for problem in problems(result)), problems(result)
    assert installation.clears() == 0


@pytest.mark.parametrize("column", ["first_name", pytest.param("email", marks=pytest.mark.long)])
def test_a_row_with_text_that_is_not_utf8_is_left_out_and_reported(installation: Installation, column: str) -> None:
    write_latin_1(installation, column, "c1")

    result = installation.day("nord")

    assert installation.addresses() == [f"person{number}@example.org" for number in (2, 3, 4, 5)]
    if column == "first_name":
        utf8 = check(result, "utf8")
        assert (utf8.passed, utf8.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "1 row left out for text that isn't UTF-8 in the CRM (latin-1, perhaps); first_name in 1 row" in str(
            utf8.description
        )
        with installation.state() as state:
            assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("snapshot", "not_utf8"): 1}


def test_many_texts_that_are_not_utf8_stop_the_list_even_if_it_is_materialized_alone(
    installation: Installation,
) -> None:
    for number in range(10, 20):
        installation.add_contact(f"c{number}", f"person{number}@example.org")
    write_latin_1(installation, "first_name", *(f"c{number}" for number in range(10, 20)))

    result = installation.run("nord")

    assert not result.success
    assert any("10 rows left out for text that isn't UTF-8" in problem for problem in problems(result))
    alone = installation.run("nord", assets=[("nord", "newsletter_recipient_list")])
    assert "utf8: 10 rows left out" in problems(alone)[0]
    assert installation.addresses() == []


def test_feedback_rows_that_do_not_fit_are_counted_and_read_again_with_a_corrected_layout(
    installation: Installation,
) -> None:
    yesterday = str(int(datetime.now(UTC).timestamp() * 1000) - 86_400_000)
    installation.vendor.publish(NORD, "getUnsubscribes", [["1", "2"], ["person1@example.org", yesterday]])

    first = installation.run("nord")
    assert len(problems(first)) == 1
    assert "nord/suppression_state: layout – 1 row of getUnsubscribes can't be read" in problems(first)[0]
    assert installation.addresses()[0] == "person2@example.org"

    readers = {"getOutBounces": {}, "getUnsubscribes": {"header": True}}
    installation.settings["mandators"]["nord"]["feedback"] = {"readers": readers}
    assert problems(installation.day("nord")) == []


def test_no_address_or_name_reaches_the_event_log(installation: Installation) -> None:
    installation.add_contact("c6", "canary@example.org", first_name="Kanarienvogel\x07", last_name="Zwitscher\ufffd")
    installation.vendor.unsubscribe(8100, "person1@example.org")
    installation.vendor.fault("addAll3", "fault", times=99, arg="canary@example.org")

    result = installation.run("nord")

    log = "".join(str(event) for event in result.all_events).casefold()
    assert "incomplete" in log
    assert not [word for word in ("canary@", "kanarienvogel", "zwitscher", "person1@") if word in log]
