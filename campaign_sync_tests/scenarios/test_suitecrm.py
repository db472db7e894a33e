"""Days with a SuiteCRM in MariaDB: its own consents count, and its own flags are written."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from campaign_sync.cli.check import check_everything
from campaign_sync_tests.crm.test_suitecrm import CONFIRMED, SuiteCrm
from campaign_sync_tests.installation import NORD, Installation, epoch_ms
from campaign_sync_tests.test_cli import campaign_sync

PEOPLE: dict[str, dict[str, object]] = {
    "anna@example.org": {"confirm_opt_in": "confirmed-opt-in", "confirm_opt_in_date": CONFIRMED.replace(tzinfo=None)},
    "Ben.Müller@example.org": {"confirm_opt_in": "opt-in"},
    "ben.muller@example.org": {"confirm_opt_in": "opt-in"},
    "left@example.org": {"confirm_opt_in": "opt-in", "opt_out": 1},
    "neither@example.org": {},
}


@pytest.fixture
def suite(installation: Installation, mariadb_url: str) -> SuiteCrm:
    """Give the installation a SuiteCRM with the target list `Newsletter Nord`."""
    opt_ins = {"newsletter-nord": {"mandator": "nord", "description": "Newsletter"}}
    suite = SuiteCrm(mariadb_url, opt_ins=opt_ins)
    news = suite.add("prospect_lists", name="Newsletter Nord", list_type="default")
    for email, values in PEOPLE.items():
        record = suite.person("contacts", email, of_address=values)
        suite.add("prospect_lists_prospects", prospect_list_id=news, related_id=record, related_type="Contacts")
    installation.settings["crm"] = {
        "url": mariadb_url,
        "preset": "suitecrm",
        "opt_ins": opt_ins,
        "people_max_age": "1s",
    }
    del installation.settings["mandators"]["sued"]
    newsletter = installation.list_settings()
    newsletter["attributes"] = {"Vorname": "first_name", "Ort": "primary_address_city"}
    newsletter["limits"] = {"max_shrink": 1, "max_growth": 10}
    installation.settings["mandators"]["nord"]["lists"] = {"newsletter": newsletter}
    return suite


def test_the_crms_own_opt_outs_and_the_vendors_unsubscribes_keep_people_out(
    installation: Installation, suite: SuiteCrm
) -> None:
    installation.day()
    assert installation.addresses() == ["anna@example.org", "ben.muller@example.org", "ben.müller@example.org"]

    suite.run("UPDATE email_addresses SET opt_out = 1 WHERE email_address = 'anna@example.org'")
    installation.leave("ben.müller@example.org")
    installation.day()
    assert installation.addresses() == ["ben.muller@example.org"]
    assert suite.flags("opt_out") == {
        "anna@example.org": 1,
        "Ben.Müller@example.org": 1,
        "ben.muller@example.org": 0,
        "left@example.org": 1,
        "neither@example.org": 0,
    }

    # An opt-out that is taken back without a date counts for nothing, a later confirmation does.
    suite.run("UPDATE email_addresses SET opt_out = 0")
    now = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=2)
    suite.run(
        "UPDATE email_addresses SET confirm_opt_in = 'confirmed-opt-in', confirm_opt_in_date = :at "
        "WHERE email_address = 'anna@example.org'",
        at=now,
    )
    installation.day()
    assert installation.addresses() == ["anna@example.org", "ben.muller@example.org"]


def test_suite_crms_own_unsubscribe_link_and_a_withdrawn_lawful_basis_keep_people_out(
    installation: Installation, suite: SuiteCrm
) -> None:
    unsubscribed = suite.add("prospect_lists", name="Unsubscribed", list_type="exempt")
    suite.run(
        "INSERT INTO prospect_lists_prospects (id, prospect_list_id, related_id, related_type) "
        "SELECT 'removed', :list, relation.bean_id, 'Contacts' FROM email_addr_bean_rel AS relation "
        "JOIN email_addresses AS address ON address.id = relation.email_address_id "
        "WHERE address.email_address = 'anna@example.org'",
        list=unsubscribed,
    )
    installation.day()
    assert installation.addresses() == ["ben.muller@example.org", "ben.müller@example.org"]
    # Anna is withdrawn for two reasons, Ben for another.
    suite.run(
        "UPDATE contacts JOIN email_addr_bean_rel AS relation ON relation.bean_id = contacts.id "
        "JOIN email_addresses AS address ON address.id = relation.email_address_id "
        "SET lawful_basis = '^withdrawn^' WHERE address.email_address <> 'ben.muller@example.org' COLLATE utf8mb4_bin"
    )
    installation.day()
    assert installation.addresses() == ["ben.muller@example.org"]


@pytest.mark.long
def test_an_address_that_bounced_stays_out_until_the_crm_takes_it_as_valid_again(
    installation: Installation, suite: SuiteCrm
) -> None:
    installation.vendor.publish(
        NORD, "getOutBounces", [["ben.muller@example.org", epoch_ms(datetime.now(UTC) - timedelta(days=3))]]
    )
    installation.day()
    assert installation.addresses() == ["anna@example.org", "ben.müller@example.org"]
    assert suite.flags("invalid_email")["ben.muller@example.org"] == 1
    assert suite.flags("invalid_email")["Ben.Müller@example.org"] == 0
    installation.day()
    suite.run("UPDATE email_addresses SET invalid_email = 0")
    installation.day()
    assert installation.addresses() == ["anna@example.org", "ben.muller@example.org", "ben.müller@example.org"]


def test_check_shows_what_the_mapping_reads_and_nothing_of_the_people(
    installation: Installation, suite: SuiteCrm
) -> None:
    installation.settings["crm"]["people_max_age"] = "1h"
    assert installation.configuration
    done = campaign_sync(installation.folder, "check")
    shown = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        "the CRM answers and has every table that is mapped",
        "crm.tables.contact",
        "5 rows; row 1 has id, email, first_name",
        *("2 granted", "1 confirmed", "1 withdrawn", "1 neither"),
        "crm.tables.marketing_list_member",
        "names 5, 3 of them with newsletter-nord",
    ):
        assert part in shown
    assert "example.org" not in shown
    assert "Jürgen" not in shown

    # The copy that the first check has made isn't used by the second.
    company = suite.person("accounts", "office@example.org", of_address=PEOPLE["anna@example.org"])
    suite.run(
        "INSERT INTO prospect_lists_prospects (id, prospect_list_id, related_id, related_type) "
        "SELECT 'company', id, :company, 'Accounts' FROM prospect_lists",
        company=company,
    )
    output = StringIO()
    assert check_everything(installation.configuration, Console(file=output, width=400))
    assert "names 6, 4 of them with newsletter-nord" in output.getvalue()
