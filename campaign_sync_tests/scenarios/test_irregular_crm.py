"""Irregular data in the CRM: irregularities of a few people stop nothing, those of many stop the list."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.sandbox import web_services
from campaign_sync_tests.installation import LONG_AGO, NEWSLETTER, PRODUCTS, Installation

YESTERDAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def proven(installation: Installation) -> Installation:
    """Return an installation with thirty people in the newsletter, which was replaced once."""
    installation.settings["crm"]["consent_kinds"] = {"withdrawn": ["Revoked"], "ignored": ["requested"]}
    for number in range(6, 31):
        installation.add_contact(f"c{number}", f"person{number}@example.org")
    installation.day()
    return installation


def add_event(crm: Connection, number: int, entity_type: str, entity_id: str, opt_in_id: str, kind: str) -> None:
    columns = "id, entity_type, entity_id, opt_in_id, kind, occurred_at"
    values = (f"odd{number}", entity_type, entity_id, opt_in_id, kind, YESTERDAY)
    crm.exec_driver_sql(f"INSERT INTO consent_event ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)


@pytest.mark.two_lists
def test_the_irregularities_of_an_ordinary_day_stop_nothing(proven: Installation) -> None:
    with proven.crm() as crm:
        for erased in ("c28", "c29"):
            crm.exec_driver_sql("DELETE FROM contact WHERE id = ?", (erased,))
        # A lead that has become a contact is a member of the list under both names.
        crm.execute(schema.lead.insert().values(id="c27", email="person27@example.org"))
        member = {"marketing_list_id": "nord", "entity_type": "lead", "entity_id": "c27"}
        crm.execute(schema.marketing_list_member.insert().values(member))
        add_event(crm, 1, "lead", "c27", "newsletter-nord", "withdrawn")
        crm.exec_driver_sql("DELETE FROM lead WHERE id = 'c27'")
        add_event(crm, 2, "contact", "c6", "newsletter-nord", "requested")
        add_event(crm, 3, "Contact", "c7", "newsletter-nord ", " CONFIRMED")
        add_event(crm, 4, "contact", "c8", "newsletter-nord", "revoked")
        add_event(crm, 5, "contact", "c9", "newsletter-nord", "maybe")
        crm.execute(
            schema.marketing_list_member.insert().values(marketing_list_id="nord", entity_type="user", entity_id="u1")
        )

    result = proven.day()

    expected = {f"person{number}@example.org" for number in range(1, 31)} - {
        f"person{number}@example.org" for number in (8, 9, 28, 29)
    }
    assert set(proven.addresses(NEWSLETTER)) == expected
    assert len(proven.addresses(PRODUCTS)) == 5
    with proven.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {
            ("selection", "consent_withdrawn"): 2,
            ("selection", "consent_unclear"): 1,
            ("selection", "no_address"): 2,
            ("selection", "unknown_entity_type"): 1,
        }
    (consents,) = (
        check
        for check in result.get_asset_check_evaluations()
        if check.check_name == "consents" and check.asset_key.path[-1] == "newsletter_selection"
    )
    assert "1 in consent_event.kind" in (consents.description or "")
    assert "1 only without regard to blanks and case" in (consents.description or "")


@pytest.mark.two_lists
@pytest.mark.parametrize("assets", [None, [["nord", "newsletter_recipient_list"]]])
def test_unknown_consent_events_of_many_people_stop_the_list_before_it_is_touched(
    proven: Installation, assets: list[list[str]] | None
) -> None:
    before, clears = proven.addresses(NEWSLETTER), proven.clears()
    with proven.crm() as crm:
        for number in range(6, 16):
            add_event(crm, number, "contact", f"c{number}", "newsletter-nord", "abgemeldet")

    result = proven.run(assets=assets)

    assert not result.success or assets is None
    assert proven.addresses(NEWSLETTER) == before
    checks = [check for check in result.get_asset_check_evaluations() if check.check_name == "consents"]
    messages = " ".join([*problems(result), *(check.description or "" for check in checks)])
    assert "“abgemeldet” 10 times" in messages
    assert "crm.consent_kinds" in messages
    if assets:
        assert proven.clears() == clears
    else:
        assert proven.clears() == clears + 1  # the other list's
        assert len(proven.addresses(PRODUCTS)) == 5


@pytest.mark.long
def test_an_opt_in_without_a_description_says_so(proven: Installation) -> None:
    with proven.crm() as crm:
        crm.exec_driver_sql("UPDATE opt_in SET description = ' ' WHERE opt_in_id = 'newsletter-nord'")
    before = proven.addresses(NEWSLETTER)

    result = proven.run()

    assert "the CRM's opt-in 'newsletter-nord' has no description (opt_in.description)" in problems(result)[0]
    assert proven.addresses(NEWSLETTER) == before


def test_a_snapshot_is_not_sent_to_people_with_an_unknown_consent_event(proven: Installation) -> None:
    proven.consent("c6", "newsletter-nord", "maybe", LONG_AGO + timedelta(days=1))
    result = proven.run(assets=[["nord", "newsletter_recipient_list"]])
    assert result.success, problems(result)
    assert "person6@example.org" not in proven.addresses(NEWSLETTER)
    with proven.state() as state:
        assert sum(state.rejections.counts(result.run_id, "nord", "newsletter").values()) == 1


def test_unknown_consent_events_that_appear_during_the_fill_empty_no_list(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6, 13):
        installation.add_contact(f"c{number}", f"person{number}@example.org")
    clear = web_services.HANDLERS["Recipient", "clear"]
    loaded: list[int] = []

    def clear_and_load(caller: Any, recipient_list: Any) -> Any:
        if recipient_list.list_id == NEWSLETTER and not loaded:
            loaded.append(NEWSLETTER)
            for number in range(1, 13):
                installation.consent(f"c{number}", "newsletter-nord", "opt-in renewed", datetime.now(UTC))
        return clear(caller, recipient_list)

    monkeypatch.setitem(web_services.HANDLERS, ("Recipient", "clear"), clear_and_load)

    installation.day()

    assert loaded
    assert len(installation.addresses(NEWSLETTER)) == 12
