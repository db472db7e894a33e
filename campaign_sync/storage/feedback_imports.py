"""Imports of the vendor's feedback: what was fetched, and how far the CRM has taken it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, func, literal, null, or_, select, update

from campaign_sync.domain.feedback import (
    READER_KINDS,
    Bounce,
    FeedbackKind,
)
from campaign_sync.domain.windows import Window
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.import_windows import ImportWindow, ImportWindows
from campaign_sync.storage.one_row_per_key import one_row_per_key
from campaign_sync.storage.tables import feedback_file as files
from campaign_sync.storage.tables import feedback_import as imports
from campaign_sync.storage.tables import unmatched_feedback as unmatched
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback, read_unmatched, replace_unmatched
from campaign_sync.storage.upsert import insert_missing


@dataclass(frozen=True)
class FeedbackImport(ImportWindow):
    """One window of a feedback reader, or one delivered file, kept as a file of ours.

    The CRM has taken it if `committed_at` is set; its rows are then counted by whether they fitted the layout.
    """

    committed_at: datetime | None = None
    misfit_rows: int | None = None
    understood_rows: int | None = None
    newest_event: datetime | None = None
    """When the newest of the understood events happened; None where no row says."""
    dismissed_at: datetime | None = None
    """When an operator dismissed the rows that weren't understood."""

    @property
    def of_a_file(self) -> bool:
        """Whether it is a delivered file, not a window that was requested from the vendor."""
        return self.since == self.until

    @property
    def kind(self) -> FeedbackKind:
        """The kind of feedback that the reader returns."""
        return READER_KINDS[self.reader]


@dataclass(frozen=True)
class RowCounts:
    """How many rows of an import were understood, how many weren't, and what they show about freshness."""

    understood: int
    unparsed: int
    newest_event: datetime | None = None
    """When the newest of the understood events happened; None where no row says."""
    fresh_until: datetime | None = None
    """Up to when these rows show that feedback is complete; the end of the window where it is None."""
    stale: bool = False
    """Whether they show no such moment: they can't be read, or repeat only what was known before."""
    delivered_again: str | None = None
    """The later delivery that contains all rows that weren't understood here."""
    without_address: int = 0
    """How many more fit the layout, but have a recipient id that is no address. They are read again, like unparsed."""


@dataclass(frozen=True)
class Delivery:
    """A delivered file. One of the same name that was written again is another delivery."""

    name: str
    modified_at: datetime
    size: int
    digest: str | None = field(default=None, compare=False)
    """SHA-256 of its content, whatever its name and time, keyed: see `KeyedDigests`."""


