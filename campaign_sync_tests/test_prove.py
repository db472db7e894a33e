"""`campaign-sync prove`: on which consent a person was in a list."""

import hashlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from rich.console import Console
from sqlalchemy import create_engine, select, update

from campaign_sync.cli.prove import print_proof
from campaign_sync.crm.sql import schema
from campaign_sync.domain.snapshot import EVIDENCE_COLUMNS
from campaign_sync.inquiry.errors import FutureDayError, UnknownPersonError
from campaign_sync.storage.tables import replace, snapshot
from campaign_sync_tests.installation import LONG_AGO, NORD, Installation, running_installation
from campaign_sync_tests.installation import NEWSLETTER as NEWSLETTER_ID
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.time_travel import leave_a_replacement_unfinished, let_days_pass

HOURS_AGO = datetime.now(UTC) - timedelta(hours=3)
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d"
NEWSLETTER = ("nord", "newsletter")
EVENT = "c1-newsletter-nord-granted-20260115093000"
GRANTED = f"granted 2026-01-15 10:30, event {EVENT}"


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as running:
        keep_evidence(running, "form of 15 January, IP kept", "2026-01")
        yield running


def keep_evidence(installation: Installation, evidence: str | None, text_version: str | None) -> None:
    """Let the CRM keep this evidence and text version of every consent event."""
    with installation.crm() as crm:
        crm.execute(update(schema.consent_event).values(evidence=evidence, text_version=text_version))


def pass_days(installation: Installation, days: int) -> None:
    let_days_pass(installation.settings["storage"]["state_url"], days)


def day(days_ago: int) -> date:
    """Return a day of the mandator's calendar."""
    return datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=days_ago)


def output_of(
    installation: Installation, who: str, at: date | None = None, lists: tuple[tuple[str, str], ...] = (NEWSLETTER,)
) -> str:
    text = io.StringIO()
    print_proof(installation.configuration, who, lists, at, Console(file=text, width=400))
    return text.getvalue()


def lines(text: str, name: str = "nord/newsletter") -> tuple[str, list[tuple[str, str]]]:
    """Return the sign that is printed of a list, and its lines as label and text."""
    rows = text[text.index(f" {name} ") :].splitlines()
    sign, label, first_text = re.split(r"\s{2,}", rows[0].strip())[1:]
    printed = [(label, first_text)]
    for row in rows[1:]:
        if not row.strip():
            break
        cells = re.split(r"\s{2,}", row.strip())
        printed.append((cells[0], cells[1]) if len(cells) == 2 else ("", cells[0]))
    return sign, printed


def labelled(label: str, output: str) -> list[str]:
    """Return the texts with a label."""
    return [text for key, text in lines(output)[1] if key == label]


def remove_evidence(installation: Installation) -> None:
    """Make the snapshots like those that were frozen before evidence was kept."""
    engine = create_engine(installation.settings["storage"]["state_url"])
    with engine.begin() as connection:
        for file in (installation.folder / "frames" / "snapshots" / "nord" / "newsletter").iterdir():
            pd.read_parquet(file).drop(columns=list(EVIDENCE_COLUMNS)).to_parquet(file, index=False)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            named = snapshot.c.file.endswith(file.name)
            assert connection.execute(update(snapshot).where(named).values(digest=digest)).rowcount == 1
    engine.dispose()


def test_the_consent_event_is_shown_with_time_source_evidence_and_text_version(installation: Installation) -> None:
    installation.first_day()

    sign, printed = lines(output_of(installation, "Person1@Example.org"))
    assert sign == "✓ yes"
    assert printed[:5] == [
        ("address", "person1@example.org"),
        ("consent", f"{GRANTED} (as frozen in the snapshot)"),
        ("", "source: web form"),
        ("", "evidence: form of 15 January, IP kept"),
        ("", "text version: 2026-01"),
    ]
    assert [label for label, _ in printed[5:]] == ["proven", "snapshot", "file", "sha256", "now"]


@pytest.mark.long
def test_the_snapshot_is_named_with_the_digest_of_its_file(installation: Installation) -> None:
    installation.first_day()

    text = output_of(installation, "contact:c1")
    (file,), (digest,) = labelled("file", text), labelled("sha256", text)
    assert hashlib.sha256((installation.folder / "frames" / file).read_bytes()).hexdigest() == digest
    with installation.state() as state:
        stored = state.snapshots.latest("nord", "newsletter")
    assert stored
    assert re.fullmatch(f"{stored.id}, frozen {MOMENT}", labelled("snapshot", text)[0])


