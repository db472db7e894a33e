"""Why somebody is in a list or isn't, as a person at a terminal is told."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from campaign_sync.cli.error_handling import SOMETHING_FAILED, exit_code_of
from campaign_sync.cli.why import print_why
from campaign_sync.crm.sql import schema
from campaign_sync.inquiry.errors import InquiryError
from campaign_sync_tests.installation import NORD, SUED, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.time_travel import leave_a_replacement_unfinished, let_days_pass

HOURS_AGO = datetime.now(UTC) - timedelta(hours=3)
TODAY = r"\d{4}-\d\d-\d\d \d\d:\d\d"


@pytest.fixture
def shop(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as built:
        yield built


def told(shop: Installation, who: str, width: int = 400) -> str:
    text = io.StringIO()
    print_why(shop.configuration, who, Console(file=text, width=width))
    return text.getvalue()


def of_list(text: str, name: str = "nord/newsletter") -> list[list[str]]:
    """What is told of a list: the sign, then label and text line by line. Of several people the last one's."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    starts = [position for position, cells in enumerate(lines) if cells[0] == name]
    section = lines[starts[-1] :]
    end = next((position for position, cells in enumerate(section) if cells == [""]), len(section))
    return [section[0][1:2], section[0][2:], *section[1:end]]


@pytest.mark.smoke
def test_somebody_in_the_list_stands_on_a_consent_and_a_proof(shop: Installation) -> None:
    shop.day()

    sign, proven, consent = of_list(told(shop, "contact:c1"))
    assert sign == ["✓ yes"]
    assert re.fullmatch(f"proven {TODAY}", " ".join(proven))
    assert consent == ["consent", "granted 2026-01-15 10:30, event c1-newsletter-nord-granted-20260115093000"]


def test_before_the_first_proof_nobody_knows(shop: Installation) -> None:
    shop.day("nord")

    sign, proven, *_ = of_list(told(shop, "contact:c1"), "sued/newsletter")
    assert (sign, proven) == (["?"], ["proven", "never yet"])


def test_somebody_who_unsubscribed_is_told_apart_by_list_and_mandator(shop: Installation) -> None:
    shop.leave("person2@example.org", at=HOURS_AGO)
    shop.day("nord")
    shop.day("sued")

    text = told(shop, "Person2@EXAMPLE.org ")

    sign, why, _, consent, now = of_list(text)
    assert sign == ["✗ no"]
    assert re.fullmatch(f"selection: unsubscribed from this mandator's mail; {TODAY}", why[1])
    assert re.match(rf"withdrawn {TODAY} \(optimizely:unsubscribes\), event ", consent[1])
    assert re.fullmatch(rf"withdrew newsletter-nord {TODAY} \(optimizely:unsubscribes\)", now[1])
    assert of_list(text, "sued/newsletter")[0] == ["✓ yes"]


def test_whom_the_vendor_refused_is_told_with_its_code(shop: Installation) -> None:
    shop.vendor.refuse(NORD, "person4@example.org", 6)
    shop.day()

    sign, why, *_ = of_list(told(shop, "contact:c4"))
    assert sign == ["✗ no"]
    assert re.fullmatch(rf"vendor: a filter at the vendor refused the row \(vendor's code 6\); {TODAY}", why[1])


def test_somebody_whom_nobody_picked_is_told_by_which_list(shop: Installation) -> None:
    shop.day()
    with shop.crm() as crm:
        crm.execute(schema.lead.insert().values(id="l1", email="lea@example.org"))

    sign, why, proven = of_list(told(shop, "lea@example.org"))
    assert (sign, proven[0]) == (["✗ no"], "proven")
    assert why[1] == "not selected: the marketing list “Newsletter Nord” didn't name them"


def test_everybody_who_shares_an_address_is_told(shop: Installation) -> None:
    shop.add_contact("c6", " PERSON1@example.org")
    shop.day()

    text = told(shop, "person1@example.org")
    assert "contact:c1 · person1@example.org" in text
    assert "contact:c6 · PERSON1@example.org" in text
    sign, why, *_ = of_list(text)
    assert sign == ["✗ no"]
    assert "snapshot: another record with the same address was chosen" in why[1]


def test_who_shares_an_address_with_somebody_who_withdrew_learns_of_whom(shop: Installation) -> None:
    shop.add_contact("c6", "person1@example.org")
    shop.consent("c6", "newsletter-nord", "withdrawn", HOURS_AGO)

    text = told(shop, "contact:c1")
    assert re.search(rf"now\s+contact:c6, who has the same address, withdrew newsletter-nord {TODAY}", text)


def test_a_consent_withdrawn_after_the_proof_is_told_beside_the_one_that_was_sent_on(shop: Installation) -> None:
    shop.day()
    shop.consent("c1", "newsletter-nord", "withdrawn", datetime.now(UTC))

    sign, _, consent, by_now, now = of_list(told(shop, "contact:c1"))
    assert sign == ["✓ yes"]
    assert consent[1].startswith("granted 2026-01-15 10:30")
    assert re.match(rf"withdrawn {TODAY} \(web form\)", by_now[1])
    assert re.fullmatch(rf"withdrew newsletter-nord {TODAY} \(web form\)", now[1])


def test_what_a_run_found_that_did_not_come_to_a_proof_is_told_as_newer(shop: Installation) -> None:
    shop.day()
    shop.consent("c1", "newsletter-nord", "withdrawn", HOURS_AGO)
    shop.list_settings()["limits"] = {"min_rows": 100}
    assert not shop.run().success

    lines = of_list(told(shop, "contact:c1"))
    assert lines[0] == ["✓ yes"]
    (since,) = (text for label, text in lines[1:] if label == "since")
    assert since.startswith("selection: withdrew the consent, or a person with the same address did; ")


