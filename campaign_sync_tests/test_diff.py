"""`campaign-sync diff`: what changed in a list between two proofs."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console
from sqlalchemy import update

from campaign_sync.cli.diff import print_difference
from campaign_sync.cli.error_handling import SOMETHING_FAILED, exit_code_of
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.schema import contact, marketing_list_member
from campaign_sync.domain.rejection import Reason, describe_reason
from campaign_sync.inquiry.errors import NothingToCompareError
from campaign_sync_tests.installation import NORD, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.time_travel import let_days_pass

WITHDRAWN = f"selection: {describe_reason(Reason.CONSENT_WITHDRAWN)}"
HOURS_AGO = datetime.now(UTC) - timedelta(hours=3)


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as running:
        yield running


def output_of(installation: Installation, *days: date, name: str = "newsletter", file: Path | None = None) -> str:
    text = io.StringIO()
    print_difference(installation.configuration, "nord", name, days, Console(file=text, width=120), file)
    return text.getvalue()


def lines(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def day(days_ago: int) -> date:
    """Return a day of the mandator's calendar."""
    return datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=days_ago)


def pass_days(installation: Installation, days: int) -> None:
    let_days_pass(installation.settings["storage"]["state_url"], days)


def change_much(installation: Installation) -> None:
    """Remove one of five people from the marketing list, withdraw, refuse and move one each, and add a sixth."""
    with installation.crm() as crm:
        crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id == "c1"))
        crm.execute(update(contact).where(contact.c.id == "c4").values(city="Aachen", first_name="Doro"))
        crm.execute(update(contact).where(contact.c.id == "c5").values(city="Aachen"))
    installation.consent("c2", "newsletter-nord", "withdrawn", HOURS_AGO)
    installation.vendor.refuse(NORD, "person3@example.org", 6)
    installation.add_contact("c6", "sixth@example.org")
    installation.list_settings()["limits"] = {"max_shrink": 1}


def test_people_who_joined_left_or_changed_are_counted_with_reasons_and_columns(installation: Installation) -> None:
    installation.first_day()
    change_much(installation)
    installation.day()

    printed = lines(output_of(installation))
    assert printed[0][0].startswith("nord/newsletter ")
    assert re.search(r"\(5 in it\) → .* \(3 in it\) Europe/Berlin$", printed[0][0])
    assert printed[4:13] == [
        ["left", "3"],
        ["no longer selected", "1"],
        [WITHDRAWN, "1"],
        ["vendor: a filter at the vendor refused the row", "1"],
        ["joined", "1"],
        ["changed", "2"],
        ["Ort", "2"],
        ["Vorname", "1"],
        [""],
    ]
    assert ["contact:c1", "left", "no longer selected"] in printed
    assert ["contact:c6", "joined"] in printed
    assert ["contact:c4", "changed", "Ort, Vorname"] in printed


def test_the_csv_file_has_all_people_by_their_crm_ids_alone(installation: Installation) -> None:
    installation.first_day()
    change_much(installation)
    installation.day()
    file = installation.folder / "changes.csv"

    done = campaign_sync(installation.folder, "diff", "nord", "newsletter", "--csv", str(file))

    assert done.returncode == 0, done.stderr
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    assert rows == [
        ["entity", "change", "why", "columns"],
        ["contact:c1", "left", "no longer selected", ""],
        ["contact:c2", "left", WITHDRAWN, ""],
        ["contact:c3", "left", "vendor: a filter at the vendor refused the row", ""],
        ["contact:c6", "joined", "", ""],
        ["contact:c4", "changed", "", "Ort; Vorname"],
        ["contact:c5", "changed", "", "Ort"],
    ]
    everything = done.stdout + file.read_text(encoding="utf-8")
    assert not [word for word in ("example.org", "Doro", "Aachen", "Groß") if word in everything]


@pytest.mark.long
def test_a_day_without_changes_says_so(installation: Installation) -> None:
    installation.first_day()
    installation.day()

    assert "No one joined, left or changed." in output_of(installation)