def test_missing_evidence_is_shown_as_not_recorded(installation: Installation) -> None:
    keep_evidence(installation, None, None)
    installation.first_day()

    text = output_of(installation, "contact:c1")
    assert "evidence: not recorded" in text
    assert "text version: not recorded" in text


def test_a_later_withdrawal_is_shown_and_leaves_the_proof_of_the_day_before(
    installation: Installation,
) -> None:
    installation.first_day()
    pass_days(installation, 2)
    installation.consent("c1", "newsletter-nord", "withdrawn", HOURS_AGO)
    installation.day()

    text = output_of(installation, "contact:c1", day(1))
    assert lines(text)[0] == "✓ yes"
    assert labelled("consent", text) == [f"{GRANTED} (as frozen in the snapshot)"]
    assert labelled("proven", text)[0].startswith(str(day(2)))
    (since,) = labelled("since", text)
    assert re.fullmatch(rf"withdrawn {MOMENT}, event c1-newsletter-nord-withdrawn-\d+ \(web form\)", since)
    (now,) = labelled("now", text)
    assert re.match(f"not in it by the newest proof, {MOMENT}: selection: withdrew the consent", now)

    text = output_of(installation, "contact:c1", day(0))
    assert lines(text)[0] == "✗ no"
    assert labelled("why", text)[0].startswith("selection: withdrew the consent")
    assert labelled("consent", text)[0].startswith("withdrawn ")
    assert labelled("since", text) == []


@pytest.mark.long
def test_a_consent_granted_again_is_shown_after_the_withdrawal(installation: Installation) -> None:
    installation.first_day()
    pass_days(installation, 2)
    installation.consent("c1", "newsletter-nord", "withdrawn", HOURS_AGO)
    installation.consent("c1", "newsletter-nord", "granted", HOURS_AGO + timedelta(hours=1))
    installation.day()

    text = output_of(installation, "contact:c1", day(2))
    assert [text.split()[0] for text in labelled("since", text)] == ["withdrawn", "granted"]
    assert labelled("now", text)[0].startswith("in it by the newest proof")


def test_a_withdrawal_that_came_late_with_an_early_date_is_marked(installation: Installation) -> None:
    installation.first_day()
    installation.consent("c1", "newsletter-nord", "withdrawn", LONG_AGO + timedelta(days=1))

    text = output_of(installation, "contact:c1")
    assert lines(text)[0] == "✓ yes"
    assert labelled("since", text)[0].endswith("it bears an earlier date and came to the CRM after this selection")


def test_a_person_erased_from_the_crm_is_still_proven_by_the_snapshot(installation: Installation) -> None:
    installation.first_day()
    pass_days(installation, 2)
    with installation.crm() as crm:
        for table, key in ((schema.contact, "id"), (schema.consent_event, "entity_id")):
            crm.execute(table.delete().where(table.c[key] == "c1"))
        crm.execute(schema.marketing_list_member.delete().where(schema.marketing_list_member.c.entity_id == "c1"))
    installation.day()

    for who in ("contact:c1", "person1@example.org"):
        text = output_of(installation, who, day(2))
        assert "contact:c1 · not in the CRM any more" in text
        assert lines(text)[0] == "✓ yes"
        assert "evidence: form of 15 January, IP kept" in text
        assert "text version: 2026-01" in text
        assert labelled("beware", text) == ["the CRM doesn't have this event any more; the snapshot is what proves it"]
        assert "not selected: the marketing list “Newsletter Nord” didn't name them" in labelled("now", text)[0]
    with pytest.raises(UnknownPersonError, match="ask for the day in question with --at"):
        output_of(installation, "person1@example.org")


def test_the_evidence_stays_as_it_was_when_the_crm_is_edited_later(installation: Installation) -> None:
    installation.first_day()
    keep_evidence(installation, "made up afterwards", "2099-12")
    with installation.crm() as crm:
        crm.execute(update(schema.consent_event).values(kind="confirmed").where(schema.consent_event.c.id == EVENT))

    text = output_of(installation, "contact:c1")
    assert "evidence: form of 15 January, IP kept" in text
    assert "made up" not in text
    (beware,) = labelled("beware", text)
    assert beware == f"the CRM has this event otherwise by now: confirmed 2026-01-15 10:30, event {EVENT}"


