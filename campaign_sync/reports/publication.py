"""Writes reports into the frame storage, and removes those of days long gone."""

from datetime import date

from campaign_sync.config import Language, ReportSettings
from campaign_sync.reports.daily_report import Report
from campaign_sync.reports.html_page import render
from campaign_sync.storage.files import FileStorage

FOLDER = "reports"


def write(report: Report, mandator: str, settings: ReportSettings, frames: FileStorage) -> dict[Language, str]:
    """Write the report in each configured language: the page of its day, and the newest one under a fixed name.

    Returns:
        The addresses of the pages of the day, paths or URLs.

    Raises:
        FileStorageError: the frame storage can't be written to.
    """
    folder = f"{FOLDER}/{mandator}"
    written: dict[Language, str] = {}
    for language in settings.languages:
        page = render(report, language)
        written[language] = frames.write_page(f"{folder}/{report.day}.{language}.html", page)
        frames.write_page(f"{folder}/latest.{language}.html", page)
    _remove_outlived(frames, folder, report.day - settings.keep)
    return written


def _remove_outlived(frames: FileStorage, folder: str, before: date) -> None:
    for name in frames.pages(folder):
        day = _day(name)
        if day and day < before:
            frames.remove_page(f"{folder}/{name}")


def _day(name: str) -> date | None:
    """The day of a page; None where its name has none."""
    try:
        return date.fromisoformat(name.partition(".")[0])
    except ValueError:
        return None
