"""From kept rows to what they mean: bounces of addresses, unsubscribes of consents."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from campaign_sync.config import MandatorSettings, ReaderSettings
from campaign_sync.delivered_files.csv_decoder import salvage_csv
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import Bounce, FeedbackKind, RawRow, ReportedConsent, Unsubscribe, bounce_kind
from campaign_sync.domain.feedback_age import delivery_complete_until
from campaign_sync.domain.layout import (
    LARGEST_ID,
    FeedbackRow,
    LayoutError,
    ParsedRows,
    Row,
    cell_texts,
    looks_like_a_header,
    parse_rows,
)
from campaign_sync.storage.feedback_imports import (
    BOUNCE_SOURCE,
    UNSUBSCRIBE_SOURCE,
    FeedbackImport,
    FeedbackImports,
    RowCounts,
)
from campaign_sync.storage.files import RAW, FileStorage, LostFileError
from campaign_sync.storage.state import State

ODD_ROWS = 10
"""So many rows of a reader that nothing fits are no odd ones any more: then its layout is another one."""


SHOWN_FILES = 3
"""How many files with rows that weren't understood are named in a sentence."""


@dataclass(frozen=True)
class UnparsedRows:
    """Rows of one delivered file, or of one window, that weren't understood."""

    import_id: str
    reader: str
    origin: str
    """The delivered file's name, or the window."""
    rows: int
    """How many rows there are in all."""
    unread: int
    why: str
    """What is wrong with them and, as far as that is known, the remedy. Nobody's data."""


SHOWN_FOR = timedelta(days=30)
"""How long rows whose recipient id is no address are counted; then somebody has seen them, or nobody will."""

MANY_ODD_IDS = 10
"""So many new ids that are no address, and no other row: then the layout takes some other column for the id."""


