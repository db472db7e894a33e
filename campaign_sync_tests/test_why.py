"""`campaign-sync why`: whether a person is in each list, and why or why not."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from campaign_sync.cli.error_handling import SOMETHING_FAILED, exit_code_of
from campaign_sync.cli.user import user_and_host
from campaign_sync.cli.why import print_why
from campaign_sync.crm.sql import schema
from campaign_sync.domain.rejection import Reason, describe_reason
from campaign_sync.inquiry.errors import InquiryError
from campaign_sync_tests.installation import NORD, SUED, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.time_travel import leave_a_replacement_unfinished, let_days_pass

HOURS_AGO = datetime.now(UTC) - timedelta(hours=3)
TODAY = r"\d{4}-\d\d-\d\d \d\d:\d\d"


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as running:
        yield running


def output_of(installation: Installation, who: str, width: int = 400) -> str:
    text = io.StringIO()
    print_why(installation.configuration, who, Console(file=text, width=width))
    return text.getvalue()


def of_list(text: str, name: str = "nord/newsletter") -> list[list[str]]:
    """Return what is printed of a list: the sign, then the lines' labels and texts; of several people the last."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    starts = [position for position, cells in enumerate(lines) if cells[0] == name]
    section = lines[starts[-1] :]
    end = next((position for position, cells in enumerate(section) if cells == [""]), len(section))
    return [section[0][1:2], section[0][2:], *section[1:end]]


@pytest.mark.smoke
def test_a_recipient_is_shown_with_consent_and_proof(installation: Installation) -> None:
    installation.first_day()

    sign, proven, consent = of_list(output_of(installation, "contact:c1"))
    assert sign == ["✓ yes"]
    assert re.fullmatch(f"proven {TODAY}", " ".join(proven))
    assert consent == ["consent", "granted 2026-01-15 10:30, event c1-newsletter-nord-granted-20260115093000"]


def test_without_a_record_of_who_asked_there_is_no_answer(installation: Installation) -> None:
    installation.first_day()
    output_of(installation, "PERSON1@example.org")
    with installation.state() as state:
        (asked,) = state.inquiries.about(["person1@example.org"])
    assert (asked.command, asked.asked_by) == ("why", user_and_host())

    with installation.state_database() as database:
        database.exec_driver_sql("CREATE TRIGGER full BEFORE INSERT ON inquiry BEGIN SELECT RAISE(FAIL, 'full'); END")
    shown = campaign_sync(installation.folder, "why", "person1@example.org")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "state database" in shown.stderr


def test_before_the_first_proof_membership_is_unknown(installation: Installation) -> None:
    installation.first_day("nord")

    sign, proven, *_ = of_list(output_of(installation, "contact:c1"), "sued/newsletter")
    assert (sign, proven) == (["?"], ["proven", "never yet"])


def test_an_unsubscribe_keeps_a_person_out_of_the_lists_of_its_mandator_only(installation: Installation) -> None:
    installation.leave("person2@example.org", at=HOURS_AGO)
    installation.day("nord")
    installation.day("sued")

    text = output_of(installation, "Person2@EXAMPLE.org ")

    sign, why, _, consent, now = of_list(text)
    assert sign == ["✗ no"]
    assert re.fullmatch(f"selection: unsubscribed from this mandator's mail; {TODAY}", why[1])
    assert re.match(rf"withdrawn {TODAY}, event \S+ \(optimizely:unsubscribes\)", consent[1])
    assert re.fullmatch(rf"withdrew newsletter-nord {TODAY} \(optimizely:unsubscribes\)", now[1])
    assert of_list(text, "sued/newsletter")[0] == ["✓ yes"]


def test_a_refusal_by_the_vendor_is_shown_with_its_code(installation: Installation) -> None:
    installation.vendor.refuse(NORD, "person4@example.org", 6)
    installation.day()

    sign, why, *_ = of_list(output_of(installation, "contact:c4"))
    assert sign == ["✗ no"]
    assert re.fullmatch(rf"vendor: a filter at the vendor refused the row \(vendor's code 6\); {TODAY}", why[1])


