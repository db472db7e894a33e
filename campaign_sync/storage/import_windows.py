"""Windows of the vendor's exports that are kept as files, and how far their rows have been taken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, case, delete, func, select, update

from campaign_sync.domain.windows import Window, covered_until


@dataclass(frozen=True)
class ImportWindow:
    """One window of one reader, or one delivered file, kept as a file of ours.

    `since` and `until` are moments of the vendor's clock; for a delivered file both are when it was written.
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


WindowT = TypeVar("WindowT", bound=ImportWindow)


class ImportWindows(Generic[WindowT]):
    """The windows of each reader. Their watermark moves only when the rows have been taken.

    Args:
        engine: the state database.
        table: where these windows are recorded.
        window_type: what their rows are read as.
    """

    def __init__(self, engine: Engine, table: Table, window_type: type[WindowT]) -> None:
        self._engine, self._table, self._window_type = engine, table, window_type

    def fetched_until(self, mandator: str, reader: str, is_intact: Callable[[WindowT], bool]) -> datetime | None:
        """Return up to where a reader has been fetched without a gap; None if it never was.

        A window whose file is lost before its rows were taken is forgotten, with all that were fetched after it, so
        that they are fetched again.
        """
        table = self._table
        pending = self._windows(table.c.mandator == mandator, table.c.reader == reader, table.c.committed_at.is_(None))
        intact = []
        for position, window in enumerate(pending):
            if not is_intact(window):
                self.forget([lost.id for lost in pending[position:]])
                break
            intact.append(Window(window.since, min(window.until, window.imported_at)))
        return covered_until(self.committed_until(mandator).get(reader), intact)

    def committed_until(self, mandator: str) -> dict[str, datetime]:
        """Return up to which moment of the vendor's clock each reader's rows have been taken; absent if never.

        It is never later than they were fetched by our own clock: where the vendor's was ahead, nothing is left out
        once it is right again.
        """
        table = self._table
        until = case((table.c.until > table.c.imported_at, table.c.imported_at), else_=table.c.until)
        query = (
            select(table.c.reader, func.max(until, type_=table.c.until.type).label("until"))
            .where(table.c.mandator == mandator, table.c.committed_at.is_not(None))
            .group_by(table.c.reader)
        )
        with self._engine.connect() as connection:
            return {row.reader: row.until for row in connection.execute(query)}

    def expired(self, mandator: str, before: datetime) -> list[WindowT]:
        """Return windows that ended before that moment and all rows of which are taken; their files can be removed."""
        table = self._table
        done = and_(table.c.committed_at.is_not(None), table.c.misfit_rows == 0, table.c.removed_at.is_(None))
        return self._windows(table.c.mandator == mandator, table.c.until < before, done)

    def mark_removed(self, window_id: str, now: datetime) -> None:
        """Record that the file of a window was removed."""
        with self._engine.begin() as connection:
            connection.execute(update(self._table).where(self._table.c.id == window_id).values(removed_at=now))

    def forget(self, window_ids: Sequence[str]) -> None:
        """Delete these windows, so that they will be fetched again."""
        with self._engine.begin() as connection:
            connection.execute(delete(self._table).where(self._table.c.id.in_(window_ids)))

    def _take(self, connection: Connection, window_id: str, misfit_rows: int, now: datetime, **further: object) -> None:
        committed_at = func.coalesce(self._table.c.committed_at, now)
        values = {"committed_at": committed_at, "misfit_rows": misfit_rows, **further}
        connection.execute(update(self._table).where(self._table.c.id == window_id).values(values))

    def _windows(self, *conditions: ColumnElement[bool]) -> list[WindowT]:
        query = select(*self._table.c[*self._window_type.__dataclass_fields__]).where(*conditions)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(self._table.c.until, self._table.c.since))
            return [self._window_type(**row._mapping) for row in rows]
