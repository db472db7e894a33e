"""`campaign-sync report`: a mandator's report, also written at the end of each run."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.config import Configuration
from campaign_sync.domain.message import Language
from campaign_sync.optimizely.client import connect_mandator
from campaign_sync.replacement.scheduled_mailings import scheduled_mailings
from campaign_sync.reports.collection import gather
from campaign_sync.reports.daily_report import Report
from campaign_sync.reports.html_page import render
from campaign_sync.reports.mail import mail_report
from campaign_sync.reports.publication import publish, report_link
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.open import open_state
from campaign_sync.storage.state import State

if TYPE_CHECKING:
    import dagster as dg


def write_report(
    configuration: Configuration, mandator: str, language: Language | None, file: Path | None, console: Console
) -> None:
    """Write the report as of now and print where it is: into the frame storage, or one language of it to `file`.

    Raises:
        CommandError: no language is configured, or the file can't be written.
        StateError, FileStorageError: the state database or the frame storage can't be used.
    """
    chosen = language or next(iter(configuration.reports.languages), None)
    if chosen is None:
        raise CommandError("reports.languages is empty; name one with --language, and a file with --output")
    frames = FileStorage(configuration.storage.frames)
    report = _gather(configuration, mandator, frames)
    if file:
        _write_file(file, render(report, chosen))
        _print(console, str(file))
        return
    settings = configuration.reports
    if language:
        settings = settings.model_copy(update={"languages": (language,)})
    for address in publish(report, mandator, settings, frames).values():
        _print(console, address)


def report_after_run(
    configuration: Configuration, mandator: str, run_id: str, console: Console, instance: "dg.DagsterInstance"
) -> str | None:
    """Write the report at the end of a run, print and return where it is, and link it on the run's page.

    If that fails, the reason is printed; the outcome of the run isn't affected.
    """
    if not configuration.reports.languages:
        return None
    from campaign_sync.orchestration.assets.report import REPORT_TAG

    address = None
    try:
        frames = FileStorage(configuration.storage.frames)
        report = _gather(configuration, mandator, frames, instance)
        addresses = publish(report, mandator, configuration.reports, frames)
        address = next(iter(addresses.values()))
        _print(console, f"report: {address}")
        instance.add_run_tags(run_id, {REPORT_TAG: address})
        link, now = report_link(configuration, mandator, addresses), datetime.now(UTC)
        with State(configuration.storage.state_url.get_secret_value()) as state:
            if problem := mail_report(report, mandator, configuration, state, link, now):
                _print(console, f"report: not mailed, {problem}")
    except (StateError, FileStorageError) as error:
        _print(console, f"report: not written, {error}")
    except Exception as error:  # noqa: BLE001 - a report that fails must not fail the run
        details = f"`campaign-sync report {mandator}` shows the details"
        _print(console, f"report: not written, {type(error).__name__}; {details}")
    return address


def _gather(
    configuration: Configuration, mandator: str, frames: FileStorage, opened: "dg.DagsterInstance | None" = None
) -> Report:
    # Imports Dagster, which `campaign-sync report --help` needn't wait for.
    from campaign_sync.cli.dagster_instance import known_attempts, known_day
    from campaign_sync.orchestration.mandator_days import reported_day

    attempts = known_attempts(configuration, mandator, opened)
    with ExitStack() as connections:
        mailings = scheduled_mailings(
            configuration.mandators[mandator],
            (attempts or {}).values(),
            lambda: connections.enter_context(connect_mandator(configuration, mandator)),
        )
    with open_state(configuration) as state:
        unfinished_day = reported_day(known_day(configuration, mandator, state, opened))
        return gather(configuration, mandator, state, frames, datetime.now(UTC), attempts, unfinished_day, mailings)


def _write_file(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} can't be written: {error.strerror}; name another with --output") from None


def _print(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True, highlight=False)
