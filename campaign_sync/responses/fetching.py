"""Fetches responses and keeps them as they came, before anything reads them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from campaign_sync.configuration import MandatorSettings
from campaign_sync.domain.windows import Window, windows
from campaign_sync.feedback.paging import Row, read_window
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.services import Reader
from campaign_sync.state.frames import Frames
from campaign_sync.state.kept import KeptWindow
from campaign_sync.state.store import State


@dataclass(frozen=True)
class ResponseFetching:
    """Fetches the responses of one mandator."""

    mandator: str
    settings: MandatorSettings
    vendor: Optimizely
    state: State
    frames: Frames
    run_id: str

    def fetch(self, reader: str, on_rows: Callable[[int], None]) -> Iterator[KeptWindow]:
        """Fetch everything new of a reader, window by window, each noted as soon as it is kept.

        What breaks off goes on there the next time. Overlap and lifetime are those of feedback.

        Args:
            reader: one of the configured readers of responses.
            on_rows: told how many rows of the window there are so far.

        Raises:
            OptimizelyError: the vendor can't be asked.
            FrameError, StateError: what was fetched can't be kept.
        """
        closed_loop, feedback = self.vendor.closed_loop, self.settings.feedback
        fetched = self.state.responses.fetched_until(self.mandator, reader, self._is_intact)
        for window in windows(fetched, closed_loop.current_time(), feedback.overlap, feedback.lifetime):

            def page(start: int, rows: int, window: Window = window) -> list[Row]:
                return closed_loop.read(Reader(reader), window.since, window.until, start, rows)

            yield self._keep(reader, window, read_window(page, on_rows))

    def _keep(self, reader: str, window: Window, rows: list[Row]) -> KeptWindow:
        about = {"mandator": self.mandator, "reader": reader, "origin": f"{reader} over SOAP", "run": self.run_id}
        name, digest = self.frames.write_rows(f"responses/{self.mandator}/{reader}", window, rows, about)
        now, span = datetime.now(UTC), (window.since, window.until)
        kept = KeptWindow(self.mandator, reader, *span, len(rows), name, digest, self.run_id, now, str(uuid4()))
        self.state.responses.add(kept)
        return kept

    def _is_intact(self, one: KeptWindow) -> bool:
        return self.frames.is_intact(one.file, one.digest)
