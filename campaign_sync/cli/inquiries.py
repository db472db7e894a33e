"""`campaign-sync inquiries`: who asked about people, and who accepted an exception; and the record of each question."""

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Column
from rich.text import Text

from campaign_sync.cli.documents import InquiriesDocument, InquiryEntry
from campaign_sync.cli.output import LocalTime, plain_table
from campaign_sync.cli.user import user_and_host
from campaign_sync.config import Configuration
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.storage.open import open_state
from campaign_sync.storage.state import State


def record_inquiry(
    state: State,
    command: str,
    query: PersonQuery | None = None,
    *,
    mandator: str | None = None,
    name: str | None = None,
) -> None:
    """Record who asks what, before the answer is looked up: without the record there is no answer.

    Args:
        state: the state database.
        command: the command that answers.
        query: the person; None if many are shown.
        mandator: the only mandator that is asked about.
        name: the only list.

    Raises:
        StateError: it can't be recorded.
    """
    about = query.subject if query else None
    state.inquiries.record(command, user_and_host(), datetime.now(UTC), about=about, mandator=mandator, name=name)


def find_inquiries(configuration: Configuration, who: str | None, days: int) -> InquiriesDocument:
    """Return who asked about people in the last days.

    Args:
        configuration: of everything.
        who: the only person of interest: an address in any spelling, or a record, whichever it was asked for by.
            None for all inquiries and accepted exceptions.
        days: how many days.

    Raises:
        InvalidPersonError: `who` is neither an address nor a record.
        StateError: the state database can't be used.
    """
    query, since = PersonQuery.parse(who) if who else None, datetime.now(UTC) - timedelta(days=days)
    with open_state(configuration) as state:
        entries = state.inquiries.about([query.subject]) if query else state.inquiries.since(since)
    asked = (InquiryEntry.model_validate(vars(entry)) for entry in entries if entry.asked_at >= since)
    return InquiriesDocument(days=days, inquiries=tuple(asked))


def print_inquiries(document: InquiriesDocument, configuration: Configuration, console: Console) -> None:
    """Print the inquiries, in the time zone of the first mandator."""
    if not document.inquiries:
        console.print(Text(f"No inquiry is recorded in the last {document.days} days."))
        return
    local = LocalTime(next(iter(configuration.mandators.values())).zone)
    table = plain_table(
        f"when ({local.zone.key})", Column("who", overflow="fold"), "command", "about", Column("of", overflow="fold")
    )
    for entry in document.inquiries:
        place = "/".join(filter(None, (entry.mandator, entry.list)))
        table.add_row(*map(Text, (local(entry.asked_at), entry.asked_by, entry.command, entry.subject or "", place)))
    console.print(table)
