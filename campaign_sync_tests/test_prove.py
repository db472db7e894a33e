"""Proof of consent, as whoever has to answer for a mailing is told."""

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
def shop(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as built:
        record(built, "form of 15 January, IP kept", "2026-01")
        yield built


def record(shop: Installation, evidence: str | None, text_version: str | None) -> None:
    """Let the CRM keep this of every consent event."""
    with shop.crm() as crm:
        crm.execute(update(schema.consent_event).values(evidence=evidence, text_version=text_version))


def pass_days(shop: Installation, days: int) -> None:
    let_days_pass(shop.settings["storage"]["state_url"], days)


def day(days_ago: int) -> date:
    """A day of the mandator's calendar."""
    return datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=days_ago)


def told(
    shop: Installation, who: str, at: date | None = None, lists: tuple[tuple[str, str], ...] = (NEWSLETTER,)
) -> str:
    text = io.StringIO()
    print_proof(shop.configuration, who, lists, at, Console(file=text, width=400))
    return text.getvalue()


def lines(text: str, name: str = "nord/newsletter") -> tuple[str, list[tuple[str, str]]]:
    """What is told of a list: whether the person is in it, and the lines as label and text."""
    rows = text[text.index(f" {name} ") :].splitlines()
    sign, label, told_first = re.split(r"\s{2,}", rows[0].strip())[1:]
    found = [(label, told_first)]
    for row in rows[1:]:
        if not row.strip():
            break
        cells = re.split(r"\s{2,}", row.strip())
        found.append((cells[0], cells[1]) if len(cells) == 2 else ("", cells[0]))
    return sign, found


def of(label: str, text: str) -> list[str]:
    return [each for key, each in lines(text)[1] if key == label]


def without_evidence(shop: Installation) -> None:
    """Let the snapshots be as those that were frozen before evidence was kept."""
    engine = create_engine(shop.settings["storage"]["state_url"])
    with engine.begin() as connection:
        for file in (shop.folder / "frames" / "snapshots" / "nord" / "newsletter").iterdir():
            pd.read_parquet(file).drop(columns=list(EVIDENCE_COLUMNS)).to_parquet(file, index=False)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            named = snapshot.c.file.endswith(file.name)
            assert connection.execute(update(snapshot).where(named).values(digest=digest)).rowcount == 1
    engine.dispose()


def test_it_names_the_consent_event_with_time_source_evidence_and_text_version(shop: Installation) -> None:
    shop.day()

    sign, found = lines(told(shop, "Person1@Example.org"))
    assert sign == "✓ yes"
    assert found[:5] == [
        ("address", "person1@example.org"),
        ("consent", f"{GRANTED} (as frozen in the snapshot)"),
        ("", "source: web form"),
        ("", "evidence: form of 15 January, IP kept"),
        ("", "text version: 2026-01"),
    ]
    assert [label for label, _ in found[5:]] == ["proven", "snapshot", "file", "sha256", "now"]


def test_the_snapshot_is_named_so_that_somebody_else_can_verify_it(shop: Installation) -> None:
    shop.day()

    text = told(shop, "contact:c1")
    (file,), (digest,) = of("file", text), of("sha256", text)
    assert hashlib.sha256((shop.folder / "frames" / file).read_bytes()).hexdigest() == digest
    with shop.state() as state:
        stored = state.snapshots.latest("nord", "newsletter")
    assert stored
    assert re.fullmatch(f"{stored.id}, frozen {MOMENT}", of("snapshot", text)[0])


def test_what_nobody_recorded_is_said_to_be_missing(shop: Installation) -> None:
    record(shop, None, None)
    shop.day()

    text = told(shop, "contact:c1")
    assert "evidence: not recorded" in text
    assert "text version: not recorded" in text


