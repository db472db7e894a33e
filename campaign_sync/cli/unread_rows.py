"""Feedback rows that weren't understood: which there are, and the word of somebody who has looked into them."""

from datetime import UTC, datetime
from getpass import getuser
from socket import gethostname

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.config import Configuration
from campaign_sync.domain.text import format_row_count
from campaign_sync.feedback.parsing import UnparsedRows, preview_imports
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State

_SHOWN_OF_ID = 8
"""So many characters of an import's id tell it from the others."""


def show_unread(configuration: Configuration, mandator: str, console: Console) -> bool:
    """Print where the rows are that weren't understood, and why. Returns whether there are none.

    Raises:
        FileStorageError, StateError: a kept file or the state database can't be read.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        found = _unread(configuration, mandator, state)
    if not found:
        console.print(Text(f"Every fetched row of {mandator}'s feedback is understood."))
        return True
    columns = ("id", "reader", Column("file", overflow="fold"), "not read", Column("why", overflow="fold"))
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for one in found:
        cells = (one.import_id[:_SHOWN_OF_ID], one.reader, one.origin, f"{one.unread} of {one.rows}", one.why)
        table.add_row(*map(Text, cells))
    console.print(table)
    return False


def dismiss_unread(configuration: Configuration, mandator: str, import_id: str, reason: str, console: Console) -> None:
    """Ask for the rows of an import that weren't understood no more, and note who wanted that, and why.

    Raises:
        CommandError: no import with such rows has this id, or several have.
        FileStorageError, StateError: a kept file or the state database can't be read.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        found = _unread(configuration, mandator, state)
        chosen = [one for one in found if one.import_id.startswith(import_id)]
        if len(chosen) != 1:
            ids = ", ".join(one.import_id[:_SHOWN_OF_ID] for one in found) or "none"
            raise CommandError(
                f"{mandator} has no single file {import_id!r} with rows that can't be read; it has {ids}"
            )
        (one,) = chosen
        state.feedback_imports.dismiss(one.import_id, f"{getuser()}@{gethostname()}", reason, datetime.now(UTC))
    told = f"{format_row_count(one.unread)} of {one.origin} ({one.reader}) are dismissed. They stay kept as they came."
    console.print(Text(told))


def _unread(configuration: Configuration, mandator: str, state: State) -> list[UnparsedRows]:
    settings, frames = configuration.mandators[mandator], FileStorage(configuration.storage.frames)
    waiting = [one for one in state.feedback_imports.pending(mandator) if one.dismissed_at is None]
    return preview_imports(waiting, state, frames, mandator, settings).unread