@dataclass
class PendingFeedback:
    """Everything fetched that the CRM hasn't wholly taken."""

    bounces: list[Bounce] = field(default_factory=list)
    unsubscribes: list[Unsubscribe] = field(default_factory=list)
    mailings: dict[RawRow, int] = field(default_factory=dict)
    """Of unsubscribes whose row says so, which mailing they are about."""
    named: dict[RawRow, ReportedConsent] = field(default_factory=dict)
    """Of unsubscribes whose row names an opt-in, what it names, whether the CRM knows it or not."""
    readers: dict[str, str] = field(default_factory=dict)
    """By import id, the reader."""
    ignored: int = 0
    """Replies that are no bounces."""
    read: dict[str, RowCounts] = field(default_factory=dict)
    """By import id, how many rows were understood, and how many don't fit."""
    unparsed: Counter[str] = field(default_factory=Counter)
    """By reader, how many rows don't fit."""
    unread: list[UnparsedRows] = field(default_factory=list)
    """Where these rows are."""
    without_address: defaultdict[str, set[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(set))
    """By reader, the ids that are no address, of rows that fit otherwise, with their times; of the last `SHOWN_FOR`."""
    files_without_address: list[str] = field(default_factory=list)
    """The kept files that hold such rows of unsubscribes."""
    lost: Counter[str] = field(default_factory=Counter)
    """By reader, how many of these can't be read again, for their file is gone."""


@dataclass(frozen=True)
class ImportedRows:
    """The rows of an import as they came."""

    rows: Iterable[Row]
    unread: int = 0
    """How many more there are that can't be told from one another."""
    trouble: str = ""


class ImportedRowReader:
    """Gives out the rows of imports as they came, also of files that couldn't be decoded when they were delivered."""

    def __init__(
        self, frames: FileStorage, settings: MandatorSettings, journal: FeedbackImports, mandator: str
    ) -> None:
        self._frames = frames
        self._separator = settings.feedback.files.separator if settings.feedback.files else None
        self._journal, self._mandator = journal, mandator
        self._names: dict[str, dict[str, str]] = {}

    def of(self, fetched: FeedbackImport) -> ImportedRows:
        """Return the rows of an import.

        Raises:
            FileStorageError: its kept file can't be read.
        """
        if not fetched.file.endswith(RAW):
            return ImportedRows(self._frames.read_rows(fetched.file, fetched.digest))
        content = self._frames.read_raw(fetched.file, fetched.digest)
        salvaged = salvage_csv(content, self._separator, name=self.origin(fetched))
        return ImportedRows(salvaged.rows, salvaged.unread, salvaged.trouble)

    def origin(self, fetched: FeedbackImport) -> str:
        """Return what people know the import by: the delivered file's name, or the window."""
        if fetched.reader not in self._names:
            deliveries = self._journal.deliveries(self._mandator, fetched.reader)
            self._names[fetched.reader] = {import_id: delivery.name for import_id, delivery in reversed(deliveries)}
        window = f"{fetched.since:%Y-%m-%d %H:%M} to {fetched.until:%Y-%m-%d %H:%M} UTC"
        return self._names[fetched.reader].get(fetched.id, window)


def read_pending(state: State, frames: FileStorage, mandator: str, settings: MandatorSettings) -> PendingFeedback:
    """Read what is pending by the layouts as they are configured now.

    Rows that weren't understood are counted and named, and stop none of the others. Rows of a reader that isn't
    configured any more can't be read either: they are kept, and counted as unparsed.

    Raises:
        LayoutError: nothing new of a reader fits its layout, so the layout must be wrong, and nobody knows who left.
        FileStorageError: a kept file that the CRM hasn't seen yet can't be read.
    """
    pending, raw = PendingFeedback(), ImportedRowReader(frames, settings, state.feedback_imports, mandator)
    fits = defaultdict[str, bool](bool)
    new, odd = Counter[str](), Counter[str]()
    imports = state.feedback_imports.pending(mandator)
    newest = {
        reader: state.feedback_imports.newest_events(mandator, reader)
        for reader in {feedback_import.reader for feedback_import in imports}
    }
    for fetched in imports:
        rows, has_columns = _read(pending, raw, settings, fetched, newest[fetched.reader])
        pending.read[fetched.id], pending.readers[fetched.id] = rows, fetched.reader
        if fetched.dismissed_at is None:
            pending.unparsed[fetched.reader] += rows.unparsed
        if rows.newest_event:
            newest[fetched.reader][fetched.id] = rows.newest_event
        if fetched.committed_at is None and fetched.dismissed_at is None:
            new[fetched.reader] += rows.unparsed
            odd[fetched.reader] += rows.without_address
            fits[fetched.reader] |= bool(rows.understood) or has_columns
    _find_delivered_again(pending, raw, imports)
    for reader, unparsed in new.items():
        known = state.feedback_imports.has_understood_rows(mandator, reader) and unparsed < ODD_ROWS
        unread = (unparsed or odd[reader] >= MANY_ODD_IDS) and not fits[reader] and not known
        if unread and settings.feedback.reader(reader):
            raise LayoutError(_no_row_fits(mandator, reader, unparsed + odd[reader], pending.unread))
    return pending


def preview_imports(
    fetched: Sequence[FeedbackImport], state: State, frames: FileStorage, mandator: str, settings: MandatorSettings
) -> PendingFeedback:
    """Return how these imports of one mandator will be read, without what they say.

    Raises:
        FileStorageError: a kept file can't be read.
    """
    pending, raw = PendingFeedback(), ImportedRowReader(frames, settings, state.feedback_imports, mandator)
    newest = {
        reader: state.feedback_imports.newest_events(mandator, reader)
        for reader in {feedback_import.reader for feedback_import in fetched}
    }
    for feedback_import in sorted(fetched, key=lambda feedback_import: feedback_import.until):
        of_one = PendingFeedback()  # a month of people needn't be in memory at once
        rows, _ = _read(of_one, raw, settings, feedback_import, newest[feedback_import.reader])
        pending.read[feedback_import.id] = rows
        pending.unread += of_one.unread
        if rows.newest_event:
            newest[feedback_import.reader][feedback_import.id] = rows.newest_event
    return pending


def _no_row_fits(mandator: str, reader: str, unparsed: int, unread: Sequence[UnparsedRows]) -> str:
    where = " · ".join([f"{place.origin}: {place.why}" for place in unread if place.reader == reader][:SHOWN_FILES])
    where = where or "No recipient id in them is an address"
    return (
        f"none of the {unparsed} fetched rows fits mandators.{mandator}.feedback.readers.{reader}; set its columns and "
        f"time_format as agreed with the vendor, `campaign-sync feedback sample {mandator}` helps. The rows "
        f"are kept and will be read again. {where}"
    )


def _read(
    pending: PendingFeedback,
    raw: ImportedRowReader,
    settings: MandatorSettings,
    fetched: FeedbackImport,
    newest_events: Mapping[str, datetime],
) -> tuple[RowCounts, bool]:
    """Return how many rows were understood, and whether a header showed that the columns are there."""
    reader = settings.feedback.reader(fetched.reader)
    if reader is None:
        why = "the reader isn't configured any more"
        _note(pending, raw, fetched, fetched.rows, why)
        return RowCounts(0, fetched.rows, stale=fetched.of_a_file), False
    try:
        imported = raw.of(fetched)
    except LostFileError:
        if fetched.committed_at is None:
            raise
        understood, unparsed = fetched.understood_rows or 0, fetched.misfit_rows or 0
        pending.lost[fetched.reader] += unparsed
        _note(pending, raw, fetched, unparsed, "the file they were kept in is gone")
        return RowCounts(understood, unparsed, fetched.newest_event), False
    parsed = parse_rows(imported.rows, reader.layout(settings.zone), fetched.until)
    unclear = [row.position for row in parsed.rows if not _taken(pending, fetched, row, reader)]
    unparsed = len(parsed.unparsed) - len(parsed.without_address) + len(unclear) + imported.unread
    if unparsed:
        first = min([*(set(parsed.unparsed) - set(parsed.without_address)), *unclear], default=0)
        why = imported.trouble or parsed.header_problem or _doubt(first, fetched)
        _note(pending, raw, fetched, unparsed, why)
    rows = _rows(fetched, reader, parsed, unparsed, len(unclear), newest_events)
    if rows.without_address:
        pending.without_address[fetched.reader].update(parsed.without_address.values())
        if fetched.kind is FeedbackKind.UNSUBSCRIBES:
            pending.files_without_address.append(fetched.file)
    return rows, parsed.has_columns


def _rows(
    fetched: FeedbackImport,
    reader: ReaderSettings,
    parsed: ParsedRows,
    unparsed: int,
    unclear: int,
    newest_events: Mapping[str, datetime],
) -> RowCounts:
    odd = len(parsed.without_address)
    shown = odd if fetched.until > datetime.now(UTC) - SHOWN_FOR else 0
    rows = RowCounts(len(parsed.rows) - unclear + odd - shown, unparsed, without_address=shown)
    moments = [row.occurred_at for row in parsed.rows] + [at for _, at in parsed.without_address.values()]
    has_events = rows.understood > 0 or odd > 0
    newest = min(max(moments), fetched.until) if has_events and reader.time is not None else None
    if not fetched.of_a_file:
        return replace(rows, newest_event=newest)
    earlier = max((at for import_id, at in newest_events.items() if import_id != fetched.id), default=None)
    empty = not has_events and not unparsed
    until = fetched.until if empty or (has_events and reader.time is None) else delivery_complete_until(newest, earlier)
    until = min(until, fetched.until) if until else None
    return replace(rows, newest_event=newest, fresh_until=until, stale=until is None)


def _note(pending: PendingFeedback, raw: ImportedRowReader, fetched: FeedbackImport, unread: int, why: str) -> None:
    if fetched.dismissed_at is None:
        rows = max(fetched.rows, unread)
        pending.unread.append(UnparsedRows(fetched.id, fetched.reader, raw.origin(fetched), rows, unread, why))


def _doubt(position: int, fetched: FeedbackImport) -> str:
    wanted = "address, time or category" if fetched.kind is FeedbackKind.BOUNCES else "address or time"
    return f"no {wanted} where the layout says; the first is row {position} (from 0) of {fetched.file}"


def _find_delivered_again(pending: PendingFeedback, raw: ImportedRowReader, imports: Sequence[FeedbackImport]) -> None:
    """Notice where all rows that weren't understood came once more, in a later delivery in which they were."""
    by_id = {candidate.id: candidate for candidate in imports}
    for unread in list(pending.unread):
        old = by_id[unread.import_id]
        later = [
            candidate
            for candidate in imports
            if candidate.reader == old.reader and candidate.imported_at > old.imported_at
        ]
        later = [
            candidate
            for candidate in later
            if pending.read[candidate.id].understood and not pending.read[candidate.id].unparsed
        ]
        if not later or unread.reader in pending.lost or raw.of(old).unread:
            continue
        missing = {_says(row) for row in raw.of(old).rows if not looks_like_a_header(row)} - {()}
        names = []
        for candidate in later:
            said = missing & {_says(row) for row in raw.of(candidate).rows}
            names += [raw.origin(candidate)] if said else []
            missing -= said
        if names and not missing:
            again = " and ".join(names)
            pending.read[old.id] = replace(pending.read[old.id], delivered_again=again)
            pending.unread.remove(unread)
            pending.unparsed[old.reader] -= unread.unread


def _says(row: Row) -> tuple[str, ...]:
    """Return what a row says, whatever the order of its columns."""
    return tuple(sorted(filter(None, cell_texts(row))))


def _taken(pending: PendingFeedback, fetched: FeedbackImport, row: FeedbackRow, reader: ReaderSettings) -> bool:
    """Take what a row means; False where nobody knows that."""
    try:
        _take(pending, fetched, row, reader)
    except ValueError:
        return False
    return True


def _take(pending: PendingFeedback, fetched: FeedbackImport, row: FeedbackRow, reader: ReaderSettings) -> None:
    raw = RawRow(fetched.id, row.position)
    if fetched.kind is FeedbackKind.UNSUBSCRIBES:
        left = Unsubscribe(row.address, row.occurred_at, fetched.mandator, UNSUBSCRIBE_SOURCE, raw=raw)
        pending.unsubscribes.append(left)
        if row.mailing_id is not None and 0 < row.mailing_id <= LARGEST_ID:
            pending.mailings[raw] = row.mailing_id
        if row.opt_in_id:
            pending.named[raw] = ReportedConsent(row.opt_in_id, Entity.from_parts(row.entity_type, row.entity_id))
        return
    kind = bounce_kind(fetched.reader, row.category, reader.no_bounces)
    if kind is None:
        pending.ignored += 1
        return
    dated = reader.time is not None
    pending.bounces.append(Bounce(row.address, row.occurred_at, fetched.mandator, BOUNCE_SOURCE, kind, dated, raw))
