"""What was fetched of the vendor's feedback, how far the CRM has taken it, and what the CRM couldn't match."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, func, literal, null, or_, select, update

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import (
    KIND_OF_READER,
    Attribution,
    Bounce,
    BounceKind,
    FeedbackKind,
    RawRow,
    Unsubscribe,
    bounce_weight,
)
from campaign_sync.domain.windows import Window
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.import_windows import ImportWindow, ImportWindows
from campaign_sync.storage.tables import feedback_file as files
from campaign_sync.storage.tables import feedback_import as imports
from campaign_sync.storage.tables import unmatched_feedback as unmatched
from campaign_sync.storage.upsert import insert_missing, upsert

UNSUBSCRIBE_SOURCE = "optimizely:unsubscribes"
"""The source that a withdrawal names in the CRM: always the same, so that the same unsubscribe is written once."""

LIVE_LIST_SOURCE = "optimizely:live_look"
"""The source that a withdrawal names which a look at the vendor's unsubscribe list brought to light."""

AUDIT_SOURCE = "optimizely:audit"
"""The source that a withdrawal names which the weekly comparison with the vendor brought to light."""

ADD_ALL_SOURCE = "optimizely:addAll3"
"""How it came to light that an address is on the blocklist: the vendor refused it."""

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
class FeedbackImport(ImportWindow):
    """One window of a reader of feedback, or one delivered file, kept as a file of ours.

    The CRM has taken it if `committed_at` is set; the rows are then counted by whether they fitted.
    """

    committed_at: datetime | None = None
    misfit_rows: int | None = None
    understood_rows: int | None = None
    newest_event: datetime | None = None
    """When the newest of the understood events happened; None where nothing tells."""
    dismissed_at: datetime | None = None
    """When somebody said that the rows that weren't understood needn't be."""

    @property
    def of_a_file(self) -> bool:
        """Whether it is a delivered file, and no window that the vendor was asked for."""
        return self.since == self.until

    @property
    def kind(self) -> FeedbackKind:
        """What the reader tells of."""
        return KIND_OF_READER[self.reader]


@dataclass(frozen=True)
class RowCounts:
    """How many rows of an import were understood, and how many didn't fit."""

    understood: int
    misfits: int
    newest_event: datetime | None = None
    """When the newest of the understood events happened; None where nothing tells."""
    fresh_until: datetime | None = None
    """Up to when these rows show that feedback is complete; the end of the window where that is left out."""
    stale: bool = False
    """Whether they show nothing of the kind: they can't be read, or tell only of what was known before."""
    delivered_again: str | None = None
    """In which later delivery all rows came that weren't understood here."""
    without_address: int = 0
    """How many more fit, but are about a recipient id that is no address. They are read again, like misfits."""


@dataclass(frozen=True)
class Delivery:
    """A delivered file; one of the same name that was written again is another delivery."""

    name: str
    modified_at: datetime
    size: int
    digest: str | None = field(default=None, compare=False)
    """SHA-256 of what it says: the same content under another name or time has the same."""


