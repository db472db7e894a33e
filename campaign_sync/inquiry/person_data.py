"""Everything that is stored of a person, by place: the answer to Art. 15 GDPR.

The CRM and the vendor hold more, which is theirs to say.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.delivered_files.raw_text import is_searchable, texts
from campaign_sync.domain.address import POSSIBLE_ADDRESS, former_recipient_id, usable_address
from campaign_sync.domain.arrow_text import is_among
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.erasure import Erased
from campaign_sync.domain.message import Message
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.selection import NORMALIZED_ADDRESS
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.sources import Sources
from campaign_sync.storage.csv_rows import csv_rows
from campaign_sync.storage.expired_files import ASSETS, RESPONSES, SNAPSHOTS
from campaign_sync.storage.files import RAW, FileStorage
from campaign_sync.storage.tables import inquiry

FEEDBACK = "feedback"
"""The folder of feedback as it came."""

_CELLS = re.compile(r"[;,\t|\"]")
"""What separates the cells of files that can't be read as rows."""

_ADDRESSES = (RECIPIENT_ID, ADDRESS, NORMALIZED_ADDRESS, "email")
_RECORD = ("entity_type", "entity_id")

Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """What one place holds of the person."""

    title: Message
    kept: Message
    """How long."""
    rows: Sequence[Row]
    notes: Sequence[Message] = ()


@dataclass(frozen=True)
class PersonData:
    """What is stored of one person."""

    asked: str
    """The address or record that was asked for."""
    addresses: Sequence[str]
    records: Sequence[str]
    """What was searched for."""
    places: Sequence[Place]
    notes: Sequence[Message] = ()


@dataclass(frozen=True)
class SearchedPerson:
    """The addresses and records by which a person's data is found.

    By an address: all rows with it, and those of the records that have it in the CRM. By a record: all rows with the
    record, and rows that name an address alone with its address in the CRM.
    """

    addresses: frozenset[str]
    records: frozenset[Entity]
    by_address: bool
    sharing: tuple[Entity, ...] = ()
    """Other records of the CRM with the address of the record that was asked for."""

    @classmethod
    def of(cls, query: PersonQuery, crm: CrmSnapshot) -> "SearchedPerson":
        """Return what a question is about, by the CRM of now."""
        if query.entity is None:
            return cls(_spellings(query.text), frozenset(crm.entities_with(query.address or "")), True)
        email = crm.email(query.entity)
        sharing = tuple(entity for entity in crm.entities_with(email or "") if entity != query.entity) if email else ()
        return cls(_spellings(email or ""), frozenset([query.entity]), False, sharing)

    def in_row(self, addresses: Sequence[object], record: Entity | None) -> bool:
        """Return whether a row with these addresses, and this record if it names one, is about the person."""
        if record is not None and not self.by_address:
            return record in self.records
        return record in self.records or any(address_key(address) in self.addresses for address in addresses)

    def in_cells(self, cells: Sequence[str]) -> bool:
        """Return whether a row as received has one of the addresses, also within a text, or one of the records."""
        for cell in cells:
            candidates = (cell, *POSSIBLE_ADDRESS.findall(cell)) if "@" in cell else ()
            if any(address_key(text) in self.addresses for text in candidates):
                return True
        kinds = {cell.strip().lower() for cell in cells} & set(EntityType)
        ids = {cell.strip() for cell in cells} if kinds else set()
        return any(record.entity_type in kinds and record.entity_id in ids for record in self.records)

    def tokens(self, pseudonym: Callable[[str], str], erased: Erased) -> frozenset[str]:
        """Return what the state database knows them by, besides records; by hashes as well, if they were erased."""
        records = [str(record) for record in self.records]
        pseudonyms = [pseudonym(text) for text in (*self.addresses, *records)]
        tokens = {*self.addresses, *pseudonyms}
        if erased.key:
            tokens |= {erased.address_token(address) for address in self.addresses}
            tokens |= {subject.digest for subject in erased.key.subjects(self.addresses, records, pseudonyms)}
        return frozenset(tokens)


