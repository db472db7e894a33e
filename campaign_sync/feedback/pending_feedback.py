"""Parsing of stored rows into bounces of addresses and unsubscribes of consents."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from campaign_sync.config import MandatorSettings, ReaderSettings
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import Bounce, FeedbackKind, RawRow, ReportedConsent, Unsubscribe, bounce_kind
from campaign_sync.domain.feedback_age import delivery_complete_until
from campaign_sync.domain.feedback_rows import (
    LARGEST_ID,
    FeedbackRow,
    LayoutError,
    ParsedFeedback,
    Row,
    cell_texts,
    looks_like_a_header,
    parse_rows,
)
from campaign_sync.domain.message import Message
from campaign_sync.domain.vendor_sources import BOUNCE_SOURCE, UNSUBSCRIBE_SOURCE
from campaign_sync.feedback.imported_rows import ImportedRowReader
from campaign_sync.storage.feedback_imports import FeedbackImport, RowCounts
from campaign_sync.storage.files import FileStorage, LostFileError
from campaign_sync.storage.state import State

WRONG_LAYOUT_ROWS = 10
"""From this number of new rows that don't fit, and no other row, the layout counts as wrong though it fitted before."""

SHOWN_FILES = 3
"""How many files with rows that weren't understood are named in a message."""


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
    """What is wrong with them and, as far as that is known, the remedy. It contains no personal data."""


SHOWN_FOR = timedelta(days=30)
"""How long rows whose recipient id is no address are counted; after that, no further report would help."""

WRONG_LAYOUT_IDS = 10
"""From this number of new ids that are no address, and no other row, the layout counts as naming a wrong column."""


