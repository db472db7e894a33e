"""Proofs compare recipient ids and addresses, if the vendor's list gives them out."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from campaign_sync.cli.check import check_everything
from campaign_sync.cli.run import problems
from campaign_sync.replacement import key_attributes
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.sandbox import recipient_service, web_services
from campaign_sync_tests.installation import ATTRIBUTES, NEWSLETTER, Installation
from campaign_sync_tests.scenarios.daily_run import CHAIN

carry_out = ListWriter.carry_out


def after_the_fill(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call `act` between the fill and the proof of the list."""

    def fill_then_act(*arguments: Any, **options: Any) -> object:
        codes = carry_out(*arguments, **options)
        act()
        return codes

    monkeypatch.setattr(ListWriter, "carry_out", fill_then_act)


def swap(installation: Installation, *columns: str) -> None:
    """Swap the values of these columns between two recipients at the vendor."""
    ids = ("person1@example.org", "person2@example.org")
    with installation.vendor.transaction() as database:
        rows = [
            database.execute(
                f"SELECT {', '.join(columns)} FROM recipient WHERE list_id = ? AND key = ?", [NEWSLETTER, key]
            ).fetchone()
            for key in ids
        ]
        positions = [
            database.execute(
                "SELECT position FROM recipient WHERE list_id = ? AND key = ?", [NEWSLETTER, key]
            ).fetchone()[0]
            for key in ids
        ]
        changes = ", ".join(f"{column} = ?" for column in columns)
        database.executemany(
            f"UPDATE recipient SET {changes} WHERE position = ?",
            [(*row, position) for row, position in zip(rows, reversed(positions), strict=True)],
        )


