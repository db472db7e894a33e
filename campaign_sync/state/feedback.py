"""What was fetched of the vendor's feedback, how far the CRM has taken it, and what the CRM couldn't match."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, Row, and_, delete, func, or_, select, update

from campaign_sync.domain.feedback import KIND_OF_READER, Bounce, BounceKind, FeedbackKind, RawRow, Unsubscribe
from campaign_sync.domain.windows import Window, covered_until
from campaign_sync.state.tables import feedback_file as files
from campaign_sync.state.tables import feedback_import as imports
from campaign_sync.state.tables import unmatched_feedback as unmatched
from campaign_sync.state.upsert import insert_missing, upsert

UNSUBSCRIBE_SOURCE = "optimizely:unsubscribes"
"""The source that a withdrawal names in the CRM: always the same, so that the same unsubscribe is written once."""

LIVE_LOOK_SOURCE = "optimizely:live_look"
"""The source that a withdrawal names which a look at the vendor's unsubscribe list brought to light."""

AUDIT_SOURCE = "optimizely:audit"
"""The source that a withdrawal names which the weekly comparison with the vendor brought to light."""

BOUNCE_SOURCE = "optimizely:bounces"
"""The source that a bounce names in the CRM."""


@dataclass(frozen=True)
class Unmatched:
    """Feedback about recipients whom the CRM doesn't know. Their addresses are suppressed, and matched again daily."""

    bounces: list[Bounce]
    unsubscribes: list[Unsubscribe]

    def by_kind(self) -> list[tuple[FeedbackKind, Sequence[Bounce | Unsubscribe]]]:
        """Both lists under their kinds."""
        return [(FeedbackKind.BOUNCES, self.bounces), (FeedbackKind.UNSUBSCRIBES, self.unsubscribes)]


@dataclass(frozen=True)
class FeedbackImport:
    """One window of one reader, or one delivered file, kept as a file of ours.

    `since` and `until` are moments of the vendor's clock; of a delivered file both are when it was written.
    """

    mandator: str
    reader: str
    since: datetime
    until: datetime
    rows: int
    file: str
    digest: str
    run_id: str
    imported_at: datetime
    id: str

    @property
    def kind(self) -> FeedbackKind:
        """What the reader tells of."""
        return KIND_OF_READER[self.reader]


@dataclass(frozen=True)
class Delivery:
    """A delivered file; one of the same name that was written again is another delivery."""

    name: str
    modified_at: datetime
    size: int


