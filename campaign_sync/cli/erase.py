"""`campaign-sync erase`: the erasure of people, and what is left of them in each place."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Column
from rich.text import Text

from campaign_sync.cli.documents import ErasedPlace, ErasureDocument, ErasureResult
from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.inquiries import record_inquiry
from campaign_sync.cli.output import plain_table, print_success, print_warning
from campaign_sync.cli.user import user_and_host
from campaign_sync.config import Configuration
from campaign_sync.crm.open import open_crm
from campaign_sync.domain.address import POSSIBLE_ADDRESS, former_recipient_id, usable_address
from campaign_sync.domain.erasure import Erasure
from campaign_sync.erasure.person_search import FoundPerson, find_people
from campaign_sync.erasure.removal import ErasureReport, Removal
from campaign_sync.inquiry.errors import InvalidPersonError
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.open import open_state
from campaign_sync.storage.state import State

log = logging.getLogger(__name__)

_SHOWN_LINES = 10
"""How many lines of a batch file are named at most."""


def read_batch(path: Path) -> list[str]:
    """Return the people of a batch file: one in each line; blank lines and those that begin with # don't count.

    Raises:
        CommandError: it can't be read, a line has something else, or none has a person.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it isn't UTF-8"
        raise CommandError(f"{path} (--batch) can't be read: {reason}") from None
    people = {number: line.strip() for number, line in enumerate(lines, 1)}
    people = {number: who for number, who in people.items() if who and not who.startswith("#")}
    if not people:
        raise CommandError(f"{path} (--batch) has no person in any line")
    if wrong := [str(number) for number, who in people.items() if not _may_be_person(who)]:
        numbers = ", ".join(wrong[:_SHOWN_LINES]) + (" …" if len(wrong) > _SHOWN_LINES else "")
        raise CommandError(
            f"{path} (--batch) must have one address, or one record like contact:4711, in each line, and nothing else; "
            f"correct line {numbers}"
        )
    return list(people.values())


def _may_be_person(text: str) -> bool:
    try:
        query = PersonQuery.parse(text)
    except InvalidPersonError:
        return False
    return query.entity is not None or bool(usable_address(text) or former_recipient_id(text))


def erase_people(
    configuration: Configuration,
    people: Sequence[str],
    reason: str,
    console: Console,
    *,
    dry_run: bool,
    confirmed: bool,
) -> ErasureDocument:
    """Erase people: from then on they are suppressed, and are removed from all places as far as that is possible now.

    Args:
        configuration: of everything.
        people: addresses or records.
        reason: why; it names no person.
        console: shows what was found.
        dry_run: whether only to show whom it would erase.
        confirmed: whether not to ask.

    Raises:
        CommandError: the reason names a person. Nothing was changed.
        InvalidPersonError: an entry of `people` is neither an address nor a record, or can't be an address and no
            record has it. Nothing was changed.
        ErasureKeyError: the key of erasures isn't usable. Nothing was changed.
        CrmError, FileStorageError: the people can't be found completely. Nothing was changed.
        StateError: the state database can't be used.
    """
    if POSSIBLE_ADDRESS.search(reason):
        raise CommandError("the --reason is kept for ever, so it names no person; give the number of the request")
    queries = [PersonQuery.parse(who) for who in people]
    with open_state(configuration) as state:
        files = FileStorage(configuration.storage.frames)
        key = state.erasures.key()
        for query in queries:
            record_inquiry(state, "erase", query)
        crm = open_crm(configuration, state.consent_memory(read_only=True))
        with (
            state.heartbeats.keep_alive(f"search {uuid4()}"),
            console.status("Searching the CRM and all snapshots …") as status,
            crm.snapshot() as snapshot,
        ):

            def show(done: int, total: int) -> None:
                status.update(f"Searching snapshot {done:,} of {total:,}")

            persons = find_people(queries, snapshot, state.people_links, files, show)
        persons = _distinct(persons)
        for person in persons:
            _print_person(person, console)
        _require_addresses(persons)
        if dry_run:
            return ErasureDocument(dry_run=True, pending=False, erasures=())
        if not confirmed:
            _confirm(len(persons))
        now = datetime.now(UTC)
        for person in persons:
            names = {*person.addresses, *map(str, person.records)}
            subjects = key.subjects(person.addresses, map(str, person.records), map(state.pseudonyms.of, names))
            erasure = Erasure(str(uuid4()), now, user_and_host(), reason, key.probe, subjects)
            state.erasures.record(erasure)
        return _removed(configuration, state, files, console)


