"""`campaign-sync feedback unread` and `dismiss`: feedback rows that can't be parsed."""

from datetime import UTC, datetime
from uuid import uuid4

from rich.console import Console
from rich.table import Column
from rich.text import Text

from campaign_sync.cli.documents import UnreadDocument, UnreadImport
from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.output import plain_table
from campaign_sync.cli.user import user_and_host
from campaign_sync.config import Configuration
from campaign_sync.domain.text import format_row_count
from campaign_sync.feedback.pending_feedback import UnparsedRows, preview_imports
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State

_ID_LENGTH = 8
"""How many characters of an import's id are shown: enough to identify it."""


def show_unread(configuration: Configuration, mandator: str, console: Console) -> bool:
    """Print the imports with rows that can't be parsed, and why. Returns whether there are none.

    Raises:
        FileStorageError, StateError: a kept file or the state database can't be read.
    """
    unread = find_unread(configuration, mandator)
    if not unread.imports:
        console.print(Text(f"Every fetched row of {mandator}'s feedback can be read."))
        return True
    columns = ("id", "reader", Column("file", overflow="fold"), "not read", Column("why", overflow="fold"))
    table = plain_table(*columns)
    for rows in unread.imports:
        cells = (rows.import_id[:_ID_LENGTH], rows.reader, rows.origin, f"{rows.unread} of {rows.rows}", rows.why)
        table.add_row(*map(Text, cells))
    console.print(table)
    return False


def find_unread(configuration: Configuration, mandator: str) -> UnreadDocument:
    """Return the imports with rows that can't be parsed.

    Raises:
        FileStorageError, StateError: a kept file or the state database can't be read.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        unparsed = _unparsed(configuration, mandator, state)
    imports = tuple(UnreadImport.model_validate(vars(rows)) for rows in unparsed)
    return UnreadDocument(mandator=mandator, imports=imports)


def dismiss_unread(configuration: Configuration, mandator: str, import_id: str, reason: str, console: Console) -> None:
    """Dismiss the rows of an import that can't be parsed, and record who did that, and why.

    Raises:
        CommandError: no import with such rows has this id, or several have.
        FileStorageError, StateError: a kept file or the state database can't be read.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        unparsed = _unparsed(configuration, mandator, state)
        chosen = [rows for rows in unparsed if rows.import_id.startswith(import_id)]
        if len(chosen) != 1:
            ids = ", ".join(rows.import_id[:_ID_LENGTH] for rows in unparsed) or "none"
            raise CommandError(
                f"{mandator} has no single file {import_id!r} with rows that can't be read; it has {ids}"
            )
        (rows,) = chosen
        state.feedback_imports.dismiss(rows.import_id, user_and_host(), reason, datetime.now(UTC))
    dismissed = f"{format_row_count(rows.unread)} of {rows.origin} ({rows.reader})"
    console.print(Text(f"{dismissed} are dismissed. They stay kept as they came."))


def _unparsed(configuration: Configuration, mandator: str, state: State) -> list[UnparsedRows]:
    settings, frames = configuration.mandators[mandator], FileStorage(configuration.storage.frames)
    with state.heartbeats.keep_alive(f"inquiry {uuid4()}"):
        waiting = [entry for entry in state.feedback_imports.pending(mandator) if entry.dismissed_at is None]
        return preview_imports(waiting, state, frames, mandator, settings).unread
