"""Fetches feedback and keeps it as it came, before anything reads it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from campaign_sync.configuration import FeedbackSettings, FileSettings, MandatorSettings
from campaign_sync.domain.windows import Window, windows
from campaign_sync.feedback.paging import Row, read_window
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.delivered import decode_csv
from campaign_sync.optimizely.drop import Drop, open_drop
from campaign_sync.optimizely.services import ClosedLoop, Reader
from campaign_sync.state.csv_rows import CsvRows
from campaign_sync.state.feedback import Delivery, FeedbackImport, new_import
from campaign_sync.state.frames import FrameError, Frames
from campaign_sync.state.store import State

_SETTLES_IN = timedelta(minutes=1)
"""A delivered file younger than this may still be written to; it is left for the next import."""


@dataclass(frozen=True)
class Fetching:
    """Fetches the feedback of one mandator. `vendor` is asked for only where the readers are read over SOAP."""

    mandator: str
    settings: MandatorSettings
    vendor: Callable[[], Optimizely]
    state: State
    frames: Frames
    run_id: str

    def fetch(self, reader: str, on_rows: Callable[[int], None]) -> Iterator[FeedbackImport]:
        """Fetch everything new of a reader: window by window, or file by file, each noted as soon as it is kept.

        What breaks off goes on there the next time.

        Args:
            reader: one of the configured readers.
            on_rows: told how many rows of the window there are so far.

        Raises:
            OptimizelyError: the vendor can't be asked, or a delivered file can't be read.
            FrameError, StateError: what was fetched can't be kept.
        """
        feedback = self.settings.feedback
        return self._files(reader, feedback, feedback.files) if feedback.files else self._windows(reader, on_rows)

    def _windows(self, reader: str, on_rows: Callable[[int], None]) -> Iterator[FeedbackImport]:
        fetched = self.state.feedback.fetched_until(self.mandator, reader, self._is_intact)
        for window, rows in new_windows(self.vendor().closed_loop, reader, fetched, self.settings.feedback, on_rows):
            yield self._keep(reader, window, rows, f"{reader} over SOAP")

    def _files(self, reader: str, feedback: FeedbackSettings, files: FileSettings) -> Iterator[FeedbackImport]:
        configured = feedback.reader(reader)
        pattern = (configured and configured.files) or ""  # the configuration makes sure that there is one
        settled = datetime.now(UTC) - _SETTLES_IN
        with opened(files) as drop:
            there = drop.files(pattern)
            self._forget_lost(reader, {file.name for file in there})
            known = set(self.state.feedback.deliveries(self.mandator, reader).values())
            for file in there:
                delivery = Delivery(file.name, file.modified_at, file.size)
                if delivery in known or file.modified_at > settled:
                    continue
                rows = CsvRows(decode_csv(drop.read(file), files.separator, name=file.name))
                yield self._keep(reader, Window(file.modified_at, file.modified_at), rows, file.name, delivery)

    def _forget_lost(self, reader: str, there: Collection[str]) -> None:
        """Let files be fetched again that got lost before the CRM had them.

        Raises:
            FrameError: one of them isn't delivered any more.
        """
        journal = self.state.feedback
        lost = [one.id for one in journal.waiting(self.mandator, reader) if not self._is_intact(one)]
        deliveries = journal.deliveries(self.mandator, reader)
        gone = sorted({deliveries[one].name for one in lost if one in deliveries} - set(there))
        if gone:
            raise FrameError(
                f"{', '.join(gone)} ({reader} of {self.mandator}) got lost in storage.frames before the CRM had its "
                "rows, and isn't delivered any more; restore it, or have the vendor deliver it again under this name"
            )
        journal.forget(lost)

    def _keep(
        self, reader: str, window: Window, rows: CsvRows, origin: str, delivery: Delivery | None = None
    ) -> FeedbackImport:
        about = {"mandator": self.mandator, "reader": reader, "origin": origin, "run": self.run_id}
        file = self.frames.write_rows(f"feedback/{self.mandator}/{reader}", window, rows, about)
        now = datetime.now(UTC)
        entry = new_import(self.mandator, reader, window, len(rows), file, self.run_id, now)
        return self.state.feedback.add(entry, delivery)

    def _is_intact(self, one: FeedbackImport) -> bool:
        return self.frames.is_intact(one.file, one.digest)


def new_windows(
    closed_loop: ClosedLoop,
    reader: str,
    fetched_until: datetime | None,
    feedback: FeedbackSettings,
    on_rows: Callable[[int], None],
) -> Iterator[tuple[Window, CsvRows]]:
    """Everything that a reader has had since, window by window.

    Raises:
        OptimizelyError: the vendor can't be asked.
    """
    for window in windows(fetched_until, closed_loop.current_time(), feedback.overlap, feedback.lifetime):

        def page(start: int, rows: int, window: Window = window) -> list[Row]:
            return closed_loop.read(Reader(reader), window.since, window.until, start, rows)

        yield window, read_window(page, on_rows)


def opened(files: FileSettings) -> Drop:
    """The place where the vendor delivers files.

    Raises:
        OptimizelyError: it can't be reached, or doesn't let the user in.
    """
    return open_drop(
        files.url,
        username=files.username.get_secret_value() if files.username else None,
        password=files.password.get_secret_value() if files.password else None,
        key_file=files.key_file,
        known_hosts=files.known_hosts,
    )