class FeedbackImports(ImportWindows[FeedbackImport]):
    """The watermark of each mandator's feedback. It moves only when the CRM has taken the rows."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, imports, FeedbackImport)

    def add(self, entry: FeedbackImport, delivery: Delivery | None = None) -> FeedbackImport:
        """Note what was fetched. It stays pending until `commit`."""
        with self._engine.begin() as connection:
            connection.execute(imports.insert().values(kind=entry.kind, **vars(entry)))
            if delivery:
                _note(connection, entry.mandator, entry.reader, delivery, entry.id)
        return entry

    def add_repeated(self, mandator: str, reader: str, delivery: Delivery, import_id: str) -> None:
        """Note a delivery that says the same as an earlier one, which is kept as that import."""
        with self._engine.begin() as connection:
            _note(connection, mandator, reader, delivery, import_id)

    def pending(self, mandator: str) -> list[FeedbackImport]:
        """Imports the CRM hasn't taken yet, or not wholly because rows didn't fit their layout; oldest first."""
        unread = and_(imports.c.misfit_rows > 0, imports.c.dismissed_at.is_(None))
        return self._windows(imports.c.mandator == mandator, or_(imports.c.committed_at.is_(None), unread))

    def deliveries(self, mandator: str, reader: str) -> list[tuple[str, Delivery]]:
        """The delivered files that have been fetched, each with the id of its import; the oldest first."""
        query = (
            select(*files.c["import_id", "name", "modified_at", "size", "digest"])
            .where(files.c.mandator == mandator, files.c.reader == reader)
            .order_by(files.c.modified_at, files.c.name)
        )
        with self._engine.connect() as connection:
            return [(import_id, Delivery(*file)) for import_id, *file in connection.execute(query)]

    def committed_until(self, mandator: str) -> dict[str, datetime]:
        """Up to which moment each reader's feedback has reached the CRM, as far as its rows show; absent if never.

        Of windows that is their end. A delivered file shows it by what is new in it: see `RowCounts.stale`.
        """
        until = case(
            (imports.c.fresh_until > imports.c.imported_at, imports.c.imported_at), else_=imports.c.fresh_until
        )
        query = (
            select(imports.c.reader, func.max(until, type_=imports.c.until.type).label("until"))
            .where(imports.c.mandator == mandator, imports.c.fresh_until.is_not(None))
            .group_by(imports.c.reader)
        )
        with self._engine.connect() as connection:
            return {row.reader: row.until for row in connection.execute(query)}

    def newest_events(self, mandator: str, reader: str) -> dict[str, datetime]:
        """When the newest event of each import happened, by import id."""
        query = select(*imports.c["id", "newest_event"]).where(
            imports.c.mandator == mandator, imports.c.reader == reader, imports.c.newest_event.is_not(None)
        )
        with self._engine.connect() as connection:
            return {row.id: row.newest_event for row in connection.execute(query)}

    def has_understood_rows(self, mandator: str, reader: str) -> bool:
        """Whether a row of this reader has ever fitted its layout."""
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        query = select(func.count()).where(this, imports.c.understood_rows > 0)
        with self._engine.connect() as connection:
            return bool(connection.execute(query).scalar_one())

    def dismiss(self, import_id: str, who: str, reason: str, now: datetime) -> None:
        """Ask for the rows of an import that weren't understood no more. They stay kept as they came."""
        with self._engine.begin() as connection:
            _dismiss(connection, import_id, who, reason, now)

    def expired(self, mandator: str, before: datetime) -> list[FeedbackImport]:
        """Imports that have been taken wholly, or whose other rows are dismissed, and that ended before that moment."""
        done = or_(imports.c.misfit_rows == 0, imports.c.dismissed_at.is_not(None))
        there = and_(imports.c.committed_at.is_not(None), imports.c.removed_at.is_(None))
        return self._windows(imports.c.mandator == mandator, imports.c.until < before, done, there)

    def uncommitted(self, mandator: str, reader: str) -> list[FeedbackImport]:
        """Imports of a reader that the CRM hasn't taken yet, oldest first."""
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        return self._windows(this, imports.c.committed_at.is_(None))

    def commit(
        self, mandator: str, read: Mapping[str, RowCounts], before: Unmatched, unmatched_now: Unmatched, now: datetime
    ) -> None:
        """The CRM took these imports (by id): move the watermark, note who is unmatched by now.

        `before` is what was matched again. Whoever of them isn't in `unmatched_now` is forgotten, whoever is there and
        not in it is added. What another import may have added meanwhile stays, and nothing replaces what weighs more.
        """
        with self._engine.begin() as connection:
            for import_id, rows in read.items():
                self._take(
                    connection,
                    import_id,
                    rows.misfits + rows.without_address,
                    now,
                    understood_rows=rows.understood,
                    newest_event=rows.newest_event,
                    fresh_until=_freshness(rows),
                )
                if rows.delivered_again:
                    reason = f"delivered again in {rows.delivered_again}"
                    _dismiss(connection, import_id, "campaign-sync", reason, now)
            for (kind, was), (_, is_now) in zip(before.by_kind(), unmatched_now.by_kind(), strict=True):
                known = set(was)
                for one in known - set(is_now):
                    connection.execute(delete(unmatched).where(*_is(mandator, kind, one)))
                weightiest = {(one.address, _opt_in_id(one)): one for one in sorted(is_now, key=_weight)}
                news = [one for one in weightiest.values() if one not in known]
                rows_now = [_unmatched_row(mandator, kind, one) for one in news]
                named = ("entity_type", "entity_id", "opt_ins")
                further = ("occurred_at", "bounce_kind", "dated", "import_id", "row", *named)
                upsert(connection, unmatched, rows_now, update=further, where=_weighs_more)

    def uncommitted_count(self, mandator: str) -> int:
        """How many fetched windows the CRM hasn't seen at all."""
        query = select(func.count()).where(imports.c.mandator == mandator, imports.c.committed_at.is_(None))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def with_rows(self, mandator: str, reader: str) -> list[Window]:
        """The windows in which a reader told of anybody, oldest first. Delivered files end with their newest event."""
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        told = func.coalesce(imports.c.understood_rows, imports.c.rows) > 0
        found = [
            Window(one.since, one.newest_event if one.of_a_file and one.newest_event else one.until)
            for one in self._windows(this, told)
        ]
        return sorted(found, key=lambda window: window.until)

    def last_ends(self, mandator: str, reader: str, runs: int) -> list[datetime]:
        """Up to where the last runs read a reader whose rows the CRM has taken: so many, the newest first."""
        until = func.max(imports.c.until, type_=imports.c.until.type).label("until")
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader, imports.c.committed_at.is_not(None))
        query = select(until).where(this).group_by(imports.c.run_id).order_by(until.desc()).limit(runs)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def readers(self, import_ids: Collection[str]) -> dict[str, str]:
        """By import id, which reader the rows came from."""
        found: dict[str, str] = {}
        with self._engine.connect() as connection:
            for ids in batches(sorted(import_ids)):
                query = select(imports.c.id, imports.c.reader).where(imports.c.id.in_(ids))
                found |= {row.id: row.reader for row in connection.execute(query)}
        return found

    def first_since(self, mandator: str, reader: str) -> datetime | None:
        """Where the first window of a reader began; None if it was never read."""
        found = self._windows(imports.c.mandator == mandator, imports.c.reader == reader)
        return min((one.since for one in found), default=None)

    def first_import(self, mandator: str) -> datetime | None:
        """When feedback of this mandator was imported for the first time."""
        query = select(func.min(imports.c.imported_at, type_=imports.c.imported_at.type)).where(
            imports.c.mandator == mandator, imports.c.committed_at.is_not(None)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def find(self, import_id: str) -> FeedbackImport | None:
        """The import of that id."""
        return next(iter(self._windows(imports.c.id == import_id)), None)

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
                raw = RawRow(row.import_id, row.row) if row.import_id else None
                if row.kind == FeedbackKind.BOUNCES:
                    kind = BounceKind(row.bounce_kind or BounceKind.HARD)
                    found.bounces.append(Bounce(*_seen(row), BOUNCE_SOURCE, kind, row.dated is not False, raw))
                else:
                    found.unsubscribes.append(_unsubscribe(row, raw))
        return found

    def forget(self, window_ids: Sequence[str]) -> None:
        """Let these be as if they had never been fetched."""
        with self._engine.begin() as connection:
            connection.execute(delete(files).where(files.c.import_id.in_(window_ids)))
            connection.execute(delete(imports).where(imports.c.id.in_(window_ids)))


def new_import(
    mandator: str, reader: str, window: Window, rows: int, file: tuple[str, str], run_id: str, now: datetime
) -> FeedbackImport:
    """An import to be noted; `file` is its name and digest."""
    return FeedbackImport(mandator, reader, window.since, window.until, rows, *file, run_id, now, str(uuid4()))


def _note(connection: Connection, mandator: str, reader: str, delivery: Delivery, import_id: str) -> None:
    key = {"mandator": mandator, "reader": reader, **vars(delivery)}
    insert_missing(connection, files, [{**key, "import_id": import_id}])


def _dismiss(connection: Connection, import_id: str, who: str, reason: str, now: datetime) -> None:
    values = {"dismissed_at": now, "dismissed_by": who, "dismissed_because": reason}
    connection.execute(update(imports).where(imports.c.id == import_id).values(values))


def _freshness(rows: RowCounts) -> ColumnElement[Any]:
    """What was shown once stays; rows that are read again show nothing new by that."""
    shown = imports.c.until if rows.fresh_until is None else literal(rows.fresh_until, imports.c.until.type)
    return func.coalesce(imports.c.fresh_until, null() if rows.stale else shown)


def _unmatched_row(mandator: str, kind: FeedbackKind, one: Bounce | Unsubscribe) -> dict[str, object]:
    return {
        "mandator": mandator,
        "kind": kind,
        "recipient_id": one.address,
        "opt_in_id": _opt_in_id(one),
        "occurred_at": one.occurred_at,
        "bounce_kind": one.kind if isinstance(one, Bounce) else None,
        "dated": one.dated,
        "import_id": one.raw.import_id if one.raw else None,
        "row": one.raw.position if one.raw else None,
        "entity_type": one.entity.entity_type if isinstance(one, Unsubscribe) and one.entity else None,
        "entity_id": one.entity.entity_id if isinstance(one, Unsubscribe) and one.entity else None,
        "opt_ins": json.dumps(sorted(one.opt_ins)) if isinstance(one, Unsubscribe) and one.opt_ins else None,
    }


def _opt_in_id(one: Bounce | Unsubscribe) -> str:
    """The opt-in of an unsubscribe that names one; a primary key takes no nulls."""
    return (one.opt_in_id or "") if isinstance(one, Unsubscribe) else ""


def _seen(row: Any) -> tuple[str, datetime, str]:
    return row.recipient_id, row.occurred_at, row.mandator


def _unsubscribe(row: Any, raw: RawRow | None) -> Unsubscribe:
    opt_in_id, entity = row.opt_in_id or None, Entity.named(row.entity_type, row.entity_id)
    return Unsubscribe(
        *_seen(row),
        UNSUBSCRIBE_SOURCE,
        row.dated is not False,
        opt_ins=frozenset(json.loads(row.opt_ins or "[]")),
        opt_in_id=opt_in_id,
        entity=entity,
        raw=raw,
        attribution=Attribution.of_names(opt_in_id, entity),
    )


def _is(mandator: str, kind: FeedbackKind, one: Bounce | Unsubscribe) -> list[ColumnElement[bool]]:
    return [
        unmatched.c.mandator == mandator,
        unmatched.c.kind == kind,
        unmatched.c.recipient_id == one.address,
        unmatched.c.opt_in_id == _opt_in_id(one),
        unmatched.c.occurred_at == one.occurred_at,
    ]


def _weight(one: Bounce | Unsubscribe) -> tuple[bool, datetime]:
    """Which of two about one address counts: a final bounce before a soft one, then the newer."""
    return (True, one.occurred_at) if isinstance(one, Unsubscribe) else bounce_weight(one.kind, one.occurred_at)


def _weighs_more(new: Any) -> ColumnElement[bool]:
    """`_weight` in SQL: whether a row weighs more than the one that stands."""
    final, was_final = (case((columns.bounce_kind == BounceKind.SOFT, 0), else_=1) for columns in (new, unmatched.c))
    return or_(final > was_final, and_(final == was_final, new.occurred_at > unmatched.c.occurred_at))