def collect_person_data(sources: Sources, query: PersonQuery, on_file: Callable[[int, int], None]) -> PersonData:
    """Return everything that is stored of the person whom a query names.

    Args:
        sources: the CRM, the files and our own state.
        query: the person.
        on_file: receives how many files were searched, and how many there are.

    Raises:
        UnknownPersonError: no place holds anything of them.
        CrmError, FileStorageError, StateError, ErasureKeyError: a place can't be read, or the hashes of erased people
            can't be made, so that the answer would be incomplete.
    """
    person = SearchedPerson.of(query, sources.crm)
    limits, files = sources.configuration.retention, sources.archive.files
    folders = {folder: files.names(folder) for folder in (SNAPSHOTS, ASSETS, FEEDBACK, RESPONSES)}
    progress = _Progress(sum(map(len, folders.values())), on_file)

    def rows_of(folder: str) -> list[Row]:
        return [row for name in folders[folder] for row in _rows_of_file(files, name, person, progress)]

    frozen = _without_repetitions(rows_of(SNAPSHOTS))
    places = [
        Place(Message("CRM"), Message("as long as you decide there"), list(_in_crm(sources, person))),
        Place(
            Message("Snapshots and plans of recipient lists"),
            Message("{days:g} days", days=_days(limits.frames)),
            frozen,
            [Message("Equal rows of several days are shown once, with the first and the last time.")] if frozen else [],
        ),
        Place(Message("Selection and suppression of the last run"), Message("until the next run"), rows_of(ASSETS)),
        Place(
            Message("Feedback as received"),
            Message("{days:g} days", days=_days(limits.feedback)),
            rows_of(FEEDBACK),
            [
                Message("{file} is packed, and cut off or damaged: not all of it could be searched.", file=name)
                for name in folders[FEEDBACK]
                if name.endswith(RAW) and not is_searchable(files.read_document(name))
            ],
        ),
        Place(
            Message("Opens, clicks and other responses"),
            Message("{days:g} days", days=_days(limits.responses)),
            rows_of(RESPONSES),
        ),
        *_in_state(sources, person),
    ]
    if not any(place.rows for place in places if place.title.values.get("table") != inquiry.name):
        raise query.unknown_error("any file that is kept", feedback=True)
    return PersonData(
        query.subject,
        sorted(person.addresses),
        sorted(map(str, person.records)),
        places,
        list(_notes(person, frozen)),
    )


class _Progress:
    def __init__(self, total: int, on_file: Callable[[int, int], None]) -> None:
        self._done, self._total, self._on_file = 0, total, on_file

    def advance(self) -> None:
        self._done += 1
        self._on_file(self._done, self._total)


def _spellings(text: str) -> frozenset[str]:
    """Return the recipient ids that an address has or had."""
    return frozenset(filter(None, (address_key(text), usable_address(text), former_recipient_id(text))))


def _days(limit: Any) -> float:
    return float(limit.total_seconds() / 86400)


def _in_crm(sources: Sources, person: SearchedPerson) -> Iterator[Row]:
    for record in sorted(person.records):
        email = sources.crm.email(record)
        if email is not None:
            yield {"record": str(record), "email": email}
        for opt_in_id, events in sources.crm.consents(record).items():
            for event in events:
                yield {"record": str(record), "opt_in_id": opt_in_id, **vars(event)}
    for mandator, frame in sources.suppressions.items():
        ids = {record.entity_id for record in person.records}
        likely = frame[frame["address"].isin(person.addresses) | frame["entity_id"].isin(ids)].astype("object")
        for row in likely.where(likely.notna(), None).to_dict("records"):
            if person.in_row([row["address"]], Entity.from_parts(row["entity_type"], row["entity_id"])):
                yield {"suppressed_in": mandator, **{str(name): value for name, value in row.items()}}


def _in_state(sources: Sources, person: SearchedPerson) -> Iterator[Place]:
    tokens = person.tokens(sources.state.pseudonyms.of, sources.state.erasures.erased())
    for table, rows in sources.state.person_rows.find(tokens, person.records).items():
        yield Place(
            Message("State database, table {table}", table=table),
            Message("until its limit, or until what it is about has ended"),
            rows,
        )


def _rows_of_file(files: FileStorage, name: str, person: SearchedPerson, progress: _Progress) -> Iterator[Row]:
    suffix = PurePosixPath(name).suffix
    if suffix == ".parquet":
        yield from ({"file": name, **row} for row in _rows_of_frame(files.read_document(name), person))
    elif suffix == ".csv":
        yield from ({"file": name, **row} for row in _rows_of_csv(files.read_document(name), person))
    elif suffix == RAW and mentions(files.read_document(name), person):
        yield {"file": name, "content": "can't be read as rows; it names the person"}
    progress.advance()


