"""What was fetched of the vendor's feedback, how far the CRM has taken it, and what the CRM couldn't match."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, Row, delete, func, or_, select, update

from campaign_sync.domain.feedback import Bounce, FeedbackKind, Unsubscribe
from campaign_sync.state.tables import feedback_import as imports
from campaign_sync.state.tables import unmatched_feedback as unmatched

UNSUBSCRIBE_SOURCE = "optimizely:unsubscribes"
"""The source that a withdrawal names in the CRM: always the same, so that the same unsubscribe is written once."""

LIVE_LOOK_SOURCE = "optimizely:live_look"
"""The source that a withdrawal names which a look at the vendor's unsubscribe list brought to light."""

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
    """One window of one reader, kept as a file. `since` and `until` are moments of the vendor's clock."""

    mandator: str
    kind: FeedbackKind
    since: datetime
    until: datetime
    rows: int
    file: str
    digest: str
    run_id: str
    imported_at: datetime
    id: str


class FeedbackJournal:
    """The watermark of each mandator's feedback. It moves only when the CRM has taken the rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self,
        mandator: str,
        kind: FeedbackKind,
        window: tuple[datetime, datetime],
        rows: int,
        file: tuple[str, str],
        run_id: str,
        now: datetime,
    ) -> FeedbackImport:
        """Note a fetched window; `file` is its name and digest. It stays pending until `commit`."""
        entry = FeedbackImport(mandator, kind, *window, rows, *file, run_id, now, str(uuid4()))
        with self._engine.begin() as connection:
            connection.execute(imports.insert().values(**vars(entry)))
        return entry

    def pending(self, mandator: str) -> list[FeedbackImport]:
        """Imports the CRM hasn't taken yet, or not wholly because rows didn't fit their layout; oldest first."""
        waiting = or_(imports.c.committed_at.is_(None), imports.c.misfit_rows > 0)
        query = select(imports).where(imports.c.mandator == mandator, waiting).order_by(imports.c.until)
        with self._engine.connect() as connection:
            return [_import(row) for row in connection.execute(query)]

    def commit(self, mandator: str, misfit_rows: Mapping[str, int], unmatched_now: Unmatched, now: datetime) -> None:
        """The CRM took these imports (id: rows that didn't fit): move the watermark, note who is unmatched by now."""
        with self._engine.begin() as connection:
            for import_id, misfits in misfit_rows.items():
                connection.execute(
                    update(imports)
                    .where(imports.c.id == import_id)
                    .values(committed_at=func.coalesce(imports.c.committed_at, now), misfit_rows=misfits)
                )
            connection.execute(delete(unmatched).where(unmatched.c.mandator == mandator))
            for kind, people in unmatched_now.by_kind():
                newest = {one.address: one for one in sorted(people, key=lambda one: one.occurred_at)}
                for one in newest.values():
                    row = {"mandator": mandator, "recipient_id": one.address, "occurred_at": one.occurred_at}
                    connection.execute(unmatched.insert().values(kind=kind, **row))

    def committed_until(self, mandator: str) -> dict[FeedbackKind, datetime]:
        """Up to which moment of the vendor's clock the CRM has each kind; kinds never imported are absent."""
        query = (
            select(imports.c.kind, func.max(imports.c.until, type_=imports.c.until.type))
            .where(imports.c.mandator == mandator, imports.c.committed_at.is_not(None))
            .group_by(imports.c.kind)
        )
        with self._engine.connect() as connection:
            return {FeedbackKind(kind): until for kind, until in connection.execute(query)}

    def uncommitted(self, mandator: str) -> int:
        """How many fetched windows the CRM hasn't seen at all."""
        query = select(func.count()).where(imports.c.mandator == mandator, imports.c.committed_at.is_(None))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

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
                if row.kind == FeedbackKind.BOUNCES:
                    found.bounces.append(Bounce(row.recipient_id, row.occurred_at, row.mandator, BOUNCE_SOURCE))
                else:
                    left = Unsubscribe(row.recipient_id, row.occurred_at, row.mandator, UNSUBSCRIBE_SOURCE)
                    found.unsubscribes.append(left)
        return found


def _import(row: Row[tuple[object, ...]]) -> FeedbackImport:
    fields = {name: value for name, value in row._mapping.items() if name in FeedbackImport.__dataclass_fields__}
    return FeedbackImport(**{**fields, "kind": FeedbackKind(row.kind)})
