"""`campaign-sync access`: everything that is stored of a person, as JSON and as a page (Art. 15 GDPR)."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.text import Text

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.inquiries import record_inquiry
from campaign_sync.cli.membership_text import SEARCH_STATUS
from campaign_sync.cli.output import plain_table, print_success, print_warning
from campaign_sync.cli.table_page import PageSection, PageTable, table_page
from campaign_sync.config import Configuration
from campaign_sync.domain.message import Language, Message
from campaign_sync.domain.moment import moment
from campaign_sync.inquiry.person_data import PersonData, Place, Row, collect_person_data
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.sources import open_sources
from campaign_sync.storage.private_files import create_private_folder, write_atomically

VERSION = 1
"""Of the JSON: counts up if something is removed, renamed or gets another meaning."""

_COLUMNS_ON_PAPER = 8


def write_access(configuration: Configuration, who: str, folder: Path | None, console: Console) -> Path:
    """Write everything that is stored of a person into a folder, and print in which places it was. Return the folder.

    Args:
        configuration: of everything.
        who: an address, or a record of the CRM.
        folder: where to write; by default a new one in the working directory, named by the time.
        console: where to print; no address is printed.

    Raises:
        InvalidPersonError: `who` is neither an address nor a record.
        UnknownPersonError: no place holds anything of them.
        CommandError: the files exist already, or can't be written.
        CrmError, FileStorageError, StateError: a place can't be read, so that the answer would be incomplete.
    """
    query, now = PersonQuery.parse(who), datetime.now(UTC)
    target = folder or Path(f"access-{now:%Y%m%dT%H%M%SZ}")
    names = {name: target / name for name in ("person.json", "person.html")}
    for path in names.values():
        if path.exists():
            raise CommandError(f"{path} exists; name another folder by --output, or remove it")
    with open_sources(configuration) as sources:
        record_inquiry(sources.state, "access", query)
        with console.status(SEARCH_STATUS) as status:
            data = collect_person_data(
                sources, query, lambda done, total: status.update(f"Searching file {done:,} of {total:,}")
            )
    contents = {"person.json": as_json(data, now), "person.html": as_page(data, now, configuration.language)}
    try:
        create_private_folder(target)
        for name, text in contents.items():
            write_atomically(names[name], text.encode())
    except OSError as error:
        raise CommandError(f"{target} can't be written to: {error.strerror}; choose another by --output") from None
    _print(data, target, console)
    return target


def as_json(data: PersonData, now: datetime) -> str:
    """Return the data as JSON. Names of columns are those of the places."""
    document = {
        "version": VERSION,
        "made_at": now,
        "asked": data.asked,
        "searched": {"addresses": data.addresses, "records": data.records},
        "notes": data.notes,
        "places": [
            {"place": place.title, "kept": place.kept, "notes": place.notes, "entries": place.rows}
            for place in data.places
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, default=_json_value) + "\n"


def as_page(data: PersonData, now: datetime, language: Language) -> str:
    """Return the data as one HTML page that loads nothing."""
    title = Message("What is stored of {person}", person=data.asked)
    sections = list(map(_section, data.places))
    return table_page(title, list(_introduction(data, now)), data.notes, sections, language)


def _introduction(data: PersonData, now: datetime) -> Iterator[Message]:
    yield Message(
        "As of {moment}. Searched for: {searched}.",
        moment=moment(now, UTC),
        searched=", ".join([*data.addresses, *data.records]),
    )
    yield Message(
        "Not in here, and to be added: what else the CRM holds, what Optimizely Campaign holds (recipient lists, "
        "unsubscribe list, blocklist, mailings), and backups. Purposes, legal bases and rights are those of your "
        "record of processing."
    )


def _section(place: Place) -> PageSection:
    tables = [table for _, rows in groupby(place.rows, key=tuple) for table in _tables(list(rows))]
    return PageSection(place.title, tables, Message("kept: {kept}", kept=place.kept), place.notes)


def _tables(rows: Sequence[Row]) -> Iterator[PageTable]:
    """Yield rows with the same columns as a table, or each as a table of its values if they don't fit on paper.

    Columns that have no value are left out.
    """
    columns = [name for name in rows[0] if not all(_is_missing(row[name]) for row in rows)]
    if len(columns) <= _COLUMNS_ON_PAPER:
        yield PageTable(columns, [[_cell(row[name]) for name in columns] for row in rows])
        return
    for row in rows:
        values = [(name, _cell(row[name])) for name in columns if not _is_missing(row[name])]
        yield PageTable(values[0], values[1:])


def _is_missing(value: object) -> bool:
    return value is None or value != value


def _cell(value: object) -> str:
    if _is_missing(value):
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S %Z}".strip() if isinstance(value, datetime) else str(value)


def _json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _print(data: PersonData, target: Path, console: Console) -> None:
    table = plain_table("place", "entries")
    for place in data.places:
        table.add_row(Text(place.title), Text(f"{len(place.rows):,}", justify="right"))
    console.print(table)
    if data.notes:
        print_warning(console, "the page says what to make sure of before the answer is given away")
    print_success(console, f"{target}/person.html and person.json have all of it, for your user alone")
