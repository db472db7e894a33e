"""`campaign-sync feedback sample`: pseudonymized rows of the vendor's feedback, and a guess at their layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import yaml
from rich.console import Console
from rich.table import Column
from rich.text import Text

from campaign_sync.cli.documents import ReaderSample, SampleDocument
from campaign_sync.cli.error_handling import in_one_line
from campaign_sync.cli.output import plain_table
from campaign_sync.config import Configuration, FeedbackSettings, FileSettings
from campaign_sync.delivered_files.csv_decoder import decode_csv
from campaign_sync.delivered_files.errors import FileSourceError, UnreachableFilesError, UnsettledFileError
from campaign_sync.delivered_files.file_source import FileSource, RemoteFile
from campaign_sync.domain.feedback_rows import TECHNICAL_COLUMNS
from campaign_sync.domain.layout_guess import LayoutGuess, guess_layout
from campaign_sync.domain.sample_rows import pseudonymize_rows
from campaign_sync.feedback.feedback_fetcher import open_delivered_files
from campaign_sync.optimizely.client import Optimizely, connect_mandator
from campaign_sync.optimizely.errors import RefusedError
from campaign_sync.optimizely.services import ClosedLoopReader
from campaign_sync.storage.state import State

READERS = (
    ClosedLoopReader.OUT_BOUNCES,
    ClosedLoopReader.UNSUBSCRIBES,
    ClosedLoopReader.MAILING_UNSUBSCRIBES,
    ClosedLoopReader.RESPONSES,
)
"""The readers of unsubscribes and bounces."""

ROWS_READ = 200
ROWS_SHOWN = 5


@dataclass(frozen=True)
class Sample:
    """The first rows that a reader returned; if it refused, the vendor's message."""

    rows: list[list[str | None]]
    refusal: str | None = None


def show_sample(configuration: Configuration, mandator: str, days: int, console: Console) -> SampleDocument:
    """Print the first rows of each reader, pseudonymized, and the layouts to paste into the configuration.

    Returns them as a document.

    Args:
        configuration: the configuration.
        mandator: whose feedback to read.
        days: how many days of rows to read, by the vendor's clock. Of delivered files the newest is shown, however old.
        console: where to print.

    Raises:
        OptimizelyError: the vendor can't be reached, or doesn't let the user in.
        DeliveredFilesError: the files that it delivers can't be reached.
        StateError: the state database, which holds the key of the pseudonyms, can't be opened.
    """
    settings = configuration.mandators[mandator]
    feedback = settings.feedback
    opt_in_ids = {recipient_list.opt_in_id for recipient_list in settings.lists.values()}
    with State(configuration.storage.state_url.get_secret_value()) as state, console.status("Asking the vendor"):
        pseudonyms = state.pseudonyms
        if feedback.files:
            samples = _read_files(feedback, feedback.files)
        else:
            with connect_mandator(configuration, mandator) as vendor:
                samples = _read(vendor, days)
    guesses = {reader: guess_layout(sample.rows, opt_in_ids) for reader, sample in samples.items() if sample.rows}
    shown = {
        reader: pseudonymize_rows(samples[reader].rows[:ROWS_SHOWN], guess, pseudonyms, opt_in_ids)
        for reader, guess in guesses.items()
    }
    for reader, sample in samples.items():
        if sample.refusal:
            console.print(Text(f"{reader}: {sample.refusal}", "yellow"), soft_wrap=True)
        elif not sample.rows:
            nothing = "no file with rows" if feedback.files else f"no rows in the last {_days(days)}"
            console.print(Text(f"{reader}: {nothing}"), soft_wrap=True)
        else:
            _print_sample(reader, sample, shown[reader], guesses[reader].warnings, console)
    if guesses:
        _print_settings(mandator, guesses, console)
    return SampleDocument(
        mandator=mandator,
        readers=tuple(
            ReaderSample(
                reader=reader,
                refusal=sample.refusal,
                rows_read=len(sample.rows),
                rows=tuple(map(tuple, shown.get(reader, ()))),
                layout=_layout(guesses[reader]) if reader in guesses else None,
                warnings=guesses[reader].warnings if reader in guesses else (),
            )
            for reader, sample in samples.items()
        ),
    )


