"""Fetching of responses: they are stored as they came, before anything parses them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.feedback_rows import column_names
from campaign_sync.domain.windows import Window
from campaign_sync.feedback.erased_feedback import hide_rows
from campaign_sync.feedback.feedback_fetcher import read_new_windows
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.csv_rows import CsvRows
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.import_windows import ImportWindow
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class ResponseFetcher:
    """Fetches the responses of one mandator."""

    mandator: str
    settings: MandatorSettings
    vendor: Optimizely
    state: State
    frames: FileStorage
    run_id: str

    def fetch(self, reader: str, on_rows: Callable[[int], None]) -> Iterator[ImportWindow]:
        """Fetch everything new of a reader, window by window, each recorded as soon as it is stored.

        An interrupted fetch continues from there the next time. Overlap and lifetime are those of feedback.

        Args:
            reader: one of the configured readers of responses.
            on_rows: receives the number of rows of the window so far.

        Raises:
            OptimizelyError: the vendor can't be asked.
            FileStorageError, StateError: what was fetched can't be stored.
        """
        fetched = self.state.response_imports.fetched_until(self.mandator, reader, self._is_intact)
        for window, rows in read_new_windows(self.vendor.closed_loop, reader, fetched, self.settings.feedback, on_rows):
            yield self._keep(reader, window, rows)

    def _keep(self, reader: str, window: Window, rows: CsvRows) -> ImportWindow:
        about = {"mandator": self.mandator, "reader": reader, "origin": f"{reader} over SOAP", "run": self.run_id}
        configured = self.settings.responses.reader(reader) if self.settings.responses else None
        layout = configured.layout(self.settings.zone) if configured else None
        # The link goes as well: it may be made for one person.
        rows = hide_rows(rows, self.state.erasures.erased(), layout and replace(layout, link=None))
        names = column_names(rows, layout) if layout else []
        name, digest = self.frames.write_rows(f"responses/{self.mandator}/{reader}", window, rows, about, names)
        now, span = datetime.now(UTC), (window.since, window.until)
        kept = ImportWindow(self.mandator, reader, *span, len(rows), name, digest, self.run_id, now, str(uuid4()))
        self.state.response_imports.add(kept)
        return kept

    def _is_intact(self, window: ImportWindow) -> bool:
        return self.frames.is_intact(window.file, window.digest)