def _distinct(people: Sequence[FoundPerson]) -> list[FoundPerson]:
    """Leave out people who are named once more, in another spelling or by a record."""
    by_names = {(person.addresses, person.records): person for person in reversed(people)}
    return list(reversed(by_names.values()))


def _require_addresses(people: Sequence[FoundPerson]) -> None:
    """Refuse what can't be an address and no record has: it would count as erased, and no one would be."""
    unknown = [person.query.text for person in people if not person.is_known and not _may_be_person(person.query.text)]
    if unknown:
        raise InvalidPersonError(
            f"{len(unknown)} of these can't be an address, and no record has it; nothing was changed. Check how it is "
            "written, or name the record, like contact:4711"
        )


def retry_erasures(configuration: Configuration, console: Console) -> ErasureDocument:
    """Remove what earlier erasures left pending; the console shows how far it is.

    Raises:
        ErasureKeyError, StateError, FileStorageError: what is pending can't be found.
    """
    with open_state(configuration) as state:
        return _removed(configuration, state, FileStorage(configuration.storage.frames), console)


def list_erasures(configuration: Configuration) -> ErasureDocument:
    """Return all erasures. They name no person.

    Raises:
        StateError: the state database can't be used.
    """
    with open_state(configuration) as state:
        return _document(Removal(configuration, state, FileStorage(configuration.storage.frames)).reports())


def print_erasures(document: ErasureDocument, console: Console) -> None:
    """Print what is left of the people of erasures in each place."""
    if document.dry_run:
        console.print(Text("Nothing was changed: --dry-run."))
        return
    if not document.erasures:
        console.print(Text("No erasure is recorded, or nothing is pending."))
    for erasure in document.erasures:
        status = f"done {erasure.done_at:%Y-%m-%d %H:%M} UTC" if erasure.done_at else "pending"
        table = plain_table(
            "place",
            "state",
            "rows",
            Column("note", overflow="fold"),
            title=f"{erasure.id}, {erasure.erased_at:%Y-%m-%d %H:%M} UTC, {status}",
        )
        for place in erasure.places:
            table.add_row(Text(place.place), Text(place.state), str(place.rows or ""), Text(place.note or ""))
        console.print(table)
    if document.pending:
        print_warning(
            console, "What is pending is tried again by the retention job, and by `campaign-sync erase --retry`"
        )
    elif document.erasures:
        left = "Nothing of them is left in places of ours, but what goes by age; they stay suppressed by keyed hashes"
        print_success(console, left)


def _removed(configuration: Configuration, state: State, files: FileStorage, console: Console) -> ErasureDocument:
    with console.status("Removing …") as status:

        def show(place: str, done: int, total: int) -> None:
            status.update(f"Searching {place}: file {done:,} of {total:,}")

        return _document(Removal(configuration, state, files, on_wait=log.warning, on_file=show).attempt())


def _document(reports: Sequence[ErasureReport]) -> ErasureDocument:
    return ErasureDocument(
        dry_run=False,
        pending=any(report.is_pending for report in reports),
        erasures=tuple(
            ErasureResult(
                id=report.erasure.id,
                erased_at=report.erasure.erased_at,
                asked_by=report.erasure.asked_by,
                reason=report.erasure.reason,
                done_at=report.done_at,
                places=tuple(
                    ErasedPlace(place=place.place, state=place.state.value, rows=place.rows, note=place.note)
                    for place in report.places
                ),
            )
            for report in reports
        ),
    )


def _print_person(person: FoundPerson, console: Console) -> None:
    """Print whom a query means, with addresses: only for the user who asked for this very person."""
    console.print(Text(person.query.text, "bold"))
    console.print(Text(f"addresses: {', '.join(sorted(person.addresses)) or 'none'}"))
    console.print(Text(f"records: {', '.join(sorted(map(str, person.records))) or 'none'}"))
    if not person.is_known:
        print_warning(console, "No record of this person is known; make sure that the address is written right")
    if person.shared:
        print_warning(
            console,
            f"{person.shared} of their addresses belong to other records in the CRM now, and aren't erased; erase such "
            "an address by itself if it is theirs alone",
        )
    if person.former_holders:
        records = ", ".join(map(str, person.former_holders))
        print_warning(
            console,
            f"{records} had this address once and has another now, and isn't erased; erase it by itself if meant",
        )


def _confirm(people: int) -> None:
    subject = "this person" if people == 1 else f"these {people} people"
    typer.confirm(f"Erase {subject}? That can't be undone", abort=True, err=True)
