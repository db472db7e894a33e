"""Feedback rows that name the opt-in: one unsubscribe withdraws that one consent, and the others are kept."""

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
    """An installation whose vendor returns the technical fields; its lists were sent a moment ago."""
    return returning(installation)


def returning(installation: Installation, **columns: Any) -> Installation:
    installation.vendor.agree_on_response_fields(NORD, FIELDS)
    readers = {"getOutBounces": {}, "getUnsubscribes": COLUMNS | columns}
    installation.settings["mandators"]["nord"]["feedback"] = {"readers": readers}
    for section in installation.settings["mandators"]["nord"]["lists"].values():
        section["limits"] = {"max_shrink": 1}
    installation.day()
    return installation


def left(installation: Installation, *cells: str, address: str = BJOERN) -> None:
    """Publish that somebody left, with these cells after their address and the time."""
    installation.vendor.publish(NORD, "getUnsubscribes", [[address, epoch_ms(datetime.now(UTC)), *cells]])


def leave_when_looked_for(installation: Installation, monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    """Let Björn be on the vendor's list from the given look on, and no row tell of it."""
    looks: list[int] = []
    ask = Unsubscribes.contains_all

    def asked(this: Unsubscribes, ids: Any) -> list[bool]:
        looks.append(1)
        if len(looks) == which:
            installation.vendor.unsubscribe(NORD, BJOERN)
        return ask(this, ids)

    monkeypatch.setattr(Unsubscribes, "contains_all", asked)


@pytest.mark.two_lists
def test_one_unsubscribe_withdraws_the_one_opt_in_that_its_row_names(installation: Installation) -> None:
    installation.leave_through(NEWSLETTER, BJOERN)

    result = installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord")]
    assert BJOERN not in installation.addresses(NEWSLETTER)
    assert BJOERN not in installation.addresses(PRODUCTS), "the vendor mails them nothing of this mandator"
    assert rejections(installation, result.run_id, "newsletter") == {("selection", "unsubscribed"): 1}
    assert rejections(installation, result.run_id, "products") == {("gate", "on_unsubscribe_list"): 1}


@pytest.mark.two_lists
def test_neither_the_next_days_nor_the_audit_withdraw_what_was_kept(installation: Installation) -> None:
    installation.leave_through(NEWSLETTER, BJOERN)
    for _ in range(4):
        installation.day()

    found = audit(installation)

    assert withdrawals(installation) == [("c2", "newsletter-nord")]
    assert check(found, "complete").passed
    assert check(found, "agreed").passed, "that they left the other opt-in explains it"
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed")
    installation.day()
    assert BJOERN in installation.addresses(PRODUCTS), "the vendor mails them again"
    assert BJOERN not in installation.addresses(NEWSLETTER)


@pytest.mark.two_lists
def test_everybody_who_has_the_address_leaves_that_opt_in_and_no_other(installation: Installation) -> None:
    installation.add_contact("c9", " Person2@Example.org")
    installation.consent("c9", "products-nord", "granted", datetime(2026, 2, 1, tzinfo=UTC))
    installation.leave_through(NEWSLETTER, BJOERN)

    installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord"), ("c9", "newsletter-nord")]


@pytest.mark.two_lists
def test_the_record_named_leaves_though_its_address_is_another_by_now(installation: Installation) -> None:
    installation.leave_through(NEWSLETTER, BJOERN)
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")

    installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord")]
    assert "moved@example.org" not in installation.addresses(NEWSLETTER)
    assert "moved@example.org" in installation.addresses(PRODUCTS)


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
def test_blanks_case_and_missing_or_unknown_records_leave_the_opt_in_that_is_named(
    installation: Installation, cells: tuple[str, ...]
) -> None:
    left(installation, *cells)
    installation.day()
    assert withdrawals(installation) == [("c2", "newsletter-nord")]


def test_a_named_opt_in_finds_who_moved_by_the_lists_sent_where_the_record_isnt_known(
    installation: Installation,
) -> None:
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c2'")
    left(installation, "newsletter-nord", "contact", "erased")
    installation.day()
    assert withdrawals(installation) == [("c2", "newsletter-nord")]


@pytest.mark.two_lists
@pytest.mark.parametrize("cells", [("", "contact", "c2"), ("newsletter-sued", "contact", "c2"), ("?", "", ""), ()])
def test_without_a_known_opt_in_of_the_mandator_the_lists_that_were_sent_decide(
    installation: Installation, cells: tuple[str, ...]
) -> None:
    left(installation, *cells)
    result = installation.day()
    assert withdrawals(installation) == BOTH
    assert not check(result, "attributed").passed
    assert "0 of 1 rows of getUnsubscribes" in (check(result, "attributed").description or "")


@pytest.mark.two_lists
def test_who_left_two_opt_ins_leaves_two_and_on_later_days_too(installation: Installation) -> None:
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
    left(installation, "newsletter-nord", "contact", "c2")

    for _ in range(3):
        result = installation.day()

    assert withdrawals(installation) == []
    assert BJOERN in installation.addresses(PRODUCTS)
    assert not check(result, "matched").passed
    installation.consent("c2", "newsletter-nord", "granted", datetime(2026, 2, 1, tzinfo=UTC))
    installation.day()
    assert withdrawals(installation) == [("c2", "newsletter-nord")], "the consent came late, and is older"


@pytest.mark.two_lists
def test_files_whose_header_lacks_the_fields_are_read_like_those_that_have_them(installation: Installation) -> None:
    names = {"recipient": "mail", "time": "at", "opt_in_id": "opt-in-id", "entity_type": "kind", "entity_id": "id"}
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getUnsubscribes"] = names
    moment = epoch_ms(datetime.now(UTC))
    with_fields = [["id", "mail", "at", "opt-in-id", "kind"], ["c2", BJOERN, moment, "newsletter-nord", "contact"]]
    installation.vendor.publish(
        NORD, "getUnsubscribes", [*with_fields, ["mail", "at"], ["person3@example.org", moment]]
    )

    installation.day()

    assert withdrawals(installation) == [("c2", "newsletter-nord"), ("c3", "newsletter-nord"), ("c3", "products-nord")]


@pytest.mark.two_lists
def test_of_two_readers_that_tell_of_one_moment_the_row_with_the_opt_in_counts(installation: Installation) -> None:
    readers = installation.settings["mandators"]["nord"]["feedback"]["readers"]
    readers["getMailingUnsubscribes"] = {"recipient": 0, "mailing": 1, "time": 2}
    moment = epoch_ms(datetime.now(UTC))
    installation.vendor.add_mailing(NORD, 777001, "To both", status="DONE", list_ids=[NEWSLETTER, PRODUCTS])
    installation.vendor.publish(NORD, "getMailingUnsubscribes", [[BJOERN, "777001", moment]])
    installation.vendor.publish(NORD, "getUnsubscribes", [[BJOERN, moment, "products-nord", "contact", "c2"]])

    installation.day()

    assert withdrawals(installation) == [("c2", "products-nord")]


@pytest.mark.two_lists
def test_a_row_that_names_nothing_is_its_own_though_another_of_that_day_named_an_opt_in(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getUnsubscribes"]["time_format"] = "%d.%m.%Y"
    today = f"{datetime.now(UTC):%d.%m.%Y}"
    for cells in (["newsletter-nord", "contact", "c2"], ["", "", ""]):
        installation.vendor.publish(NORD, "getUnsubscribes", [[BJOERN, today, *cells]])
        installation.day()
    assert withdrawals(installation) == BOTH


@pytest.mark.two_lists
def test_a_row_of_another_reader_is_explained_by_the_one_that_named_the_opt_in_before(
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
def test_a_bounce_with_the_fields_is_of_the_address_all_the_same(installation: Installation) -> None:
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


@pytest.mark.two_lists
@pytest.mark.parametrize("look", [1, 2])
def test_who_is_found_on_the_vendors_list_is_dropped_at_once_and_the_consent_waits_for_its_row(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    leave_when_looked_for(installation, monkeypatch, look)
    installation.day()
    monkeypatch.undo()
    assert BJOERN not in installation.addresses(NEWSLETTER)
    assert withdrawals(installation) == []

    left(installation, "products-nord", "contact", "c2")
    result = installation.day()
    assert withdrawals(installation) == [("c2", "products-nord")]
    assert rejections(installation, result.run_id, "newsletter") == {("gate", "on_unsubscribe_list"): 1}


@pytest.mark.two_lists
def test_meanwhile_they_stay_out_of_all_lists_with_a_reason_that_says_so(installation: Installation) -> None:
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
def test_if_no_row_has_come_after_two_imports_the_lists_that_were_sent_decide(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    for _ in range(2):
        installation.day()
        assert withdrawals(installation) == []

    result = installation.day()

    assert withdrawals(installation) == BOTH
    metadata = result.asset_materializations_for_node("nord__suppression_state")[0].metadata
    assert metadata["opt-outs whose row didn't come"].value == 1
    assert metadata["opt-outs whose row is awaited"].value == 0


def test_where_feedback_comes_hourly_two_of_its_imports_are_not_what_the_vendors_daily_export_takes(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["feedback"]["schedule"] = "15 * * * *"
    installation.vendor.unsubscribe(NORD, BJOERN)
    for _ in range(4):
        installation.day()
    assert withdrawals(installation) == []


def test_a_look_that_is_repeated_within_one_import_isnt_another_import(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    replace = [("nord", "newsletter_recipient_list")]
    installation.day()
    for _ in range(3):
        assert installation.run(assets=replace).success
    installation.run(assets=FEEDBACK)
    assert withdrawals(installation) == []


@pytest.mark.two_lists
def test_who_consents_anew_while_it_is_awaited_is_picked_again_and_the_vendor_decides(
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
    told = check(audit(installation), "complete").description or ""
    assert "1 had left and the CRM didn't know; they are kept out of all lists" in told
    assert withdrawals(installation) == []

    installation.leave_through(PRODUCTS, BJOERN)
    installation.day()
    assert withdrawals(installation) == [("c2", "products-nord")]
    assert check(audit(installation), "complete").passed


@pytest.mark.two_lists
def test_who_waited_is_decided_at_once_where_rows_name_no_opt_ins_any_more(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    installation.day()
    installation.settings["mandators"]["nord"]["feedback"]["readers"]["getUnsubscribes"] = {}

    installation.day()

    assert withdrawals(installation) == BOTH


def printed(show: Callable[[Console], None]) -> str:
    text = io.StringIO()
    show(Console(file=text, width=400))
    return text.getvalue()


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
    left(installation, *cells)
    installation.run(assets=FEEDBACK)

    why = printed(lambda console: print_why(installation.configuration, "contact:c2", console))
    proof = printed(
        lambda console: print_proof(installation.configuration, BJOERN, [("nord", "newsletter")], None, console)
    )

    assert re.search(rf"withdrawn [^\n]+ \(optimizely:unsubscribes\), event \S+, {meaning} *\n", why)
    assert re.search(rf"withdrawn [^\n]+, because of row 1 of feedback/nord/getUnsubscribes/\S+, {meaning} *\n", proof)
    with installation.crm() as crm:
        evidence = crm.exec_driver_sql("SELECT evidence FROM consent_event WHERE kind = 'withdrawn'").scalars().first()
    assert evidence == f"unsubscribed from mandator nord in Optimizely Campaign, {meaning}"


def test_why_says_that_somebody_is_on_the_vendors_list_and_that_the_row_is_awaited(installation: Installation) -> None:
    installation.vendor.unsubscribe(NORD, BJOERN)
    installation.day()

    why = printed(lambda console: print_why(installation.configuration, BJOERN, console))

    assert "gate: on the vendor's unsubscribe list, which keeps them out of all of the mandator's lists" in why
    assert "which consent they withdrew isn't known until the feedback row has come" in why


def test_a_record_whose_id_differs_in_case_alone_is_another_person(installation: Installation) -> None:
    installation.add_contact("0015A", "other@example.org")
    left(installation, "newsletter-nord", "contact", "0015a", address="gone@example.org")

    installation.day()

    assert "other@example.org" in installation.addresses(NEWSLETTER)


@pytest.mark.two_lists
def test_those_whom_the_gate_drops_every_day_make_no_list_grow(installation: Installation) -> None:
    for address in ("person1@example.org", BJOERN):
        installation.leave_through(NEWSLETTER, address)
    for _ in range(3):
        result = installation.run()
        assert result.success, problems(result)
        assert len(installation.addresses(PRODUCTS)) == 3
    with installation.state() as state:
        assert state.recipient_lists.partial_fills("nord") == {}