@pytest.mark.long
def test_a_person_whom_the_vendor_refuses_every_day_leaves_once(installation: Installation) -> None:
    installation.first_day()
    installation.vendor.refuse(NORD, "person3@example.org", 6)
    installation.day()
    assert ["contact:c3", "left", "vendor: a filter at the vendor refused the row"] in lines(output_of(installation))

    installation.day()
    assert "No one joined, left or changed." in output_of(installation)


@pytest.mark.long
def test_another_address_is_a_change_of_the_same_person(installation: Installation) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.execute(update(contact).where(contact.c.id == "c1").values(email="new@example.org"))
    installation.day()

    assert ["contact:c1", "changed", "address"] in lines(output_of(installation))


@pytest.mark.long
def test_of_many_people_a_few_of_every_kind_are_shown(installation: Installation) -> None:
    installation.first_day()
    for number in range(30):
        installation.add_contact(f"n{number:02}", f"new{number}@example.org")
    with installation.crm() as crm:
        crm.execute(schema.contact.update().where(contact.c.id == "c1").values(city="Aachen"))
        crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id == "c2"))
    installation.list_settings()["limits"] = {"max_growth": 100}
    installation.day()

    printed = lines(output_of(installation))
    people = [line[0] for line in printed if line[0].startswith("contact:")]
    assert len(people) == 20
    assert {"contact:c1", "contact:c2"} <= set(people)
    assert any(line[0] == "… and 12 more" for line in printed)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Proven six, five and three days ago, and today; each time with one more recipient. For reading only."""
    with running_installation(tmp_path_factory.mktemp("week"), two_lists=False) as installation:
        for number, passing in enumerate((1, 2, 3, 0)):
            installation.add_contact(f"n{number}", f"new{number}@example.org")
            installation.day()
            pass_days(installation, passing)
        yield installation


reads_a_week = pytest.mark.xdist_group("week")
"""On one worker, so that the week passes once."""


@reads_a_week
@pytest.mark.parametrize(
    ("days", "joined"),
    [
        ([], ["n3"]),
        ([5], ["n2", "n3"]),
        ([6, 3], ["n1", "n2"]),
        ([3, 6], ["n1", "n2"]),
    ],
    ids=["the last two", "one and the newest", "two", "in any order"],
)
def test_the_days_decide_what_is_compared(week: Installation, days: Sequence[int], joined: list[str]) -> None:
    printed = lines(output_of(week, *map(day, days)))
    assert [line[0] for line in printed if line[1:] == ["joined"]] == [f"contact:{key}" for key in joined]


@reads_a_week
@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ([4], "there is no proof of {4}: nord/newsletter was proven on {6} to {5}, {3}, {0}"),
        ([9, 8], "there is no proof of {9} or {8}: nord/newsletter was proven on {6} to {5}, {3}, {0}"),
        ([0], "there is nothing to compare: nord/newsletter was proven on {6} to {5}, {3}, {0}"),
        ([6, 5, 3], "more than two days can't be compared"),
    ],
)
def test_days_without_a_proof_are_answered_with_the_days_that_have_one(
    week: Installation, days: Sequence[int], sentence: str
) -> None:
    with pytest.raises(NothingToCompareError) as caught:
        output_of(week, *map(day, days))
    assert str(caught.value).startswith(sentence.format(*map(day, range(10))))
    assert exit_code_of(caught.value) == SOMETHING_FAILED


def test_a_list_that_was_proven_once_or_never_has_nothing_to_compare(installation: Installation) -> None:
    with pytest.raises(NothingToCompareError, match="nord/newsletter was never proven"):
        output_of(installation)
    installation.day()
    with pytest.raises(NothingToCompareError, match=f"proven on {day(0)}; two different proofs are needed"):
        output_of(installation)


@pytest.mark.two_lists
def test_an_unknown_list_exits_with_2_and_the_known_ones(installation: Installation) -> None:
    assert installation.configuration

    done = campaign_sync(installation.folder, "diff", "nord", "news", new_python=True)
    assert done.returncode == 2
    assert "it has newsletter, products" in done.stderr