def test_somebody_who_withdrew_later_is_proven_for_the_day_before_and_the_withdrawal_is_told(
    shop: Installation,
) -> None:
    shop.day()
    pass_days(shop, 2)
    shop.consent("c1", "newsletter-nord", "withdrawn", HOURS_AGO)
    shop.day()

    text = told(shop, "contact:c1", day(1))
    assert lines(text)[0] == "✓ yes"
    assert of("consent", text) == [f"{GRANTED} (as frozen in the snapshot)"]
    assert of("proven", text)[0].startswith(str(day(2)))
    (since,) = of("since", text)
    assert re.fullmatch(rf"withdrawn {MOMENT}, event c1-newsletter-nord-withdrawn-\d+ \(web form\)", since)
    (now,) = of("now", text)
    assert re.match(f"not in it by the newest proof, {MOMENT}: selection: withdrew the consent", now)

    text = told(shop, "contact:c1", day(0))
    assert lines(text)[0] == "✗ no"
    assert of("why", text)[0].startswith("selection: withdrew the consent")
    assert of("consent", text)[0].startswith("withdrawn ")
    assert of("since", text) == []


def test_a_consent_granted_again_is_told_after_the_withdrawal(shop: Installation) -> None:
    shop.day()
    pass_days(shop, 2)
    shop.consent("c1", "newsletter-nord", "withdrawn", HOURS_AGO)
    shop.consent("c1", "newsletter-nord", "granted", HOURS_AGO + timedelta(hours=1))
    shop.day()

    text = told(shop, "contact:c1", day(2))
    assert [each.split()[0] for each in of("since", text)] == ["withdrawn", "granted"]
    assert of("now", text)[0].startswith("in it by the newest proof")


def test_a_withdrawal_that_came_late_with_an_early_date_is_told_as_such(shop: Installation) -> None:
    shop.day()
    shop.consent("c1", "newsletter-nord", "withdrawn", LONG_AGO + timedelta(days=1))

    text = told(shop, "contact:c1")
    assert lines(text)[0] == "✓ yes"
    assert of("since", text)[0].endswith("it bears an earlier date and came to the CRM after this selection")


def test_a_person_erased_from_the_crm_is_still_proven_by_the_snapshot(shop: Installation) -> None:
    shop.day()
    pass_days(shop, 2)
    with shop.crm() as crm:
        for table, key in ((schema.contact, "id"), (schema.consent_event, "entity_id")):
            crm.execute(table.delete().where(table.c[key] == "c1"))
        crm.execute(schema.marketing_list_member.delete().where(schema.marketing_list_member.c.entity_id == "c1"))
    shop.day()

    for who in ("contact:c1", "person1@example.org"):
        text = told(shop, who, day(2))
        assert "contact:c1 · not in the CRM any more" in text
        assert lines(text)[0] == "✓ yes"
        assert "evidence: form of 15 January, IP kept" in text
        assert "text version: 2026-01" in text
        assert of("beware", text) == ["the CRM doesn't have this event any more; the snapshot is what proves it"]
        assert "not selected: the marketing list “Newsletter Nord” didn't name them" in of("now", text)[0]
    with pytest.raises(UnknownPersonError, match="ask for the day in question with --at"):
        told(shop, "person1@example.org")


def test_the_evidence_stays_as_it_was_when_the_crm_is_edited_later(shop: Installation) -> None:
    shop.day()
    record(shop, "made up afterwards", "2099-12")
    with shop.crm() as crm:
        crm.execute(update(schema.consent_event).values(kind="confirmed").where(schema.consent_event.c.id == EVENT))

    text = told(shop, "contact:c1")
    assert "evidence: form of 15 January, IP kept" in text
    assert "made up" not in text
    (beware,) = of("beware", text)
    assert beware == f"the CRM has this event otherwise by now: confirmed 2026-01-15 10:30, event {EVENT}"


