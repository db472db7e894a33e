"""Feedback rows that name the opt-in: an unsubscribe withdraws that consent, and the others are kept."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from campaign_sync.cli.prove import print_proof
from campaign_sync.cli.run import problems
from campaign_sync.cli.why import print_why
from campaign_sync.optimizely.services import Unsubscribes
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, Installation, epoch_ms
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, audit, check, rejections, withdrawals

BJOERN = "person2@example.org"
FIELDS = ["opt-in-id", "entity-type", "entity-id"]
COLUMNS = {"opt_in_id": 2, "entity_type": 3, "entity_id": 4}
BOTH = [("c2", "newsletter-nord"), ("c2", "products-nord")]


@pytest.fixture
def installation(installation: Installation) -> Installation:
    """Return an installation whose vendor returns the technical fields, and whose lists were just replaced."""
    installation.vendor.agree_on_response_fields(NORD, FIELDS)
    readers = {"getOutBounces": {}, "getUnsubscribes": dict(COLUMNS)}
    installation.settings["mandators"]["nord"]["feedback"] = {"readers": readers}
    for section in installation.settings["mandators"]["nord"]["lists"].values():
        section["limits"] = {"max_shrink": 1}
    installation.first_day()
    return installation


def publish_unsubscribe(installation: Installation, *cells: str, address: str = BJOERN) -> None:
    """Publish an unsubscribe row with these cells after the address and the time."""
    installation.vendor.publish(NORD, "getUnsubscribes", [[address, epoch_ms(datetime.now(UTC)), *cells]])


def unsubscribe_at_query(installation: Installation, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Unsubscribe Björn at the vendor, without a row, right before the unsubscribe list is queried that often."""
    queries: list[int] = []
    contains_all = Unsubscribes.contains_all

    def unsubscribe_and_query(this: Unsubscribes, ids: Any) -> list[bool]:
        queries.append(1)
        if len(queries) == number:
            installation.vendor.unsubscribe(NORD, BJOERN)
        return contains_all(this, ids)

    monkeypatch.setattr(Unsubscribes, "contains_all", unsubscribe_and_query)


@pytest.mark.two_lists
def test_an_unsubscribe_withdraws_the_opt_in_that_its_row_names(installation: Installation) -> None:
    installation.leave_through(NEWSLETTER, BJOERN)

    result = installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord")]
    assert BJOERN not in installation.addresses(NEWSLETTER)
    assert BJOERN not in installation.addresses(PRODUCTS), "the vendor mails them nothing of this mandator"
    assert rejections(installation, result.run_id, "newsletter") == {("selection", "unsubscribed"): 1}
    assert rejections(installation, result.run_id, "products") == {("gate", "on_unsubscribe_list"): 1}


@pytest.mark.long
@pytest.mark.two_lists
def test_neither_the_next_days_nor_the_audit_withdraw_the_other_consents(installation: Installation) -> None:
    installation.leave_through(NEWSLETTER, BJOERN)
    for _ in range(4):
        installation.day()

    result = audit(installation)

    assert withdrawals(installation) == [("c2", "newsletter-nord")]
    assert check(result, "complete").passed
    assert check(result, "agreed").passed, "that they left the other opt-in explains it"
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed")
    installation.day()
    assert BJOERN in installation.addresses(PRODUCTS), "the vendor mails them again"
    assert BJOERN not in installation.addresses(NEWSLETTER)


@pytest.mark.long
@pytest.mark.two_lists
def test_all_records_with_the_address_are_withdrawn_from_that_opt_in_and_no_other(installation: Installation) -> None:
    installation.add_contact("c9", " Person2@Example.org")
    installation.consent("c9", "products-nord", "granted", datetime(2026, 2, 1, tzinfo=UTC))
    installation.leave_through(NEWSLETTER, BJOERN)

    installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord"), ("c9", "newsletter-nord")]


