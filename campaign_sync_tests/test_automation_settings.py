"""The keys for automation, and for titles and owners."""

from datetime import timedelta
from pathlib import Path

import pytest

from campaign_sync_tests.test_configuration import load, problems, with_list_keys, with_mandator_keys

NORD = "mandators.nord"


def test_titles_may_be_in_any_script(tmp_path: Path) -> None:
    nord = load(tmp_path, with_mandator_keys("title: Süd & Söhne (Zürich)")).mandators["nord"]
    assert (nord.display_name("nord"), nord.lists["newsletter"].display_name("newsletter")) == (
        "Süd & Söhne (Zürich)",
        "newsletter",
    )
    nord = load(tmp_path, with_list_keys('title: " Рассылка 📬 "')).mandators["nord"]
    assert (nord.display_name("nord"), nord.lists["newsletter"].display_name("newsletter")) == ("nord", "Рассылка 📬")


def test_by_default_all_automation_is_on_and_no_run_starts_early(tmp_path: Path) -> None:
    nord = load(tmp_path, with_mandator_keys("owners: [team:marketing, j.gross@example.org]")).mandators["nord"]
    assert (nord.automation.repair, nord.automation.feedback_watch) == (True, True)
    assert (nord.crm_export, nord.deadline) == (None, None)
    assert nord.owners == ("team:marketing", "j.gross@example.org")
    export = load(tmp_path, with_mandator_keys("crm_export: {table: nightly}")).mandators["nord"].crm_export
    assert export
    assert (export.marker, export.table, export.earliest) == (None, "nightly", timedelta(hours=6))


@pytest.mark.parametrize("key", ["repair", "mend"])
def test_the_repair_is_switched_off_by_its_key_or_its_former_key(tmp_path: Path, key: str) -> None:
    nord = load(tmp_path, with_mandator_keys(f"automation: {{{key}: false}}")).mandators["nord"]
    assert nord.automation.repair is False


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('title: ""', f"6:12 {NORD}.title: the value is empty"),
        ('title: "two\\nlines"', f"6:12 {NORD}.title: one line of text is expected, at most 100 characters"),
        (f"title: {'x' * 101}", f"6:12 {NORD}.title: one line of text is expected, at most 100 characters"),
        ("owners: [marketing]", f"6:14 {NORD}.owners.0: an owner is an e-mail address, or a team like team:marketing"),
        ("owners: [team:a, jürgen@example.org]", f"6:22 {NORD}.owners.1: an owner is an e-mail address"),
        ("deadline: 7:00", f"6:15 {NORD}.deadline: "),
        ("crm_export: {}", f"6:17 {NORD}.crm_export: exactly one of marker and table is expected"),
        ("crm_export: {marker: a, table: b}", f"6:17 {NORD}.crm_export: exactly one of marker and table is expected"),
        (
            "crm_export: {marker: out_*/done}",
            f"6:26 {NORD}.crm_export.marker: *, ? and [ are wildcards in the name of the file only",
        ),
        ("crm_export: {table: a, earliest: 24h}", f"6:38 {NORD}.crm_export.earliest: at most 20h is expected"),
        ("crm_export: {tables: a}", f"6:18 {NORD}.crm_export.tables: this key isn't known; did you mean table?"),
        ("automation: {repair: perhaps}", f"6:26 {NORD}.automation.repair: true or false is expected"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, keys: str, problem: str) -> None:
    reported = problems(tmp_path, with_mandator_keys(keys))
    assert any(line.startswith(problem) for line in reported), reported
