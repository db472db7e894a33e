"""Imports of the recipients' responses: what was fetched, and what of it is stored."""

from datetime import datetime

from sqlalchemy import Engine, and_, func, select

from campaign_sync.storage.import_windows import ImportWindow, ImportWindows
from campaign_sync.storage.tables import response_import as imports


class ResponseImports(ImportWindows[ImportWindow]):
    """The imports of each mandator's responses. Their watermark moves only when the rows are stored.

    It is independent of that of feedback, even where both use the same reader.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, imports, ImportWindow)

    def add(self, window: ImportWindow) -> None:
        """Record what was fetched. It stays pending until `commit`."""
        with self._engine.begin() as connection:
            connection.execute(imports.insert().values(**vars(window)))

    def pending(self, mandator: str, reader: str, layout: str) -> list[ImportWindow]:
        """Return windows that aren't stored yet, then those with rows that didn't fit another layout.

        Both are ordered from the oldest.

        Args:
            mandator: a key of the configuration.
            reader: an operation of the vendor's.
            layout: digest of the layout by which they would be read now.
        """
        layout_changed = and_(imports.c.misfit_rows > 0, imports.c.layout != layout)
        of_reader = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        return [
            *self._windows(of_reader, imports.c.committed_at.is_(None)),
            *self._windows(of_reader, layout_changed),
        ]

    def commit(self, window_id: str, misfit_rows: int, layout: str, now: datetime) -> None:
        """Record that the rows of a window are stored, except those that don't fit the layout. Moves the watermark."""
        with self._engine.begin() as connection:
            self._take(connection, window_id, misfit_rows, now, layout=layout)

    def unparsed(self, mandator: str, reader: str) -> int:
        """Return how many kept rows of a reader don't fit its layout."""
        of_reader = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        query = select(func.coalesce(func.sum(imports.c.misfit_rows), 0)).where(of_reader)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())