@pytest.mark.two_lists
def test_the_record_that_a_row_names_is_withdrawn_although_its_address_has_changed(installation: Installation) -> None:
    installation.leave_through(NEWSLETTER, BJOERN)
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")

    installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord")]
    assert "moved@example.org" not in installation.addresses(NEWSLETTER)
    assert "moved@example.org" in installation.addresses(PRODUCTS)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "cells",
    [
        (" Newsletter-NORD ", "Contact ", " C2"),
        ("newsletter-nord", "", ""),
        ("newsletter-nord", "contact", "erased"),
        ("newsletter-nord", "person", "c2"),
        ("newsletter-nord", "", "c2"),
        ("newsletter-nord",),
    ],
)
def test_the_opt_in_of_a_row_is_withdrawn_despite_blanks_case_and_missing_or_unknown_records(
    installation: Installation, cells: tuple[str, ...]
) -> None:
    publish_unsubscribe(installation, *cells)
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == [("c2", "newsletter-nord")]


def test_a_row_with_an_unknown_record_is_attributed_by_the_lists_that_were_sent(
    installation: Installation,
) -> None:
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")
    publish_unsubscribe(installation, "newsletter-nord", "contact", "erased")
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == [("c2", "newsletter-nord")]


@pytest.mark.sample(1)
@pytest.mark.two_lists
@pytest.mark.parametrize("cells", [("", "contact", "c2"), ("newsletter-sued", "contact", "c2"), ("?", "", ""), ()])
def test_without_a_known_opt_in_the_lists_that_were_sent_decide(
    installation: Installation, cells: tuple[str, ...]
) -> None:
    publish_unsubscribe(installation, *cells)
    result = installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == BOTH
    assert not check(result, "attributed").passed
    assert "0 of 1 rows of getUnsubscribes" in (check(result, "attributed").description or "")


@pytest.mark.long
@pytest.mark.two_lists
def test_two_rows_of_one_moment_withdraw_two_opt_ins_even_on_different_days(installation: Installation) -> None:
    moment = epoch_ms(datetime.now(UTC))
    rows = [[BJOERN, moment, "newsletter-nord", "contact", "c2"], [BJOERN, moment, "products-nord", "contact", "c2"]]
    installation.vendor.publish(NORD, "getUnsubscribes", rows[:1])
    installation.day()
    assert withdrawals(installation) == BOTH[:1]

    installation.vendor.publish(NORD, "getUnsubscribes", rows[1:])
    installation.day()
    assert withdrawals(installation) == BOTH


@pytest.mark.two_lists
def test_an_unmatched_unsubscribe_of_one_opt_in_never_withdraws_another(installation: Installation) -> None:
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM consent_event WHERE entity_id = 'c2' AND opt_in_id = 'newsletter-nord'")
    publish_unsubscribe(installation, "newsletter-nord", "contact", "c2")

    installation.run(assets=FEEDBACK)
    result = installation.day()

    assert withdrawals(installation) == []
    assert BJOERN in installation.addresses(PRODUCTS)
    assert not check(result, "matched").passed
    installation.consent("c2", "newsletter-nord", "granted", datetime(2026, 2, 1, tzinfo=UTC))
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == [("c2", "newsletter-nord")], "the consent came late, and is older"


@pytest.mark.two_lists
def test_files_whose_header_lacks_the_fields_are_attributed_by_the_lists_sent(installation: Installation) -> None:
    names = {"recipient": "mail", "time": "at", "opt_in_id": "opt-in-id", "entity_type": "kind", "entity_id": "id"}
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getUnsubscribes"] = names
    moment = epoch_ms(datetime.now(UTC))
    with_fields = [["id", "mail", "at", "opt-in-id", "kind"], ["c2", BJOERN, moment, "newsletter-nord", "contact"]]
    installation.vendor.publish(
        NORD, "getUnsubscribes", [*with_fields, ["mail", "at"], ["person3@example.org", moment]]
    )

    installation.run(assets=FEEDBACK)

    assert withdrawals(installation) == [("c2", "newsletter-nord"), ("c3", "newsletter-nord"), ("c3", "products-nord")]


@pytest.mark.two_lists
def test_of_two_readers_with_the_same_unsubscribe_the_row_with_the_opt_in_counts(installation: Installation) -> None:
    readers = installation.settings["mandators"]["nord"]["feedback"]["readers"]
    readers["getMailingUnsubscribes"] = {"recipient": 0, "mailing": 1, "time": 2}
    moment = epoch_ms(datetime.now(UTC))
    installation.vendor.add_mailing(NORD, 777001, "To both", status="DONE", list_ids=[NEWSLETTER, PRODUCTS])
    installation.vendor.publish(NORD, "getMailingUnsubscribes", [[BJOERN, "777001", moment]])
    installation.vendor.publish(NORD, "getUnsubscribes", [[BJOERN, moment, "products-nord", "contact", "c2"]])

    installation.run(assets=FEEDBACK)

    assert withdrawals(installation) == [("c2", "products-nord")]