def test_a_person_who_was_not_selected_is_shown_with_the_marketing_list(installation: Installation) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.execute(schema.lead.insert().values(id="l1", email="lea@example.org"))

    sign, why, proven = of_list(output_of(installation, "lea@example.org"))
    assert (sign, proven[0]) == (["✗ no"], "proven")
    assert why[1] == "not selected: the marketing list “Newsletter Nord” didn't name them"


@pytest.mark.long
def test_all_people_who_share_an_address_are_shown(installation: Installation) -> None:
    installation.add_contact("c6", " PERSON1@example.org")
    installation.day()

    text = output_of(installation, "person1@example.org")
    assert "contact:c1 · person1@example.org" in text
    assert "contact:c6 · PERSON1@example.org" in text
    sign, why, *_ = of_list(text)
    assert sign == ["✗ no"]
    assert "snapshot: another record with the same address was chosen" in why[1]


def test_a_withdrawal_by_another_record_with_the_same_address_names_that_record(installation: Installation) -> None:
    installation.add_contact("c6", "person1@example.org")
    installation.consent("c6", "newsletter-nord", "withdrawn", HOURS_AGO)

    text = output_of(installation, "contact:c1")
    assert re.search(rf"now\s+contact:c6, who has the same address, withdrew newsletter-nord {TODAY}", text)


def test_a_consent_withdrawn_after_the_proof_is_shown_beside_the_one_that_was_sent_on(
    installation: Installation,
) -> None:
    installation.first_day()
    installation.consent("c1", "newsletter-nord", "withdrawn", datetime.now(UTC))

    sign, _, consent, by_now, now = of_list(output_of(installation, "contact:c1"))
    assert sign == ["✓ yes"]
    assert consent[1].startswith("granted 2026-01-15 10:30")
    assert re.fullmatch(rf"withdrawn {TODAY}, event \S+ \(web form\)", by_now[1])
    assert re.fullmatch(rf"withdrew newsletter-nord {TODAY} \(web form\)", now[1])


def test_a_rejection_by_a_later_run_without_a_proof_is_shown_as_newer(installation: Installation) -> None:
    installation.first_day()
    installation.consent("c1", "newsletter-nord", "withdrawn", HOURS_AGO)
    installation.list_settings()["limits"] = {"min_rows": 100}
    assert not installation.run().success

    lines = of_list(output_of(installation, "contact:c1"))
    assert lines[0] == ["✓ yes"]
    (since,) = (text for label, text in lines[1:] if label == "since")
    assert since.startswith(f"selection: {describe_reason(Reason.CONSENT_WITHDRAWN)}; ")


def test_former_reasons_come_last_with_their_dates(installation: Installation) -> None:
    installation.vendor.refuse(NORD, "person4@example.org", 6)
    installation.day()
    let_days_pass(installation.settings["storage"]["state_url"], 9)
    installation.consent("c4", "newsletter-nord", "withdrawn", HOURS_AGO)
    installation.day()

    lines = of_list(output_of(installation, "contact:c4"))
    assert [label for label, *_ in lines] == ["✗ no", "why", "proven", "consent", "now", "before"]
    assert "withdrew the consent" in lines[1][1]
    assert "a filter at the vendor" in lines[-1][1]
    assert (datetime.now(UTC) - timedelta(days=9)).strftime("%Y-%m-") in lines[-1][1]


@pytest.mark.long
@pytest.mark.two_lists
def test_a_person_deleted_from_the_crm_is_found_by_the_address_that_was_sent(installation: Installation) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.execute(schema.contact.delete().where(schema.contact.c.id == "c1"))

    text = output_of(installation, "person1@example.org")
    assert "contact:c1 · not in the CRM any more" in text
    assert of_list(text)[0] == ["✓ yes"]

    installation.day()
    with installation.crm() as crm:
        crm.execute(schema.marketing_list_member.delete().where(schema.marketing_list_member.c.entity_id == "c1"))
    text = output_of(installation, "person1@example.org")
    assert re.search(r"contact:c1 · not in the CRM any more, last sent to nord/(newsletter|products) of \d{4}-", text)
    sign, why, *_ = of_list(text)
    assert sign == ["✗ no"]
    assert "selection: no address in the CRM" in why[1]