def _read(vendor: Optimizely, days: int) -> dict[ClosedLoopReader, Sample]:
    until = vendor.closed_loop.current_time()
    samples = {}
    for reader in READERS:
        try:
            rows = vendor.closed_loop.read(reader, until - timedelta(days=days), until, 0, ROWS_READ)
        except RefusedError as error:
            samples[reader] = Sample([], in_one_line(error))
        else:
            samples[reader] = Sample(rows)
    return samples


def _read_files(feedback: FeedbackSettings, files: FileSettings) -> dict[ClosedLoopReader, Sample]:
    """Return the first rows of the newest file of each reader."""
    samples = {}
    with open_delivered_files(files) as source:
        for name, reader in feedback.readers.items():
            samples[ClosedLoopReader(name)] = Sample([])
            for file in source.files(reader.files or "")[-1:]:
                samples[ClosedLoopReader(name)] = _first_rows(source, file, files.separator)
    return samples


def _first_rows(source: FileSource, file: RemoteFile, separator: str | None) -> Sample:
    try:
        content = source.read(file)
    except (FileSourceError, UnsettledFileError) as error:
        return Sample([], in_one_line(error))
    try:
        rows = decode_csv(content, separator, name=file.name)
    except (FileSourceError, UnreachableFilesError) as error:
        return Sample([], in_one_line(error))
    return Sample([list(row) for row in rows[:ROWS_READ]])


def _days(days: int) -> str:
    return "day" if days == 1 else f"{days} days"


def _print_sample(
    reader: ClosedLoopReader, sample: Sample, shown: Sequence[Sequence[str]], warnings: Sequence[str], console: Console
) -> None:
    columns = [Column(str(position), overflow="fold") for position in range(max(map(len, sample.rows)))]
    read = f"at least {ROWS_READ}" if len(sample.rows) == ROWS_READ else str(len(sample.rows))
    console.print(Text(f"{reader}: {len(shown)} of {read} rows", "bold"))
    table = plain_table(*columns)
    for cells in shown:
        table.add_row(*map(Text, cells))
    console.print(table)
    for warning in warnings:
        console.print(Text(f"? {warning}", "yellow"), soft_wrap=True)


def _print_settings(mandator: str, guesses: Mapping[ClosedLoopReader, LayoutGuess], console: Console) -> None:
    settings = {"feedback": {"readers": {reader.value: _layout(guess) for reader, guess in guesses.items()}}}
    # Without a width: a folded line would be copied with its break, which may fall into a column's name.
    text = yaml.safe_dump(settings, default_flow_style=None, sort_keys=False, allow_unicode=True, width=float("inf"))
    console.print()
    console.print(Text(f"To paste into mandators.{mandator}, once you have compared it with what was agreed:", "bold"))
    if any(None in (guess.recipient, guess.time, guess.time_format) for guess in guesses.values()):
        console.print(Text("Each null has to be filled in; see the warnings above.", "yellow"))
    console.print()
    console.print(Text(text), soft_wrap=True, end="")


def _layout(guess: LayoutGuess) -> dict[str, int | str | bool | None]:
    """Return the guess as settings. Unknown required keys are null, so that no default replaces them unseen."""
    optional: dict[str, int | str | None] = {
        name: getattr(guess, name) for name in ("category", "mailing", *TECHNICAL_COLUMNS)
    }
    return {
        "recipient": guess.recipient,
        "time": guess.time,
        **{key: column for key, column in optional.items() if column is not None},
        "header": guess.header,
        "time_format": guess.time_format,
    }
