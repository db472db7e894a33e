"""What was fetched of the recipients' responses, and what of it is stored."""

from datetime import datetime

from sqlalchemy import Engine, and_, func, select

from campaign_sync.storage.import_windows import ImportWindow, ImportWindows
from campaign_sync.storage.tables import response_import as imports


class ResponseImports(ImportWindows[ImportWindow]):
    """The watermark of each mandator's responses. It moves only when the rows are stored.

    It has nothing to do with that of feedback, even where both ask the same reader.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, imports, ImportWindow)

    def add(self, window: ImportWindow) -> None:
        """Note what was fetched. It stays pending until `commit`."""
        with self._engine.begin() as connection:
            connection.execute(imports.insert().values(**vars(window)))

    def pending(self, mandator: str, reader: str, layout: str) -> list[ImportWindow]:
        """Windows that aren't stored yet, then those not wholly stored because rows didn't fit another layout.

        Of either the oldest come first.

        Args:
            mandator: a key of the configuration.
            reader: an operation of the vendor's.
            layout: by which they would be read now.
        """
        mended = and_(imports.c.misfit_rows > 0, imports.c.layout != layout)
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        return [*self._windows(this, imports.c.committed_at.is_(None)), *self._windows(this, mended)]

    def commit(self, window_id: str, misfit_rows: int, layout: str, now: datetime) -> None:
        """The rows of a window are stored, but for those that don't fit the layout: move the watermark."""
        with self._engine.begin() as connection:
            self._take(connection, window_id, misfit_rows, now, layout=layout)

    def misfits(self, mandator: str, reader: str) -> int:
        """How many kept rows of a reader don't fit its layout."""
        this = and_(imports.c.mandator == mandator, imports.c.reader == reader)
        query = select(func.coalesce(func.sum(imports.c.misfit_rows), 0)).where(this)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())