@pytest.mark.long
@pytest.mark.two_lists
def test_a_row_without_an_opt_in_counts_although_another_row_of_that_day_named_one(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getUnsubscribes"]["time_format"] = "%d.%m.%Y"
    today = f"{datetime.now(UTC):%d.%m.%Y}"
    for cells in (["newsletter-nord", "contact", "c2"], ["", "", ""]):
        installation.vendor.publish(NORD, "getUnsubscribes", [[BJOERN, today, *cells]])
        installation.day()
    assert withdrawals(installation) == BOTH


@pytest.mark.long
@pytest.mark.two_lists
def test_a_row_of_another_reader_withdraws_nothing_more_than_the_row_with_the_opt_in(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getMailingUnsubscribes"] = {"mailing": 2}
    moment = epoch_ms(datetime.now(UTC))
    installation.vendor.publish(NORD, "getUnsubscribes", [[BJOERN, moment, "products-nord", "contact", "c2"]])
    installation.day()
    installation.vendor.publish(NORD, "getMailingUnsubscribes", [[BJOERN, moment, "777001"]])
    installation.day()
    assert withdrawals(installation) == [("c2", "products-nord")]


@pytest.mark.two_lists
def test_a_bounce_with_the_fields_still_concerns_the_address(installation: Installation) -> None:
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getOutBounces"] = COLUMNS
    rows = [
        [BJOERN, epoch_ms(datetime.now(UTC)), "newsletter-nord", "contact", "c4"],
        ["person3@example.org", epoch_ms(datetime.now(UTC))],
    ]
    installation.vendor.publish(NORD, "getOutBounces", rows)

    installation.day()

    assert (
        installation.addresses(PRODUCTS)
        == installation.addresses()
        == [f"person{number}@example.org" for number in (1, 4, 5)]
    )
    assert withdrawals(installation) == []


@pytest.mark.sample(1)
@pytest.mark.two_lists
@pytest.mark.parametrize("query", [1, 2])
def test_a_person_on_the_vendors_list_is_not_sent_and_the_withdrawal_waits_for_the_row(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, query: int
) -> None:
    unsubscribe_at_query(installation, monkeypatch, query)
    installation.day()
    monkeypatch.undo()
    assert BJOERN not in installation.addresses(NEWSLETTER)
    assert withdrawals(installation) == []

    publish_unsubscribe(installation, "products-nord", "contact", "c2")
    result = installation.day()
    assert withdrawals(installation) == [("c2", "products-nord")]
    assert rejections(installation, result.run_id, "newsletter") == {("gate", "on_unsubscribe_list"): 1}


@pytest.mark.two_lists
def test_people_whose_row_is_awaited_stay_out_of_all_lists_with_this_reason(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    first = installation.day()
    assert rejections(installation, first.run_id, "newsletter") == {("gate", "on_unsubscribe_list"): 1}

    second = installation.day()

    for name, list_id in (("newsletter", NEWSLETTER), ("products", PRODUCTS)):
        assert rejections(installation, second.run_id, name) == {("selection", "on_unsubscribe_list"): 1}
        assert BJOERN not in installation.addresses(list_id)
    assert withdrawals(installation) == []
    metadata = second.asset_materializations_for_node("nord__suppression_state")[0].metadata
    assert metadata["opt-outs whose row is awaited"].value == 1


@pytest.mark.two_lists
def test_the_lists_that_were_sent_decide_if_no_row_has_come_after_two_imports(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    installation.day()
    assert withdrawals(installation) == []
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == []

    result = installation.run(assets=FEEDBACK)

    assert withdrawals(installation) == BOTH
    metadata = result.asset_materializations_for_node("nord__suppression_state")[0].metadata
    assert metadata["opt-outs whose row didn't come"].value == 1
    assert metadata["opt-outs whose row is awaited"].value == 0


@pytest.mark.long
def test_with_hourly_imports_the_row_is_awaited_for_more_than_two_imports(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"]["schedule"] = "15 * * * *"
    installation.vendor.unsubscribe(NORD, BJOERN)
    for _ in range(4):
        installation.day()
    assert withdrawals(installation) == []


def test_replacements_without_an_import_do_not_shorten_the_wait_for_the_row(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    replace = [("nord", "newsletter_recipient_list")]
    installation.day()
    for _ in range(3):
        assert installation.run(assets=replace).success
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == []


@pytest.mark.two_lists
def test_a_person_who_consents_again_while_the_row_is_awaited_is_sent_unless_the_vendor_has_them(
    installation: Installation,
) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    installation.day()
    installation.consent("c2", "newsletter-nord", "granted", datetime.now(UTC) + timedelta(seconds=1))
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed")

    installation.day()

    assert BJOERN in installation.addresses(NEWSLETTER)
    assert BJOERN not in installation.addresses(PRODUCTS)


@pytest.mark.two_lists
def test_the_audit_waits_for_the_row_as_well_and_says_so(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    description = check(audit(installation), "complete").description or ""
    assert "1 had left and the CRM didn't know; they are kept out of all lists" in description
    assert withdrawals(installation) == []

    installation.leave_through(PRODUCTS, BJOERN)
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == [("c2", "products-nord")]
    assert check(audit(installation), "complete").passed


@pytest.mark.long
@pytest.mark.two_lists
def test_awaited_rows_are_given_up_if_rows_no_longer_name_opt_ins(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    installation.day()
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getUnsubscribes"] = {}

    installation.day()

    assert withdrawals(installation) == BOTH


def output_of(show: Callable[[Console], None]) -> str:
    text = io.StringIO()
    show(Console(file=text, width=400))
    return text.getvalue()


@pytest.mark.long
@pytest.mark.parametrize(
    ("cells", "meaning"),
    [
        (
            ["newsletter-nord", "contact", "c2"],
            "attributed by the opt-in id and the record that the feedback row names",
        ),
        (["newsletter-nord"], "attributed by the opt-in id that the feedback row names, and by the address"),
        ([], "attributed by the lists that the recipient was in, from the snapshots sent"),
    ],
)
def test_why_and_prove_say_how_a_withdrawal_was_attributed(
    installation: Installation, cells: list[str], meaning: str
) -> None:
    publish_unsubscribe(installation, *cells)
    installation.run(assets=FEEDBACK)

    why = output_of(lambda console: print_why(installation.configuration, "contact:c2", console))
    proof = output_of(
        lambda console: print_proof(installation.configuration, BJOERN, [("nord", "newsletter")], None, console)
    )

    event = r"withdrawn [^\n]+, event \S+ \(optimizely:unsubscribes\)"
    because = rf"because of row 1 of feedback/nord/getUnsubscribes/\S+, {meaning} *\n"
    assert re.search(f"{event}, {because}", why)
    assert re.search(f"{event}, {because}", proof)
    with installation.crm() as crm:
        evidence = crm.exec_driver_sql("SELECT evidence FROM consent_event WHERE kind = 'withdrawn'").scalars().first()
    assert evidence == f"unsubscribed from mandator nord in Optimizely Campaign, {meaning}"


@pytest.mark.long
def test_why_says_that_a_person_is_on_the_vendors_list_and_that_the_row_is_awaited(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    installation.day()

    why = output_of(lambda console: print_why(installation.configuration, BJOERN, console))

    assert "gate: on the vendor's unsubscribe list, which keeps them out of all of the mandator's lists" in why
    assert "which consent they withdrew isn't known until the feedback row has come" in why


def test_a_record_whose_id_differs_only_in_case_is_another_person(installation: Installation) -> None:
    installation.add_contact("0015A", "other@example.org")
    publish_unsubscribe(installation, "newsletter-nord", "contact", "0015a", address="gone@example.org")

    installation.day()

    assert "other@example.org" in installation.addresses(NEWSLETTER)


@pytest.mark.long
@pytest.mark.two_lists
def test_people_whom_the_preflight_rejects_every_day_do_not_count_as_growth(installation: Installation) -> None:
    for address in ("person1@example.org", BJOERN):
        installation.leave_through(NEWSLETTER, address)
    for _ in range(3):
        result = installation.run()
        assert result.success, problems(result)
        assert len(installation.addresses(PRODUCTS)) == 3
    with installation.state() as state:
        assert state.view().of_list("nord", "newsletter").partial_fill is None