def _rows_of_frame(content: bytes, person: SearchedPerson) -> list[Row]:
    file = pq.ParquetFile(io.BytesIO(content))
    names = file.schema_arrow.names
    address_columns = [name for name in _ADDRESSES if name in names]
    has_record = set(_RECORD) <= set(names)
    keys = file.read(columns=[*address_columns, *(_RECORD if has_record else ())])
    likely = pa.array([False] * len(keys), pa.bool_())
    for name in address_columns:
        likely = pc.or_(likely, is_among(keys[name], person.addresses))
    if has_record:
        likely = pc.or_(likely, is_among(keys["entity_id"], {record.entity_id for record in person.records}))
    candidates = pc.indices_nonzero(likely)
    positions = [
        position
        for position, row in zip(candidates.to_pylist(), keys.take(candidates).to_pylist(), strict=True)
        if person.in_row(
            [row[name] for name in address_columns], Entity.from_parts(row.get("entity_type"), row.get("entity_id"))
        )
    ]
    rows: list[Row] = file.read().take(pa.array(positions, pa.int64())).to_pylist() if positions else []
    return rows


def _rows_of_csv(content: bytes, person: SearchedPerson) -> Iterator[Row]:
    try:
        rows = csv_rows(content)
        header = next(rows, [])
        for number, row in enumerate(rows):
            if person.in_cells(row):
                yield {"row": number, **dict(zip(header, row, strict=False))}
    except (csv.Error, UnicodeDecodeError):
        if mentions(content, person):
            yield {"content": "can't be read as rows; it names the person"}


def mentions(content: bytes, person: SearchedPerson) -> bool:
    """Return whether a file that can't be read as rows names a person, in whatever encoding, packed or not."""
    return any(person.in_cells(_CELLS.split(line)) for text in texts(content) for line in text.splitlines())


def _without_repetitions(rows: Sequence[Row]) -> list[Row]:
    """Return equal rows of the snapshots of a list once, with the first and the last of their times."""

    def list_and_row(row: Row) -> tuple[str, str]:
        return str(PurePosixPath(row["file"]).parent), str({key: row[key] for key in row if key != "file"})

    collapsed = []
    for (folder, _), equal in groupby(sorted(rows, key=lambda row: (*list_and_row(row), row["file"])), list_and_row):
        same = list(equal)
        times = [_written_at(row["file"]) for row in same]
        about = {key: value for key, value in same[0].items() if key != "file"}
        collapsed.append(
            {
                "list": folder.removeprefix(f"{SNAPSHOTS}/"),
                "first": times[0],
                "last": times[-1],
                "files": len(same),
                **about,
            }
        )
    return sorted(collapsed, key=lambda row: (row["list"], str(row["first"])))


def _written_at(name: str) -> datetime | str:
    """Return the time in the name of a file; its name if it has none."""
    name = PurePosixPath(name).name
    try:
        return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return name


def _notes(person: SearchedPerson, frozen: Sequence[Row]) -> Iterator[Message]:
    if person.sharing:
        yield Message(
            "Other records of the CRM have the same address: {records}. What is stored by address alone may be about "
            "them; make sure of it before the answer is given away.",
            records=", ".join(map(str, person.sharing)),
        )
    if len(person.records) > 1:
        yield Message(
            "Several records have this address: {records}. If they are different people, ask for the record instead.",
            records=", ".join(map(str, sorted(person.records))),
        )
    others = sorted({str(value) for row in frozen for value in (row.get(RECIPIENT_ID),) if value} - person.addresses)
    if others:
        yield Message(
            "Mail was also sent to {addresses}. If these are theirs as well, ask for them, too.",
            addresses=", ".join(others),
        )
    records = {f"{row.get('entity_type')}:{row.get('entity_id')}" for row in frozen if row.get("entity_id")}
    if former := sorted(records - set(map(str, person.records))):
        yield Message(
            "Snapshots have the address with other records: {records}. Make sure that they are the same person before "
            "the answer is given away.",
            records=", ".join(former),
        )
