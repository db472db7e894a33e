"""A mandator's first day, from the CRM to the proven list."""

import dagster as dg
import pytest

from campaign_sync.domain.checks import CHECK_NAMES
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, PRODUCTS, SUED_NEWSLETTER, Installation


@pytest.mark.smoke
@pytest.mark.two_lists
def test_the_daily_job_fills_all_lists_of_its_mandator_and_no_other(installation: Installation) -> None:
    installation.day("nord")

    assert installation.addresses(NEWSLETTER) == installation.addresses(PRODUCTS) == ADDRESSES
    assert installation.addresses(SUED_NEWSLETTER) == []


def test_every_recipient_carries_the_technical_fields_and_the_lists_attributes(installation: Installation) -> None:
    installation.day("nord")

    (first, *_) = sorted(installation.vendor.recipients(NEWSLETTER), key=lambda recipient: recipient["id"])
    assert first["address"] == "person1@example.org"
    assert first["attributes"] == {
        "opt-in-id": "newsletter-nord",
        "description": "News",
        "media-type": "email",
        "entity-type": "contact",
        "entity-id": "c1",
        "Vorname": "Änne",
        "Nachname": "Groß",
        "Ort": "Köln",
    }


def test_recipients_whom_another_user_added_are_removed(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, [*ADDRESSES[:4], "stranger@example.com"])

    installation.day("nord")
    assert installation.addresses() == ADDRESSES


def test_names_and_addresses_are_normalized(installation: Installation) -> None:
    installation.add_contact(
        "c6", "  Frauke@MÜLLER-Beispiel.example ", first_name=" Mu\u0308ller\r\n", city="Zu\u0308rich 🚲"
    )

    installation.day("nord")
    recipients = installation.vendor.recipients(NEWSLETTER)
    (frauke,) = [recipient for recipient in recipients if recipient["id"].startswith("frauke")]
    assert frauke["id"] == frauke["address"] == "frauke@xn--mller-beispiel-gsb.example"
    assert (frauke["attributes"]["Vorname"], frauke["attributes"]["Ort"]) == ("Müller", "Zürich 🚲")


def test_every_check_and_the_counts_are_in_dagsters_event_log_and_in_the_journal_after_one_login(
    installation: Installation,
) -> None:
    result = installation.day("nord")

    checks = {(*check.asset_key.path[1:], check.check_name) for check in result.get_asset_check_evaluations()}
    assert {("newsletter_snapshot", name) for name in CHECK_NAMES} <= checks
    assert ("newsletter_recipient_list", "proof") in checks
    metadata = _metadata(result, "nord", "newsletter_recipient_list")
    assert {name: metadata[name].value for name in ("sent", "accepted", "refused", "in list", "proof")} == {
        "sent": 5,
        "accepted": 5,
        "refused": 0,
        "in list": 5,
        "proof": "5 equal",
    }
    with installation.state() as state:
        replace = state.replacements.of_run(result.run_id, "newsletter")
    assert replace is not None
    assert replace.state is ReplacementState.PROVEN
    assert replace.finished_at
    assert replace.cleared_at
    assert replace.started_at <= replace.cleared_at <= replace.finished_at
    assert (replace.sent, replace.accepted, replace.in_list, replace.proof) == (5, 5, 5, "5 equal")
    assert len(installation.vendor.calls("login")) == len(installation.vendor.calls("logout")) == 1


def _metadata(result: dg.ExecuteInProcessResult, *key: str) -> dict[str, dg.MetadataValue]:
    return next(
        dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(list(key))
    )