def test_an_older_snapshot_without_evidence_falls_back_on_the_crm_and_says_so(shop: Installation) -> None:
    shop.day()
    without_evidence(shop)

    text = told(shop, "contact:c1")
    assert of("consent", text) == [f"{GRANTED} (from the CRM; this snapshot doesn't keep evidence yet)"]
    assert "evidence: form of 15 January, IP kept" in text

    with shop.crm() as crm:
        crm.execute(schema.consent_event.delete().where(schema.consent_event.c.id == EVENT))
    text = told(shop, "contact:c1")
    assert of("consent", text) == [GRANTED]
    assert "this snapshot doesn't keep source and evidence yet, and the CRM doesn't have the event any more" in text


def test_an_older_snapshot_without_evidence_serves_every_other_command(shop: Installation) -> None:
    shop.day()
    without_evidence(shop)
    assert shop.configuration

    replayed = campaign_sync(shop.folder, "replay", "nord", "newsletter")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    shop.day()
    compared = campaign_sync(shop.folder, "diff", "nord", "newsletter")
    assert "No one joined, left or changed." in compared.stdout
    assert campaign_sync(shop.folder, "why", "contact:c1").returncode == 0


def test_a_crm_without_text_versions_is_proven_without_them(shop: Installation) -> None:
    with shop.crm() as crm:
        crm.exec_driver_sql("ALTER TABLE consent_event DROP COLUMN text_version")
    shop.day()

    text = told(shop, "contact:c1")
    assert "evidence: form of 15 January, IP kept" in text
    assert "text version: not recorded" in text


def test_a_confirmation_leads_to_the_grant_that_it_confirms(shop: Installation) -> None:
    shop.consent("c1", "newsletter-nord", "confirmed", LONG_AGO + timedelta(minutes=7))
    shop.day()

    text = told(shop, "contact:c1")
    assert of("consent", text)[0].startswith("confirmed 2026-01-15 10:37")
    assert of("confirms", text) == [f"{GRANTED} (from the CRM)"]
    assert "text version: 2026-01" in text


def test_the_evidence_is_never_sent_to_the_vendor(shop: Installation) -> None:
    record(shop, "kept in the archive", "wording seven")
    shop.day()

    sent = str(shop.vendor.recipients(NEWSLETTER_ID))
    assert "person1@example.org" in sent
    assert not [word for word in ("kept in the archive", "wording seven") if word in sent]


def test_who_was_turned_away_on_that_day_is_told_why(shop: Installation) -> None:
    shop.vendor.refuse(NORD, "person4@example.org", 6)
    shop.day()

    text = told(shop, "contact:c4")
    assert lines(text)[0] == "✗ no"
    assert of("why", text)[0].startswith("vendor: a filter at the vendor refused the row (vendor's code 6)")
    assert of("consent", text)[0].endswith(" (web form), according to the CRM now")
    assert of("now", text) == ["that proof is the newest"]


def test_what_the_ledger_does_not_tell_is_left_open(shop: Installation) -> None:
    for number in (3, 4):
        shop.vendor.refuse(NORD, f"person{number}@example.org", 6)
    for passing in (2, 2, 0):
        shop.day()
        pass_days(shop, passing)
    engine = create_engine(shop.settings["storage"]["state_url"])
    with engine.begin() as connection:  # as if one of them had got in on the second day
        found = connection.execute(select(replace).where(replace.c.list == "newsletter").order_by(replace.c.started_at))
        connection.execute(update(replace).where(replace.c.id == found.all()[1].id).values(in_list=4))
    engine.dispose()

    text = told(shop, "contact:c4", day(2))
    assert lines(text)[0] == "?"
    assert of("beware", text) == [
        "the row was rejected before and after that proof; the rejections don't say whether at that one"
    ]
    assert lines(told(shop, "contact:c4"))[0] == "✗ no"


