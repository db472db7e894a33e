"""Publication of reports in the file storage, and removal of old ones."""

from datetime import date

from campaign_sync.config import Language, ReportSettings
from campaign_sync.reports.daily_report import Report
from campaign_sync.reports.html_page import render
from campaign_sync.storage.files import FileStorage

FOLDER = "reports"


def publish(report: Report, mandator: str, settings: ReportSettings, frames: FileStorage) -> dict[Language, str]:
    """Write the report in each configured language: as the page of its day, and as `latest`.

    Returns:
        The addresses of the pages of the day, paths or URLs.

    Raises:
        FileStorageError: the file storage can't be written to.
    """
    folder = f"{FOLDER}/{mandator}"
    addresses: dict[Language, str] = {}
    for language in settings.languages:
        page = render(report, language)
        addresses[language] = frames.write_page(f"{folder}/{report.day}.{language}.html", page)
        frames.write_page(f"{folder}/latest.{language}.html", page)
    _remove_pages_before(frames, folder, report.day - settings.keep)
    return addresses


def _remove_pages_before(frames: FileStorage, folder: str, first_kept: date) -> None:
    for name in frames.pages(folder):
        day = _day(name)
        if day and day < first_kept:
            frames.remove_page(f"{folder}/{name}")


def _day(name: str) -> date | None:
    """Return the day of a page; None if its name has none."""
    try:
        return date.fromisoformat(name.partition(".")[0])
    except ValueError:
        return None
