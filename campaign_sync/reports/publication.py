"""Publication of reports in the file storage, and removal of old ones."""

from collections.abc import Mapping
from datetime import date

from campaign_sync.config import Configuration, ReportSettings
from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.domain.message import Language
from campaign_sync.reports.daily_report import Report
from campaign_sync.storage.files import FileStorage

FOLDER = "reports"


def publish(report: Report, mandator: str, settings: ReportSettings, frames: FileStorage) -> dict[Language, str]:
    """Write the report in each configured language: as the page of its day, and as `latest`.

    Returns:
        The addresses of the pages of the day, paths or URLs.

    Raises:
        FileStorageError: the file storage can't be written to.
    """
    from campaign_sync.reports.html_page import render  # Jinja and Babel are for runs alone

    folder = f"{FOLDER}/{mandator}"
    addresses: dict[Language, str] = {}
    for language in settings.languages:
        page = render(report, language)
        addresses[language] = frames.write_page(f"{folder}/{report.day}.{language}.html", page)
        frames.write_page(f"{folder}/latest.{language}.html", page)
    return addresses


def report_link(configuration: Configuration, mandator: str, addresses: Mapping[Language, str]) -> str | None:
    """Return what a browser opens: the page of the mailed language, else the report's asset; None without either.

    `addresses` are those of its pages.
    """
    address = addresses.get(mail_language(configuration), "")
    if address.startswith(("https://", "http://")):
        return address
    page = AssetName(mandator, AssetKind.REPORT, prefix=configuration.prefix).page
    return f"{configuration.alarms.ui_url.rstrip('/')}{page}" if configuration.alarms.ui_url else None


def mail_language(configuration: Configuration) -> Language:
    """Return the language of mailed reports: that of the installation, if reports are written in it."""
    languages = configuration.reports.languages
    return configuration.language if configuration.language in languages else languages[0]


def remove_pages_before(frames: FileStorage, mandator: str, first_kept: date) -> int:
    """Remove the pages of earlier days. Return how many.

    Raises:
        FileStorageError: a page can't be removed.
    """
    folder = f"{FOLDER}/{mandator}"
    old = [name for name in frames.pages(folder) if (day := _day(name)) and day < first_kept]
    for name in old:
        frames.remove_page(f"{folder}/{name}")
    return len(old)


def _day(name: str) -> date | None:
    """Return the day of a page; None if its name has none."""
    try:
        return date.fromisoformat(name.partition(".")[0])
    except ValueError:
        return None