def test_an_older_snapshot_without_evidence_falls_back_on_the_crm_and_says_so(installation: Installation) -> None:
    installation.first_day()
    remove_evidence(installation)

    text = output_of(installation, "contact:c1")
    assert labelled("consent", text) == [f"{GRANTED} (from the CRM; this snapshot doesn't keep evidence yet)"]
    assert "evidence: form of 15 January, IP kept" in text

    with installation.crm() as crm:
        crm.execute(schema.consent_event.delete().where(schema.consent_event.c.id == EVENT))
    text = output_of(installation, "contact:c1")
    assert labelled("consent", text) == [GRANTED]
    assert "this snapshot doesn't keep source and evidence yet, and the CRM doesn't have the event any more" in text


@pytest.mark.long
def test_an_older_snapshot_without_evidence_serves_every_other_command(installation: Installation) -> None:
    installation.first_day()
    remove_evidence(installation)
    assert installation.configuration

    replayed = campaign_sync(installation.folder, "replay", "nord", "newsletter")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    installation.day()
    compared = campaign_sync(installation.folder, "diff", "nord", "newsletter")
    assert "No one joined, left or changed." in compared.stdout
    assert campaign_sync(installation.folder, "why", "contact:c1").returncode == 0


@pytest.mark.long
def test_a_crm_without_text_versions_is_proven_without_them(installation: Installation) -> None:
    with installation.crm() as crm:
        crm.exec_driver_sql("ALTER TABLE consent_event DROP COLUMN text_version")
    installation.day()

    text = output_of(installation, "contact:c1")
    assert "evidence: form of 15 January, IP kept" in text
    assert "text version: not recorded" in text


def test_a_confirmation_leads_to_the_grant_that_it_confirms(installation: Installation) -> None:
    installation.consent("c1", "newsletter-nord", "confirmed", LONG_AGO + timedelta(minutes=7))
    installation.day()

    text = output_of(installation, "contact:c1")
    assert labelled("consent", text)[0].startswith("confirmed 2026-01-15 10:37")
    assert labelled("confirms", text) == [f"{GRANTED} (from the CRM)"]
    assert "text version: 2026-01" in text


@pytest.mark.long
def test_the_evidence_is_never_sent_to_the_vendor(installation: Installation) -> None:
    keep_evidence(installation, "kept in the archive", "wording seven")
    installation.first_day()

    sent = str(installation.vendor.recipients(NEWSLETTER_ID))
    assert "person1@example.org" in sent
    assert not [word for word in ("kept in the archive", "wording seven") if word in sent]


@pytest.mark.long
def test_a_rejection_on_that_day_is_explained(installation: Installation) -> None:
    installation.vendor.refuse(NORD, "person4@example.org", 6)
    installation.day()

    text = output_of(installation, "contact:c4")
    assert lines(text)[0] == "✗ no"
    assert labelled("why", text)[0].startswith("vendor: a filter at the vendor refused the row (vendor's code 6)")
    assert labelled("consent", text)[0].endswith(" (web form), according to the CRM now")
    assert labelled("now", text) == ["that proof is the newest"]


@pytest.mark.long
def test_membership_is_unknown_if_the_rejections_leave_it_open(installation: Installation) -> None:
    for number in (3, 4):
        installation.vendor.refuse(NORD, f"person{number}@example.org", 6)
    for passing in (2, 2, 0):
        installation.day()
        pass_days(installation, passing)
    engine = create_engine(installation.settings["storage"]["state_url"])
    with engine.begin() as connection:  # as if one of them had got in on the second day
        replacements = connection.execute(
            select(replace).where(replace.c.list == "newsletter").order_by(replace.c.started_at)
        )
        connection.execute(update(replace).where(replace.c.id == replacements.all()[1].id).values(in_list=4))
    engine.dispose()

    text = output_of(installation, "contact:c4", day(2))
    assert lines(text)[0] == "?"
    assert labelled("beware", text) == [
        "the row was rejected before and after that proof; the rejections don't say whether at that one"
    ]
    assert lines(output_of(installation, "contact:c4"))[0] == "✗ no"