class FeedbackJournal:
    """The watermark of each mandator's feedback. It moves only when the CRM has taken the rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, entry: FeedbackImport, delivery: Delivery | None = None) -> FeedbackImport:
        """Note what was fetched. It stays pending until `commit`."""
        with self._engine.begin() as connection:
            connection.execute(imports.insert().values(kind=entry.kind, **vars(entry)))
            if delivery:
                key = {"mandator": entry.mandator, "reader": entry.reader, **vars(delivery)}
                insert_missing(connection, files, [{**key, "import_id": entry.id}])
        return entry

    def pending(self, mandator: str) -> list[FeedbackImport]:
        """Imports the CRM hasn't taken yet, or not wholly because rows didn't fit their layout; oldest first."""
        waiting = or_(imports.c.committed_at.is_(None), imports.c.misfit_rows > 0)
        return self._imports(imports.c.mandator == mandator, waiting)

    def fetched_until(self, mandator: str, reader: str, is_intact: Callable[[FeedbackImport], bool]) -> datetime | None:
        """Up to where a reader has been fetched without a gap; None if it never was.

        A file that is gone before the CRM had its rows is as good as never fetched: it is forgotten, with all that
        was fetched after it.
        """
        waiting = self._imports(
            imports.c.mandator == mandator, imports.c.reader == reader, imports.c.committed_at.is_(None)
        )
        kept = []
        for position, one in enumerate(waiting):
            if not is_intact(one):
                self._forget([lost.id for lost in waiting[position:]])
                break
            kept.append(Window(one.since, one.until))
        return covered_until(self.committed_until(mandator).get(reader), kept)

    def delivered(self, mandator: str, reader: str) -> set[Delivery]:
        """The delivered files that have been fetched."""
        query = select(*files.c["name", "modified_at", "size"]).where(
            files.c.mandator == mandator, files.c.reader == reader
        )
        with self._engine.connect() as connection:
            return {Delivery(*row) for row in connection.execute(query)}

    def commit(
        self, mandator: str, misfit_rows: Mapping[str, int], before: Unmatched, unmatched_now: Unmatched, now: datetime
    ) -> None:
        """The CRM took these imports (id: rows that didn't fit): move the watermark, note who is unmatched by now.

        `before` is what was matched again. Whoever is in `unmatched_now` and not in it is added; what another import
        may have added meanwhile stays.
        """
        with self._engine.begin() as connection:
            for import_id, misfits in misfit_rows.items():
                connection.execute(
                    update(imports)
                    .where(imports.c.id == import_id)
                    .values(committed_at=func.coalesce(imports.c.committed_at, now), misfit_rows=misfits)
                )
            for kind, people in before.by_kind():
                for one in people:
                    connection.execute(
                        delete(unmatched).where(
                            unmatched.c.mandator == mandator,
                            unmatched.c.kind == kind,
                            unmatched.c.recipient_id == one.address,
                            unmatched.c.occurred_at == one.occurred_at,
                        )
                    )
            for kind, people in unmatched_now.by_kind():
                newest = {one.address: one for one in sorted(people, key=lambda one: one.occurred_at)}
                rows = [_unmatched_row(mandator, kind, one) for one in newest.values()]
                upsert(connection, unmatched, rows, update=("occurred_at", "bounce_kind", "dated", "import_id", "row"))

    def committed_until(self, mandator: str) -> dict[str, datetime]:
        """Up to which moment of the vendor's clock the CRM has each reader's rows; absent if never imported."""
        query = (
            select(imports.c.reader, func.max(imports.c.until, type_=imports.c.until.type).label("until"))
            .where(imports.c.mandator == mandator, imports.c.committed_at.is_not(None))
            .group_by(imports.c.reader)
        )
        with self._engine.connect() as connection:
            return {row.reader: row.until for row in connection.execute(query)}

    def uncommitted(self, mandator: str) -> int:
        """How many fetched windows the CRM hasn't seen at all."""
        query = select(func.count()).where(imports.c.mandator == mandator, imports.c.committed_at.is_(None))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def with_rows(self, mandator: str, reader: str) -> list[Window]:
        """The windows in which a reader returned anything, oldest first."""
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        return [Window(one.since, one.until) for one in self._imports(this, imports.c.rows > 0)]

    def first_since(self, mandator: str, reader: str) -> datetime | None:
        """Where the first window of a reader began; None if it was never read."""
        found = self._imports(imports.c.mandator == mandator, imports.c.reader == reader)
        return min((one.since for one in found), default=None)

    def first_import(self, mandator: str) -> datetime | None:
        """When feedback of this mandator was imported for the first time."""
        query = select(func.min(imports.c.imported_at, type_=imports.c.imported_at.type)).where(
            imports.c.mandator == mandator, imports.c.committed_at.is_not(None)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def outlived(self, mandator: str, before: datetime) -> list[FeedbackImport]:
        """Imports that the CRM has taken wholly and that ended before that moment; their files needn't be kept."""
        done = and_(imports.c.committed_at.is_not(None), imports.c.misfit_rows == 0, imports.c.removed_at.is_(None))
        return self._imports(imports.c.mandator == mandator, imports.c.until < before, done)

    def removed(self, import_id: str, now: datetime) -> None:
        """The file of an import has been removed."""
        with self._engine.begin() as connection:
            connection.execute(update(imports).where(imports.c.id == import_id).values(removed_at=now))

    def find(self, import_id: str) -> FeedbackImport | None:
        """The import of that id."""
        return next(iter(self._imports(imports.c.id == import_id)), None)

    def unmatched(self, mandator: str) -> Unmatched:
        """Everybody who left this mandator, or bounced in it, and whom the CRM doesn't know by that address."""
        return self._unmatched(unmatched.c.mandator == mandator)

    def unmatched_bounces(self) -> list[Bounce]:
        """Every bounced address that the CRM doesn't know, of whatever mandator: a bounce holds in all of them."""
        return self._unmatched(unmatched.c.kind == FeedbackKind.BOUNCES).bounces

    def _unmatched(self, condition: ColumnElement[bool]) -> Unmatched:
        found = Unmatched([], [])
        query = select(unmatched).where(condition).order_by(unmatched.c.recipient_id)
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                who = (row.recipient_id, row.occurred_at, row.mandator)
                dated = row.dated is not False
                raw = RawRow(row.import_id, row.row) if row.import_id else None
                if row.kind == FeedbackKind.BOUNCES:
                    kind = BounceKind(row.bounce_kind or BounceKind.HARD)
                    found.bounces.append(Bounce(*who, BOUNCE_SOURCE, kind, dated, raw))
                else:
                    found.unsubscribes.append(Unsubscribe(*who, UNSUBSCRIBE_SOURCE, dated, raw=raw))
        return found

    def _imports(self, *conditions: ColumnElement[bool]) -> list[FeedbackImport]:
        query = select(*imports.c[*FeedbackImport.__dataclass_fields__]).where(*conditions)
        with self._engine.connect() as connection:
            return [_import(row) for row in connection.execute(query.order_by(imports.c.until, imports.c.since))]

    def _forget(self, import_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(files).where(files.c.import_id.in_(import_ids)))
            connection.execute(delete(imports).where(imports.c.id.in_(import_ids)))


def new_import(
    mandator: str, reader: str, window: Window, rows: int, file: tuple[str, str], run_id: str, now: datetime
) -> FeedbackImport:
    """An import to be noted; `file` is its name and digest."""
    return FeedbackImport(mandator, reader, window.since, window.until, rows, *file, run_id, now, str(uuid4()))


def _import(row: Row[tuple[object, ...]]) -> FeedbackImport:
    return FeedbackImport(**row._mapping)


def _unmatched_row(mandator: str, kind: FeedbackKind, one: Bounce | Unsubscribe) -> dict[str, object]:
    return {
        "mandator": mandator,
        "kind": kind,
        "recipient_id": one.address,
        "occurred_at": one.occurred_at,
        "bounce_kind": one.kind if isinstance(one, Bounce) else None,
        "dated": one.dated,
        "import_id": one.raw.import_id if one.raw else None,
        "row": one.raw.position if one.raw else None,
    }