class FeedbackImports(ImportWindows[FeedbackImport]):
    """The imports of each mandator's feedback. Their watermark moves only when the CRM has taken the rows."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, imports, FeedbackImport)

    def add(self, entry: FeedbackImport, delivery: Delivery | None = None) -> FeedbackImport:
        """Record what was fetched. It stays pending until `commit`."""
        with self._engine.begin() as connection:
            connection.execute(imports.insert().values(kind=entry.kind, **vars(entry)))
            if delivery:
                _add_delivery(connection, entry.mandator, entry.reader, delivery, entry.id)
        return entry

    def add_repeated(self, mandator: str, reader: str, delivery: Delivery, import_id: str) -> None:
        """Record a delivery with the same content as an earlier one, which is kept as that import."""
        with self._engine.begin() as connection:
            _add_delivery(connection, mandator, reader, delivery, import_id)

    def pending(self, mandator: str) -> list[FeedbackImport]:
        """Return imports that the CRM hasn't taken, or not all rows of which fitted the layout; oldest first."""
        unread = and_(imports.c.misfit_rows > 0, imports.c.dismissed_at.is_(None))
        return self._windows(imports.c.mandator == mandator, or_(imports.c.committed_at.is_(None), unread))

    def deliveries(self, mandator: str, reader: str) -> list[tuple[str, Delivery]]:
        """Return the delivered files that have been fetched, each with the id of its import; oldest first."""
        query = (
            select(*files.c["import_id", "name", "modified_at", "size", "digest"])
            .where(files.c.mandator == mandator, files.c.reader == reader)
            .order_by(files.c.modified_at, files.c.name)
        )
        with self._engine.connect() as connection:
            return [(import_id, Delivery(*file)) for import_id, *file in connection.execute(query)]

    def committed_until(self, mandator: str) -> dict[str, datetime]:
        """Return up to which moment each reader's feedback has reached the CRM. See `read_watermarks`."""
        with self._engine.connect() as connection:
            return read_watermarks(connection).get(mandator, {})

    def newest_events(self, mandator: str, reader: str) -> dict[str, datetime]:
        """Return when the newest event of each import happened, by import id."""
        query = select(*imports.c["id", "newest_event"]).where(
            imports.c.mandator == mandator, imports.c.reader == reader, imports.c.newest_event.is_not(None)
        )
        with self._engine.connect() as connection:
            return {row.id: row.newest_event for row in connection.execute(query)}

    def has_understood_rows(self, mandator: str, reader: str) -> bool:
        """Return whether a row of this reader has ever fitted its layout."""
        of_reader = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        query = select(func.count()).where(of_reader, imports.c.understood_rows > 0)
        with self._engine.connect() as connection:
            return bool(connection.execute(query).scalar_one())

    def dismiss(self, import_id: str, who: str, reason: str, now: datetime) -> None:
        """Dismiss the rows of an import that weren't understood. Their file stays as it is."""
        with self._engine.begin() as connection:
            _dismiss(connection, import_id, who, reason, now)

    def expired(self, mandator: str, before: datetime) -> list[FeedbackImport]:
        """Return imports that ended before that moment and have no rows left to take; their files can be removed."""
        done = or_(imports.c.misfit_rows == 0, imports.c.dismissed_at.is_not(None))
        has_file = and_(imports.c.committed_at.is_not(None), imports.c.removed_at.is_(None))
        return self._windows(imports.c.mandator == mandator, imports.c.until < before, done, has_file)

    def uncommitted(self, mandator: str, reader: str) -> list[FeedbackImport]:
        """Return imports of a reader that the CRM hasn't taken yet, oldest first."""
        of_reader = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        return self._windows(of_reader, imports.c.committed_at.is_(None))

    def commit(
        self,
        mandator: str,
        read: Mapping[str, RowCounts],
        before: UnmatchedFeedback,
        unmatched_now: UnmatchedFeedback,
        now: datetime,
    ) -> None:
        """Record that the CRM took these imports, and which feedback is unmatched now. This moves the watermark.

        Unmatched feedback that another import has added meanwhile stays: see `replace_unmatched`.

        Args:
            mandator: whose feedback it is.
            read: row counts by import id.
            before: the unmatched feedback that was matched again.
            unmatched_now: what of it, and of the new feedback, the CRM still doesn't know.
            now: when the CRM took it.
        """
        with self._engine.begin() as connection:
            for import_id, rows in read.items():
                self._take(
                    connection,
                    import_id,
                    rows.unparsed + rows.without_address,
                    now,
                    understood_rows=rows.understood,
                    newest_event=rows.newest_event,
                    fresh_until=_freshness(rows),
                )
                if rows.delivered_again:
                    reason = f"delivered again in {rows.delivered_again}"
                    _dismiss(connection, import_id, "campaign-sync", reason, now)
            replace_unmatched(connection, mandator, before, unmatched_now)

    def uncommitted_count(self, mandator: str) -> int:
        """Return how many imports the CRM hasn't taken at all."""
        query = select(func.count()).where(imports.c.mandator == mandator, imports.c.committed_at.is_(None))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def with_rows(self, mandator: str, reader: str) -> list[Window]:
        """Return a reader's windows that have rows, oldest first. A delivered file ends with its newest event."""
        of_reader = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        has_rows = func.coalesce(imports.c.understood_rows, imports.c.rows) > 0
        windows = [
            Window(entry.since, entry.newest_event if entry.of_a_file and entry.newest_event else entry.until)
            for entry in self._windows(of_reader, has_rows)
        ]
        return sorted(windows, key=lambda window: window.until)

    def last_ends(self, mandator: str, reader: str, runs: int) -> list[datetime]:
        """Return up to where each of the last `runs` runs read a reader whose rows the CRM took, newest first."""
        until = func.max(imports.c.until, type_=imports.c.until.type).label("until")
        of_reader = and_(
            imports.c.mandator == mandator, imports.c.reader == reader, imports.c.committed_at.is_not(None)
        )
        query = select(until).where(of_reader).group_by(imports.c.run_id).order_by(until.desc()).limit(runs)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def readers(self, import_ids: Collection[str]) -> dict[str, str]:
        """Return the reader of each import, by import id."""
        readers: dict[str, str] = {}
        with self._engine.connect() as connection:
            for ids in batches(sorted(import_ids)):
                query = select(imports.c.id, imports.c.reader).where(imports.c.id.in_(ids))
                readers |= {row.id: row.reader for row in connection.execute(query)}
        return readers

    def first_since(self, mandator: str, reader: str) -> datetime | None:
        """Return where the first window of a reader began; None if it was never read."""
        windows = self._windows(imports.c.mandator == mandator, imports.c.reader == reader)
        return min((window.since for window in windows), default=None)

    def first_import(self, mandator: str) -> datetime | None:
        """Return when feedback of this mandator was first imported; None for never."""
        query = select(func.min(imports.c.imported_at, type_=imports.c.imported_at.type)).where(
            imports.c.mandator == mandator, imports.c.committed_at.is_not(None)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def imported_mandators(self) -> set[str]:
        """Return the mandators any of whose feedback the CRM has taken."""
        readers, of_reader = one_row_per_key(imports, "mandator", "reader"), imports.alias()
        taken = (
            select(of_reader.c.id)
            .where(
                of_reader.c.mandator == readers.c.mandator,
                of_reader.c.reader == readers.c.reader,
                of_reader.c.committed_at.is_not(None),
            )
            .correlate(readers)
            .exists()
        )
        with self._engine.connect() as connection:
            return set(connection.execute(select(readers.c.mandator).where(taken)).scalars())

    def find(self, import_id: str) -> FeedbackImport | None:
        """Return the import of that id; None where there is none."""
        return next(iter(self._windows(imports.c.id == import_id)), None)

    def unmatched(self, mandator: str) -> UnmatchedFeedback:
        """Return the unsubscribes and bounces of this mandator whose address the CRM doesn't know."""
        with self._engine.connect() as connection:
            return read_unmatched(connection, unmatched.c.mandator == mandator)

    def unmatched_bounces(self) -> list[Bounce]:
        """Return every bounce of an address that the CRM doesn't know. A bounce holds in all mandators."""
        with self._engine.connect() as connection:
            return read_unmatched(connection, unmatched.c.kind == FeedbackKind.BOUNCES).bounces

    def forget(self, window_ids: Sequence[str]) -> None:
        """Delete these imports, so that they will be fetched again."""
        with self._engine.begin() as connection:
            connection.execute(delete(files).where(files.c.import_id.in_(window_ids)))
            connection.execute(delete(imports).where(imports.c.id.in_(window_ids)))


def read_watermarks(connection: Connection) -> dict[str, dict[str, datetime]]:
    """Return up to which moment the feedback of each mandator's readers has reached the CRM; absent if never.

    For a window that is its end, but never later than it was fetched by our own clock. A delivered file shows it by
    what is new in it: see `RowCounts.stale`.
    """
    readers, of_reader = one_row_per_key(imports, "mandator", "reader"), imports.alias()
    until = (
        select(func.max(of_reader.c.fresh_until, type_=imports.c.fresh_until.type))
        .where(of_reader.c.mandator == readers.c.mandator, of_reader.c.reader == readers.c.reader)
        .correlate(readers)
        .scalar_subquery()
    )
    watermarks: defaultdict[str, dict[str, datetime]] = defaultdict(dict)
    for mandator, reader, moment in connection.execute(select(readers.c.mandator, readers.c.reader, until)):
        if moment is not None:
            watermarks[mandator][reader] = moment
    return dict(watermarks)


def new_import(
    mandator: str, reader: str, window: Window, rows: int, file: tuple[str, str], run_id: str, now: datetime
) -> FeedbackImport:
    """Return an import to be recorded; `file` is its name and digest."""
    return FeedbackImport(mandator, reader, window.since, window.until, rows, *file, run_id, now, str(uuid4()))


def _add_delivery(connection: Connection, mandator: str, reader: str, delivery: Delivery, import_id: str) -> None:
    key = {"mandator": mandator, "reader": reader, **vars(delivery)}
    insert_missing(connection, files, [{**key, "import_id": import_id}])


def _dismiss(connection: Connection, import_id: str, who: str, reason: str, now: datetime) -> None:
    values = {"dismissed_at": now, "dismissed_by": who, "dismissed_because": reason}
    connection.execute(update(imports).where(imports.c.id == import_id).values(values))


def _freshness(rows: RowCounts) -> ColumnElement[Any]:
    """Return the moment to store: one that was shown before stays, whatever a second reading shows.

    Where the vendor's clock was ahead, it is when the import was fetched, so that nothing is left out once it is right.
    """
    shown = imports.c.until if rows.fresh_until is None else literal(rows.fresh_until, imports.c.until.type)
    fetched = case((shown > imports.c.imported_at, imports.c.imported_at), else_=shown)
    return func.coalesce(imports.c.fresh_until, null() if rows.stale else fetched)
