"""What changed in a list, as a person at a terminal is told."""

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
from campaign_sync.inquiry.errors import NothingToCompareError
from campaign_sync_tests.installation import NORD, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.time_travel import let_days_pass

HOURS_AGO = datetime.now(UTC) - timedelta(hours=3)


@pytest.fixture
def shop(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as built:
        yield built


def told(shop: Installation, *days: date, name: str = "newsletter", file: Path | None = None) -> str:
    text = io.StringIO()
    print_difference(shop.configuration, "nord", name, days, Console(file=text, width=120), file)
    return text.getvalue()


def lines(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def day(days_ago: int) -> date:
    """A day of the mandator's calendar."""
    return datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=days_ago)


def pass_days(shop: Installation, days: int) -> None:
    let_days_pass(shop.settings["storage"]["state_url"], days)


def change_much(shop: Installation) -> None:
    """Of five people one leaves the marketing list, one withdraws, one is refused, one moves; another one joins."""
    with shop.crm() as crm:
        crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id == "c1"))
        crm.execute(update(contact).where(contact.c.id == "c4").values(city="Aachen", first_name="Doro"))
        crm.execute(update(contact).where(contact.c.id == "c5").values(city="Aachen"))
    shop.consent("c2", "newsletter-nord", "withdrawn", HOURS_AGO)
    shop.vendor.refuse(NORD, "person3@example.org", 6)
    shop.add_contact("c6", "sixth@example.org")
    shop.list_settings()["limits"] = {"max_shrink": 1}


def test_who_joined_who_left_and_why_and_what_changed_is_counted(shop: Installation) -> None:
    shop.day()
    change_much(shop)
    shop.day()

    found = lines(told(shop))
    assert found[0][0].startswith("nord/newsletter ")
    assert re.search(r"\(5 in it\) → .* \(3 in it\) Europe/Berlin$", found[0][0])
    assert found[4:13] == [
        ["left", "3"],
        ["no longer selected", "1"],
        ["selection: withdrew the consent, or a person with the same address did", "1"],
        ["vendor: a filter at the vendor refused the row", "1"],
        ["joined", "1"],
        ["changed", "2"],
        ["Ort", "2"],
        ["Vorname", "1"],
        [""],
    ]
    assert ["contact:c1", "left", "no longer selected"] in found
    assert ["contact:c6", "joined"] in found
    assert ["contact:c4", "changed", "Ort, Vorname"] in found


def test_everybody_goes_into_the_csv_file_and_only_crm_ids_go_anywhere(shop: Installation) -> None:
    shop.day()
    change_much(shop)
    shop.day()
    file = shop.folder / "changes.csv"

    done = campaign_sync(shop.folder, "diff", "nord", "newsletter", "--csv", str(file))

    assert done.returncode == 0, done.stderr
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    assert rows == [
        ["entity", "change", "why", "columns"],
        ["contact:c1", "left", "no longer selected", ""],
        ["contact:c2", "left", "selection: withdrew the consent, or a person with the same address did", ""],
        ["contact:c3", "left", "vendor: a filter at the vendor refused the row", ""],
        ["contact:c6", "joined", "", ""],
        ["contact:c4", "changed", "", "Ort; Vorname"],
        ["contact:c5", "changed", "", "Ort"],
    ]
    everything = done.stdout + file.read_text(encoding="utf-8")
    assert not [word for word in ("example.org", "Doro", "Aachen", "Groß") if word in everything]


def test_a_day_without_changes_says_so(shop: Installation) -> None:
    shop.day()
    shop.day()

    assert "No one joined, left or changed." in told(shop)


def test_somebody_whom_the_vendor_refuses_every_day_leaves_once(shop: Installation) -> None:
    shop.day()
    shop.vendor.refuse(NORD, "person3@example.org", 6)
    shop.day()
    assert ["contact:c3", "left", "vendor: a filter at the vendor refused the row"] in lines(told(shop))

    shop.day()
    assert "No one joined, left or changed." in told(shop)


def test_another_address_is_a_change_of_the_same_person(shop: Installation) -> None:
    shop.day()
    with shop.crm() as crm:
        crm.execute(update(contact).where(contact.c.id == "c1").values(email="new@example.org"))
    shop.day()

    assert ["contact:c1", "changed", "address"] in lines(told(shop))


def test_of_many_people_some_of_every_kind_are_shown(shop: Installation) -> None:
    shop.day()
    for number in range(30):
        shop.add_contact(f"n{number:02}", f"new{number}@example.org")
    with shop.crm() as crm:
        crm.execute(schema.contact.update().where(contact.c.id == "c1").values(city="Aachen"))
        crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id == "c2"))
    shop.list_settings()["limits"] = {"max_growth": 100}
    shop.day()

    found = lines(told(shop))
    people = [line[0] for line in found if line[0].startswith("contact:")]
    assert len(people) == 20
    assert {"contact:c1", "contact:c2"} <= set(people)
    assert any(line[0] == "… and 12 more" for line in found)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Proven six, five and three days ago, and today; each time somebody more is in the list. For reading only."""
    with running_installation(tmp_path_factory.mktemp("week")) as shop:
        for number, passing in enumerate((1, 2, 3, 0)):
            shop.add_contact(f"n{number}", f"new{number}@example.org")
            shop.day()
            pass_days(shop, passing)
        yield shop


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
    found = lines(told(week, *(day(each) for each in days)))
    assert [line[0] for line in found if line[1:] == ["joined"]] == [f"contact:{each}" for each in joined]


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
def test_days_that_will_not_do_are_answered_by_those_that_will(
    week: Installation, days: Sequence[int], sentence: str
) -> None:
    with pytest.raises(NothingToCompareError) as caught:
        told(week, *(day(each) for each in days))
    assert str(caught.value).startswith(sentence.format(*(day(each) for each in range(10))))
    assert exit_code_of(caught.value) == SOMETHING_FAILED


def test_a_list_that_was_proven_once_or_never_has_nothing_to_compare(shop: Installation) -> None:
    with pytest.raises(NothingToCompareError, match="nord/newsletter was never proven"):
        told(shop)
    shop.day()
    with pytest.raises(NothingToCompareError, match=f"proven on {day(0)}; two different proofs are needed"):
        told(shop)


@pytest.mark.two_lists
def test_an_unknown_list_exits_with_2_and_the_known_ones(shop: Installation) -> None:
    assert shop.configuration

    done = campaign_sync(shop.folder, "diff", "nord", "news", anew=True)
    assert done.returncode == 2
    assert "it has newsletter, products" in done.stderr