def test_reasons_that_are_over_come_last_and_with_their_dates(shop: Installation) -> None:
    shop.vendor.refuse(NORD, "person4@example.org", 6)
    shop.day()
    let_days_pass(shop.settings["storage"]["state_url"], 9)
    shop.consent("c4", "newsletter-nord", "withdrawn", HOURS_AGO)
    shop.day()

    lines = of_list(told(shop, "contact:c4"))
    assert [label for label, *_ in lines] == ["✗ no", "why", "proven", "consent", "now", "before"]
    assert "withdrew the consent" in lines[1][1]
    assert "a filter at the vendor" in lines[-1][1]
    assert (datetime.now(UTC) - timedelta(days=9)).strftime("%Y-%m-") in lines[-1][1]


@pytest.mark.two_lists
def test_somebody_whom_the_crm_forgot_is_found_by_the_address_that_was_sent(shop: Installation) -> None:
    shop.day()
    with shop.crm() as crm:
        crm.execute(schema.contact.delete().where(schema.contact.c.id == "c1"))

    text = told(shop, "person1@example.org")
    assert "contact:c1 · not in the CRM any more" in text
    assert of_list(text)[0] == ["✓ yes"]

    shop.day()
    with shop.crm() as crm:
        crm.execute(schema.marketing_list_member.delete().where(schema.marketing_list_member.c.entity_id == "c1"))
    text = told(shop, "person1@example.org")
    assert re.search(r"contact:c1 · not in the CRM any more, last sent to nord/(newsletter|products) of \d{4}-", text)
    sign, why, *_ = of_list(text)
    assert sign == ["✗ no"]
    assert "selection: no address in the CRM" in why[1]


def test_an_old_address_leads_to_whoever_it_was_sent_for_and_to_their_other_lists(shop: Installation) -> None:
    shop.day("nord")
    with shop.crm() as crm:
        crm.execute(schema.contact.update().where(schema.contact.c.id == "c1").values(email="new@example.org"))
    shop.day("sued")

    text = told(shop, "person1@example.org")
    assert "contact:c1 · new@example.org" in text
    sent_to = ["sent to", "person1@example.org, which isn't their address in the CRM any more"]
    assert sent_to in of_list(text, "nord/newsletter")
    assert of_list(text, "sued/newsletter")[0] == ["✓ yes"]
    assert sent_to not in of_list(text, "sued/newsletter")


def test_a_bounce_stands_against_all_lists_and_is_told_once(shop: Installation) -> None:
    moment = str(int(HOURS_AGO.timestamp() * 1000))
    shop.vendor.publish(SUED, "getOutBounces", [["person3@example.org", moment]])
    shop.day("sued")

    text = told(shop, "contact:c3")
    assert len(re.findall(rf"The address bounced {TODAY} \(optimizely:bounces\) and gets into no list", text)) == 1


def test_an_address_that_only_the_feedback_knows_is_known(shop: Installation) -> None:
    shop.leave("stranger@example.com", at=HOURS_AGO)
    shop.day()

    text = told(shop, "Stranger@example.com")
    assert "No record in the CRM has this address" in text
    assert "this address unsubscribed" in of_list(text)[-1][1]
    assert "this address unsubscribed" not in of_list(text, "sued/newsletter")[-1][1]


def test_of_a_list_that_broke_off_nobody_knows_who_is_in_it(shop: Installation) -> None:
    shop.day()
    leave_a_replacement_unfinished(shop.settings["storage"]["state_url"], "newsletter")

    sign, beware, *_ = of_list(told(shop, "contact:c1"))
    assert sign == ["?"]
    assert re.fullmatch(f"INCOMPLETE since {TODAY}: it was cleared, and no proof followed", beware[1])


@pytest.mark.two_lists
def test_a_snapshot_that_is_gone_is_named_and_the_other_lists_are_told(shop: Installation) -> None:
    shop.day()
    for file in (shop.folder / "frames" / "snapshots" / "nord" / "newsletter").iterdir():
        file.unlink()

    text = told(shop, "contact:c1")
    sign, beware, *_ = of_list(text)
    assert sign == ["?"]
    assert "is missing; restore it from a backup" in beware[1]
    assert of_list(text, "nord/products")[0] == ["✓ yes"]


def test_it_can_be_read_in_100_columns(shop: Installation) -> None:
    shop.leave("person2@example.org", at=HOURS_AGO)
    shop.day()

    lines = told(shop, "contact:c2", width=100).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert "…" not in "".join(lines)


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ("nobody@example.org", "this address is neither in the CRM"),
        ("nobody@example", "can't be one: the domain has no dot"),
        ("lead:c1", "lead:c1 is neither in the CRM"),
        ("Jürgen Groß", "neither an e-mail address nor a record"),
    ],
)
def test_who_is_unknown_gets_one_sentence_that_repeats_no_address(shop: Installation, who: str, sentence: str) -> None:
    shop.day()
    with pytest.raises(InquiryError) as caught:
        told(shop, who)
    assert sentence in str(caught.value)
    assert exit_code_of(caught.value) == SOMETHING_FAILED
    assert not {"nobody@example", "Groß"} & set(re.split(r"[\s,;]", str(caught.value)))


def test_the_command_exits_with_0_for_who_is_known_and_with_1_for_who_is_not(shop: Installation) -> None:
    shop.day()

    known = campaign_sync(shop.folder, "why", "person1@example.org")
    assert known.returncode == 0, known.stderr
    assert "contact:c1 · person1@example.org" in known.stdout
    unknown = campaign_sync(shop.folder, "why", "nobody@example.org", anew=True)
    assert unknown.returncode == 1
    assert len(unknown.stderr.splitlines()) == 1