def test_a_bounce_since_that_day_is_told(shop: Installation) -> None:
    shop.day()
    pass_days(shop, 2)
    shop.vendor.publish(NORD, "getOutBounces", [["person3@example.org", str(int(HOURS_AGO.timestamp() * 1000))]])
    shop.day()

    text = told(shop, "contact:c3", day(1))
    assert lines(text)[0] == "✓ yes"
    (since,) = of("since", text)
    assert re.fullmatch(rf"the address bounced {MOMENT} \(optimizely:bounces\) and gets into no list", since)
    assert "selection: the address doesn't take mail: it bounced" in of("now", text)[0]


def test_the_old_address_proves_that_it_was_sent_to_and_the_new_one_is_told(shop: Installation) -> None:
    shop.day()
    pass_days(shop, 2)
    with shop.crm() as crm:
        crm.execute(update(schema.contact).where(schema.contact.c.id == "c1").values(email="new@example.org"))
    shop.day()

    for who in ("person1@example.org", "new@example.org"):
        text = told(shop, who, day(1))
        assert of("address", text) == ["person1@example.org"]
        assert of("since", text) == ["their address in the CRM isn't that one any more, but new@example.org"]


def test_the_end_of_the_day_in_the_mandators_time_zone_decides(shop: Installation) -> None:
    shop.day()
    pass_days(shop, 2)

    assert lines(told(shop, "contact:c1", day(2)))[0] == "✓ yes"
    sign, found = lines(told(shop, "contact:c1", day(3)))
    assert (sign, found[0][0]) == ("?", "consent")
    assert ("proven", "never by then") in found


def test_a_list_that_had_broken_off_by_then_is_left_open(shop: Installation) -> None:
    shop.day()
    pass_days(shop, 2)
    leave_a_replacement_unfinished(shop.settings["storage"]["state_url"], "newsletter")

    text = told(shop, "contact:c1")
    assert lines(text)[0] == "?"
    assert re.match(f"INCOMPLETE since {MOMENT}: it was cleared, and no proof followed by then", of("beware", text)[0])
    text = told(shop, "contact:c1", day(1))
    assert lines(text)[0] == "✓ yes"
    assert of("now", text)[0].startswith("INCOMPLETE since")


def test_a_snapshot_that_is_gone_is_named(shop: Installation) -> None:
    shop.day()
    for file in (shop.folder / "frames" / "snapshots" / "nord" / "newsletter").iterdir():
        file.unlink()

    text = told(shop, "contact:c1")
    assert lines(text)[0] == "?"
    assert "is missing; restore it from a backup" in of("beware", text)[0]


def test_a_day_that_lies_ahead_is_refused(shop: Installation) -> None:
    with pytest.raises(FutureDayError, match="lies ahead"):
        told(shop, "contact:c1", day(-2))


@pytest.mark.two_lists
def test_the_command_takes_a_list_with_and_without_its_mandator(shop: Installation) -> None:
    shop.day()
    assert shop.configuration

    for name, told_of in (("newsletter", ["nord/newsletter", "sued/newsletter"]), ("nord/products", ["nord/products"])):
        done = campaign_sync(shop.folder, "prove", "contact:c1", "--list", name, "--at", str(day(0)))
        assert done.returncode == 0, done.stderr
        assert re.findall(r"(?:nord|sued)/(?:newsletter|products)(?= )", done.stdout) == told_of
        assert all(len(line) <= 120 for line in done.stdout.splitlines())


@pytest.mark.two_lists
def test_who_is_unknown_exits_with_1_and_an_unknown_list_with_2(shop: Installation) -> None:
    shop.day()

    unknown = campaign_sync(shop.folder, "prove", "nobody@example.org", anew=True)
    assert unknown.returncode == 1
    assert "this address is neither in the CRM, nor in the snapshots in force now" in unknown.stderr
    assert "nobody" not in unknown.stderr
    wrong = campaign_sync(shop.folder, "prove", "contact:c1", "--list", "news")
    assert wrong.returncode == 2
    assert "it has nord/newsletter, nord/products, sued/newsletter" in wrong.stderr