@pytest.mark.sample(1)
@pytest.mark.parametrize("column", ["address", "id"])
def test_two_recipients_whose_ids_or_addresses_are_swapped_are_not_equal(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    after_the_fill(monkeypatch, lambda: swap(installation, column))

    result = installation.run("nord", assets=CHAIN)

    assert not result.success
    assert any("3 equal, changed 2" in problem for problem in problems(result))


def respell_person(installation: Installation, column: str, spelling: str, number: int) -> None:
    with installation.vendor.transaction() as database:
        database.execute(
            f"UPDATE recipient SET {column} = ? WHERE list_id = ? AND key = ?",
            [spelling, NEWSLETTER, f"person{number}@example.org"],
        )


@pytest.mark.long
@pytest.mark.parametrize("column", ["address", "id"])
def test_the_same_mailbox_in_another_spelling_is_equal_and_another_mailbox_is_not(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    with installation.crm() as crm:
        crm.exec_driver_sql("UPDATE contact SET email = 'person6@bücher.example' WHERE id = 'c5'")

    def respell() -> None:
        respell_person(installation, column, "Person1@EXAMPLE.org", 1)
        with installation.vendor.transaction() as database:
            database.execute(
                f"UPDATE recipient SET {column} = 'person6@bücher.example' WHERE key = 'person6@xn--bcher-kva.example'"
            )

    after_the_fill(monkeypatch, respell)
    assert installation.run("nord", assets=CHAIN).success

    after_the_fill(monkeypatch, lambda: respell_person(installation, column, "person1@example.net", 1))
    assert any("4 equal, changed 1" in problem for problem in problems(installation.run("nord", assets=CHAIN)))


def test_the_attribute_names_are_found_on_the_first_day_of_an_empty_list(installation: Installation) -> None:
    installation.first_day()

    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
    assert proven is not None
    assert proven.proof == "5 equal"
    assert (proven.id_attribute, proven.address_attribute) == ("Recipient", "email")


def test_a_list_that_gives_out_neither_is_proven_without_them_and_the_proof_says_so(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_attributes, "ID_NAMES", ())
    monkeypatch.setattr(key_attributes, "ADDRESS_NAMES", ())

    installation.day()

    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
    assert proven is not None
    assert proven.proof == (
        "5 equal; recipient ids and addresses were not compared, because the vendor's list doesn't give them out"
    )
    assert proven.id_attribute is proven.address_attribute is None


@pytest.mark.sample(1)
@pytest.mark.parametrize("own", ["email", "Recipient"])
def test_an_attribute_of_the_list_with_such_a_name_is_not_used_for_it(installation: Installation, own: str) -> None:
    installation.vendor.add_list(8100, NEWSLETTER, "Newsletter", [*ATTRIBUTES, own])
    installation.list_settings()["attributes"] = {"Vorname": "first_name", own: "email"}

    installation.day()

    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
    assert proven is not None
    assert own not in (proven.id_attribute, proven.address_attribute)


@pytest.mark.long
def test_a_name_from_the_lists_attribute_names_is_found_in_either_language(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_attributes, "ID_NAMES", ("E.Mpfänger_ID",))
    page_operation, names_operation = ("Recipient", "getAllAdvanced"), ("RecipientList", "getAttributeNames")
    page, attribute_names = web_services.HANDLERS[page_operation], web_services.HANDLERS[names_operation]

    def page_under_another_name(caller: Any, recipient_list: Any, names: Any, *rest: Any) -> Any:
        return page(caller, recipient_list, ["Recipient" if name == "Empfänger-Id" else name for name in names], *rest)

    def attribute_names_with_ids(caller: Any, recipient_list: Any, locale: Any) -> list[str]:
        names: list[str] = attribute_names(caller, recipient_list, locale)  # type: ignore[assignment]
        return [*names, *(["Empfänger-Id"] if locale == "de" else [])]

    monkeypatch.setitem(web_services.HANDLERS, page_operation, page_under_another_name)
    monkeypatch.setitem(web_services.HANDLERS, names_operation, attribute_names_with_ids)

    installation.day()

    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
    assert proven is not None
    assert proven.id_attribute == "Empfänger-Id"


@pytest.mark.long
def test_names_are_tried_one_by_one_if_the_vendor_rejects_unknown_names(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = recipient_service.page

    def strict(caller: Any, recipient_list: Any, names: Any, *more: Any, **options: Any) -> Any:
        if unknown := [name for name in names if name not in (*recipient_list.attributes, "Empfänger", "email")]:
            raise caller.fault(f"Unknown attribute '{unknown[0]}'", recipientListId=recipient_list.list_id)
        known = ["Recipient" if name == "Empfänger" else name for name in names]
        return page(caller, recipient_list, known, *more, **options)

    operation = ("Recipient", "getAllAdvanced")
    monkeypatch.setitem(web_services.HANDLERS, operation, strict)

    installation.day()

    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
    assert proven is not None
    assert (proven.id_attribute, proven.address_attribute) == ("Empfänger", "email")


@pytest.mark.long
def test_the_differential_strategy_needs_no_id_attribute_if_the_ids_are_found(installation: Installation) -> None:
    installation.list_settings()["strategy"] = "differential"
    installation.first_day()
    installation.leave("person1@example.org")

    installation.day()

    assert installation.addresses() == [f"person{number}@example.org" for number in (2, 3, 4, 5)]
    assert not [call for call in installation.vendor.calls("clear") if call.list_id == NEWSLETTER]


def test_the_differential_strategy_is_refused_if_the_ids_are_not_found(installation: Installation) -> None:
    installation.list_settings()["strategy"] = "differential"
    installation.fill_by_hand(NEWSLETTER, [f"stranger{number}@example.com" for number in range(5)])

    result = installation.run("nord", assets=CHAIN)

    assert "mandators.nord.lists.newsletter.id_attribute" in problems(result)[0]
    assert len(installation.addresses()) == 5


def check_output(installation: Installation) -> str:
    output = io.StringIO()
    check_everything(installation.configuration, Console(file=output, width=400))
    return output.getvalue()


def test_check_shows_what_the_proofs_of_a_list_will_compare(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "gives out" not in check_output(installation), "it isn't known of an empty list yet"
    installation.fill_by_hand(NEWSLETTER, ["Some.Body@example.com"])

    assert "the list gives out recipient ids (as “Recipient”) and addresses (as “email”)" in check_output(installation)

    monkeypatch.setattr(key_attributes, "ID_NAMES", ())
    output = check_output(installation)
    assert "the list gives out addresses (as “email”), so proofs compare them" in output
    assert "the list doesn't give out recipient ids, so proofs don't compare them" in output
    assert "set mandators.nord.lists.newsletter.id_attribute" in output