@pytest.mark.long
def test_a_bounce_after_that_day_is_shown(installation: Installation) -> None:
    installation.first_day()
    pass_days(installation, 2)
    installation.vendor.publish(
        NORD, "getOutBounces", [["person3@example.org", str(int(HOURS_AGO.timestamp() * 1000))]]
    )
    installation.day()

    text = output_of(installation, "contact:c3", day(1))
    assert lines(text)[0] == "✓ yes"
    (since,) = labelled("since", text)
    assert re.fullmatch(rf"the address bounced {MOMENT} \(optimizely:bounces\) and gets into no list", since)
    assert "selection: the address doesn't take mail: it bounced" in labelled("now", text)[0]


@pytest.mark.long
def test_an_old_address_is_proven_and_the_new_one_is_shown(installation: Installation) -> None:
    installation.first_day()
    pass_days(installation, 2)
    with installation.crm() as crm:
        crm.execute(update(schema.contact).where(schema.contact.c.id == "c1").values(email="new@example.org"))
    installation.day()

    for who in ("person1@example.org", "new@example.org"):
        text = output_of(installation, who, day(1))
        assert labelled("address", text) == ["person1@example.org"]
        assert labelled("since", text) == ["their address in the CRM isn't that one any more, but new@example.org"]


def test_the_end_of_the_day_in_the_mandators_time_zone_decides(installation: Installation) -> None:
    installation.first_day()
    pass_days(installation, 2)

    assert lines(output_of(installation, "contact:c1", day(2)))[0] == "✓ yes"
    sign, printed = lines(output_of(installation, "contact:c1", day(3)))
    assert (sign, printed[0][0]) == ("?", "consent")
    assert ("proven", "never by then") in printed


def test_membership_in_a_list_that_was_incomplete_by_then_is_unknown(installation: Installation) -> None:
    installation.first_day()
    pass_days(installation, 2)
    leave_a_replacement_unfinished(installation.settings["storage"]["state_url"], "newsletter")

    text = output_of(installation, "contact:c1")
    assert lines(text)[0] == "?"
    assert re.match(
        f"INCOMPLETE since {MOMENT}: it was cleared, and no proof followed by then", labelled("beware", text)[0]
    )
    text = output_of(installation, "contact:c1", day(1))
    assert lines(text)[0] == "✓ yes"
    assert labelled("now", text)[0].startswith("INCOMPLETE since")


def test_a_missing_snapshot_is_named(installation: Installation) -> None:
    installation.first_day()
    for file in (installation.folder / "frames" / "snapshots" / "nord" / "newsletter").iterdir():
        file.unlink()

    text = output_of(installation, "contact:c1")
    assert lines(text)[0] == "?"
    assert "is missing; restore it from a backup" in labelled("beware", text)[0]


def test_a_day_in_the_future_is_refused(installation: Installation) -> None:
    with pytest.raises(FutureDayError, match="lies ahead"):
        output_of(installation, "contact:c1", day(-2))


@pytest.mark.two_lists
def test_the_command_takes_a_list_with_and_without_its_mandator(installation: Installation) -> None:
    installation.first_day()
    assert installation.configuration

    for name, expected in (
        ("newsletter", ["nord/newsletter", "sued/newsletter"]),
        ("nord/products", ["nord/products"]),
    ):
        done = campaign_sync(installation.folder, "prove", "contact:c1", "--list", name, "--at", str(day(0)))
        assert done.returncode == 0, done.stderr
        assert re.findall(r"(?:nord|sued)/(?:newsletter|products)(?= )", done.stdout) == expected
        assert all(len(line) <= 120 for line in done.stdout.splitlines())


@pytest.mark.long
@pytest.mark.two_lists
def test_an_unknown_person_exits_with_1_and_an_unknown_list_with_2(installation: Installation) -> None:
    installation.first_day()

    unknown = campaign_sync(installation.folder, "prove", "unknown@example.org", new_python=True)
    assert unknown.returncode == 1
    assert "this address is neither in the CRM, nor in the snapshots in force now" in unknown.stderr
    assert "unknown@" not in unknown.stderr
    wrong = campaign_sync(installation.folder, "prove", "contact:c1", "--list", "news")
    assert wrong.returncode == 2
    assert "it has nord/newsletter, nord/products, sued/newsletter" in wrong.stderr