@dataclass
class PendingFeedback:
    """All fetched feedback that the CRM hasn't taken completely."""

    bounces: list[Bounce] = field(default_factory=list)
    unsubscribes: list[Unsubscribe] = field(default_factory=list)
    mailings: dict[RawRow, int] = field(default_factory=dict)
    """The mailing of each unsubscribe whose row names it."""
    named: dict[RawRow, ReportedConsent] = field(default_factory=dict)
    """The opt-in and record that rows of unsubscribes name, whether the CRM knows these or not."""
    readers: dict[str, str] = field(default_factory=dict)
    """By import id, the reader."""
    ignored: int = 0
    """Replies that are no bounces."""
    read: dict[str, RowCounts] = field(default_factory=dict)
    """By import id, how many rows were understood and how many don't fit."""
    unparsed: Counter[str] = field(default_factory=Counter)
    """By reader, how many rows don't fit."""
    unread: list[UnparsedRows] = field(default_factory=list)
    """The places of these rows."""
    without_address: defaultdict[str, set[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(set))
    """By reader, ids that are no address, with their times, of rows of the last `SHOWN_FOR` that fit otherwise."""
    files_without_address: list[str] = field(default_factory=list)
    """The stored files that hold such rows of unsubscribes."""
    lost: Counter[str] = field(default_factory=Counter)
    """By reader, how many rows that don't fit can't be read again because their file is gone."""


def read_pending(state: State, frames: FileStorage, mandator: str, settings: MandatorSettings) -> PendingFeedback:
    """Parse what is pending by the layouts as they are configured now.

    Rows that don't fit are counted and located, and don't stop the others. Rows of a reader that isn't configured any
    more stay stored, and count as unparsed.

    Raises:
        LayoutError: no new row of a reader fits its layout, so the layout must be wrong and opt-outs are unknown.
        FileStorageError: a stored file that the CRM hasn't had yet can't be read.
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
        known = state.feedback_imports.has_understood_rows(mandator, reader) and unparsed < WRONG_LAYOUT_ROWS
        unread = (unparsed or odd[reader] >= WRONG_LAYOUT_IDS) and not fits[reader] and not known
        if unread and settings.feedback.reader(reader):
            raise LayoutError(_no_row_fits(mandator, reader, unparsed + odd[reader], pending.unread))
    return pending


def preview_imports(
    fetched: Sequence[FeedbackImport], state: State, frames: FileStorage, mandator: str, settings: MandatorSettings
) -> PendingFeedback:
    """Return how well these imports of one mandator can be parsed, without the feedback itself.

    Raises:
        FileStorageError: a stored file can't be read.
    """
    pending, raw = PendingFeedback(), ImportedRowReader(frames, settings, state.feedback_imports, mandator)
    newest = {
        reader: state.feedback_imports.newest_events(mandator, reader)
        for reader in {feedback_import.reader for feedback_import in fetched}
    }
    for feedback_import in sorted(fetched, key=lambda feedback_import: feedback_import.until):
        parsed = PendingFeedback()  # one import at a time: a month of people needn't be in memory at once
        rows, _ = _read(parsed, raw, settings, feedback_import, newest[feedback_import.reader])
        pending.read[feedback_import.id] = rows
        pending.unread += parsed.unread
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
    """Parse an import. Return its row counts, and whether a header shows that the columns are there."""
    reader = settings.feedback.reader(fetched.reader)
    if reader is None:
        _add_unread(pending, raw, fetched, fetched.rows, Message("the reader isn't configured any more"))
        return RowCounts(0, fetched.rows, stale=fetched.of_a_file), False
    try:
        imported = raw.of(fetched)
    except LostFileError:
        if fetched.committed_at is None:
            raise
        understood, unparsed = fetched.understood_rows or 0, fetched.misfit_rows or 0
        pending.lost[fetched.reader] += unparsed
        _add_unread(pending, raw, fetched, unparsed, Message("the file they were kept in is gone"))
        return RowCounts(understood, unparsed, fetched.newest_event), False
    parsed = parse_rows(imported.rows, reader.layout(settings.zone), fetched.until)
    unclear = [row.position for row in parsed.rows if not _is_understood(pending, fetched, row, reader)]
    unparsed = len(parsed.unparsed) - len(parsed.without_address) + len(unclear) + imported.unread
    if unparsed:
        first = min([*(set(parsed.unparsed) - set(parsed.without_address)), *unclear], default=0)
        why = imported.trouble or parsed.header_problem or _missing_value(first, fetched)
        _add_unread(pending, raw, fetched, unparsed, why)
    rows = _count_rows(fetched, reader, parsed, unparsed, len(unclear), newest_events)
    if rows.without_address:
        pending.without_address[fetched.reader].update(parsed.without_address.values())
        if fetched.kind is FeedbackKind.UNSUBSCRIBES:
            pending.files_without_address.append(fetched.file)
    return rows, parsed.has_columns


def _count_rows(
    fetched: FeedbackImport,
    reader: ReaderSettings,
    parsed: ParsedFeedback,
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


def _add_unread(
    pending: PendingFeedback, raw: ImportedRowReader, fetched: FeedbackImport, unread: int, why: str
) -> None:
    if fetched.dismissed_at is None:
        rows = max(fetched.rows, unread)
        pending.unread.append(UnparsedRows(fetched.id, fetched.reader, raw.origin(fetched), rows, unread, why))


def _missing_value(position: int, fetched: FeedbackImport) -> str:
    is_bounce = fetched.kind is FeedbackKind.BOUNCES
    return Message(
        "no {values} where the layout says; the first is row {row} of {file}",
        values=Message("address, time or category") if is_bounce else Message("address or time"),
        row=position + 1,
        file=fetched.file,
    )


def _find_delivered_again(pending: PendingFeedback, raw: ImportedRowReader, imports: Sequence[FeedbackImport]) -> None:
    """Find imports all of whose unparsed rows were understood in a later delivery."""
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
        missing = {_content(row) for row in raw.of(old).rows if not looks_like_a_header(row)} - {()}
        names = []
        for candidate in later:
            repeated = missing & {_content(row) for row in raw.of(candidate).rows}
            names += [raw.origin(candidate)] if repeated else []
            missing -= repeated
        if names and not missing:
            again = " and ".join(names)
            pending.read[old.id] = replace(pending.read[old.id], delivered_again=again)
            pending.unread.remove(unread)
            pending.unparsed[old.reader] -= unread.unread


def _content(row: Row) -> tuple[str, ...]:
    """Return the values of a row in an order that doesn't depend on its columns."""
    return tuple(sorted(filter(None, cell_texts(row))))


def _is_understood(pending: PendingFeedback, fetched: FeedbackImport, row: FeedbackRow, reader: ReaderSettings) -> bool:
    """Add what a row means, and return whether that is known."""
    try:
        _add_event(pending, fetched, row, reader)
    except ValueError:
        return False
    return True


def _add_event(pending: PendingFeedback, fetched: FeedbackImport, row: FeedbackRow, reader: ReaderSettings) -> None:
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