def test_an_old_address_leads_to_its_former_owner_and_their_other_lists(installation: Installation) -> None:
    installation.first_day("nord")
    with installation.crm() as crm:
        crm.execute(schema.contact.update().where(schema.contact.c.id == "c1").values(email="new@example.org"))
    installation.day("sued")

    text = output_of(installation, "person1@example.org")
    assert "contact:c1 · new@example.org" in text
    sent_to = ["sent to", "person1@example.org, which isn't their address in the CRM any more"]
    assert sent_to in of_list(text, "nord/newsletter")
    assert of_list(text, "sued/newsletter")[0] == ["✓ yes"]
    assert sent_to not in of_list(text, "sued/newsletter")


@pytest.mark.long
def test_a_bounce_is_shown_once_for_all_lists(installation: Installation) -> None:
    moment = str(int(HOURS_AGO.timestamp() * 1000))
    installation.vendor.publish(SUED, "getOutBounces", [["person3@example.org", moment]])
    installation.day("sued")

    text = output_of(installation, "contact:c3")
    assert len(re.findall(rf"The address bounced {TODAY} \(optimizely:bounces\) and gets into no list", text)) == 1


def test_an_address_that_only_the_feedback_has_is_known(installation: Installation) -> None:
    installation.leave("stranger@example.com", at=HOURS_AGO)
    installation.day()

    text = output_of(installation, "Stranger@example.com")
    assert "No record in the CRM has this address" in text
    assert "this address unsubscribed" in of_list(text)[-1][1]
    assert "this address unsubscribed" not in of_list(text, "sued/newsletter")[-1][1]


def test_membership_in_an_incomplete_list_is_unknown(installation: Installation) -> None:
    installation.first_day()
    leave_a_replacement_unfinished(installation.settings["storage"]["state_url"], "newsletter")

    sign, beware, *_ = of_list(output_of(installation, "contact:c1"))
    assert sign == ["?"]
    assert re.fullmatch(f"INCOMPLETE since {TODAY}: it was cleared, and no proof followed", beware[1])


@pytest.mark.two_lists
def test_a_missing_snapshot_is_named_and_the_other_lists_are_shown(installation: Installation) -> None:
    installation.first_day()
    for file in (installation.folder / "frames" / "snapshots" / "nord" / "newsletter").iterdir():
        file.unlink()

    text = output_of(installation, "contact:c1")
    sign, beware, *_ = of_list(text)
    assert sign == ["?"]
    assert "is missing; restore it from a backup" in beware[1]
    assert of_list(text, "nord/products")[0] == ["✓ yes"]


@pytest.mark.long
def test_the_output_fits_into_100_columns(installation: Installation) -> None:
    installation.leave("person2@example.org", at=HOURS_AGO)
    installation.day()

    lines = output_of(installation, "contact:c2", width=100).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert "…" not in "".join(lines)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ("unknown@example.org", "this address is neither in the CRM"),
        ("unknown@example", "can't be one: the domain has no dot"),
        ("lead:c1", "lead:c1 is neither in the CRM"),
        ("Jürgen Groß", "neither an e-mail address nor a record"),
    ],
)
def test_an_unknown_person_is_answered_in_one_sentence_without_the_address(
    installation: Installation, who: str, sentence: str
) -> None:
    installation.first_day()
    with pytest.raises(InquiryError) as caught:
        output_of(installation, who)
    assert sentence in str(caught.value)
    assert exit_code_of(caught.value) == SOMETHING_FAILED
    assert not {"unknown@example", "Groß"} & set(re.split(r"[\s,;]", str(caught.value)))


def test_the_command_exits_with_0_for_a_known_person_and_with_1_for_an_unknown_one(installation: Installation) -> None:
    installation.first_day()

    known = campaign_sync(installation.folder, "why", "person1@example.org")
    assert known.returncode == 0, known.stderr
    assert "contact:c1 · person1@example.org" in known.stdout
    unknown = campaign_sync(installation.folder, "why", "unknown@example.org", new_python=True)
    assert unknown.returncode == 1
    assert len(unknown.stderr.splitlines()) == 1
