"""The German pages explain what their readers meet: checks, statuses, reasons, and where people's data are kept."""

import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from campaign_sync.domain.readiness import Readiness
from campaign_sync.orchestration import check_names, feedback_checks
from campaign_sync.orchestration.assets import bounces_unsubscribes, recipient_list, selection, snapshot
from campaign_sync.reports.check_findings import CHECK_TITLES
from campaign_sync.reports.list_cards import STATUS_TEXTS
from campaign_sync.reports.localization import Localizer
from campaign_sync.reports.reason_figures import REASON_TITLES
from campaign_sync.storage.consent_tables import metadata
from campaign_sync_tests.import_graph import DOCUMENT

GERMAN = Localizer("de", ZoneInfo("Europe/Berlin"))

CHECKS_OF_AUDIT = {"complete", "agreed"}

ABOUT_PEOPLE = {
    "recipient_id",
    "recipient",
    "address",
    "entity_id",
    "entity",
    "accepted_by",
    "dismissed_by",
    "approved_by",
    "asked_by",
}
"""Columns of the state database that hold people or their pseudonyms."""


def page(name: str) -> str:
    return (DOCUMENT.parent / "de" / f"{name}.md").read_text(encoding="utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """Yield the rows of all tables of a page."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip("|").split(" |")]


def test_every_check_is_explained() -> None:
    checks = {
        *(selection.CHECKS | snapshot.CHECK_DESCRIPTIONS | recipient_list.CHECKS),
        *(bounces_unsubscribes.CHECKS | feedback_checks.CHECKS),
        *{check_names.UNCHANGED, check_names.USABLE} | CHECKS_OF_AUDIT,
    }
    explained = {name for row in rows(page("pruefungen")) for name in re.findall(r"`(\w+)`", row[0])}
    assert explained == checks
    titles = {name: GERMAN.gettext(title) for name, title in CHECK_TITLES.items()}
    named = [row[0] for row in rows(page("pruefungen"))]
    assert [
        name for name, title in titles.items() if not any(cell.startswith(f"{title} (`{name}`") for cell in named)
    ] == []


def test_every_status_has_the_colour_of_its_headline() -> None:
    colours = {row[0]: row[1] for row in rows(page("marketing"))}
    for status in Readiness:
        colour = "grün" if status is Readiness.READY else "gelb" if status.complete else "rot"
        assert colours[GERMAN.gettext(STATUS_TEXTS[status])] == colour


def test_every_reason_of_the_report_is_explained() -> None:
    explained = {reason for row in rows(page("marketing")) for reason in row[0].split("; ")}
    assert {GERMAN.gettext(title) for title in REASON_TITLES.values()} - explained == set()


def test_every_table_with_people_is_in_the_list_for_privacy_officers() -> None:
    tables = {name for name, table in metadata.tables.items() if ABOUT_PEOPLE & set(table.columns.keys())}
    named = {name for row in rows(page("datenschutz")) for name in re.findall(r"`(\w+)`", row[0])}
    assert tables - named == set()
