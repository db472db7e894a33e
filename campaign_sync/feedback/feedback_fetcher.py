"""Fetching of feedback: it is stored as it came, but for addresses of erased people, before anything parses it."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from campaign_sync.config import FeedbackSettings, FileSettings, MandatorSettings
from campaign_sync.delivered_files.csv_decoder import decode_csv, salvage_csv
from campaign_sync.delivered_files.errors import (
    FileAccessError,
    FileSourceError,
    UnreachableFilesError,
    UnsettledFileError,
)
from campaign_sync.delivered_files.file_source import FileSource, RemoteFile
from campaign_sync.delivered_files.open import open_file_source
from campaign_sync.delivered_files.raw_text import hide_people, without_damage
from campaign_sync.domain.feedback_rows import column_names
from campaign_sync.domain.windows import Window, plan_windows
from campaign_sync.feedback.erased_feedback import hide_rows
from campaign_sync.feedback.paging import Row, read_window
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.services import ClosedLoop, ClosedLoopReader
from campaign_sync.storage.csv_rows import CsvRows
from campaign_sync.storage.feedback_imports import Delivery, FeedbackImport, new_import
from campaign_sync.storage.files import RAW, FileStorage, FileStorageError
from campaign_sync.storage.state import State

_SETTLES_IN = timedelta(minutes=1)
"""A delivered file younger than this may still be written to; it is left for the next import."""

_CLOCKS_DIFFER = timedelta(days=1)
"""How far ahead of ours the clock of a server may be, before the time of a file means nothing."""


@dataclass(frozen=True)
class FeedbackFetcher:
    """Fetches the feedback of one mandator. `vendor` is called only where readers are read over SOAP."""

    mandator: str
    settings: MandatorSettings
    vendor: Callable[[], Optimizely]
    state: State
    frames: FileStorage
    run_id: str
    unavailable: list[str] = field(default_factory=list)
    """For each delivered file that couldn't be read, the reason and the remedy. The next import tries them again."""

    def fetch(self, reader: str, on_rows: Callable[[int], None]) -> Iterator[FeedbackImport]:
        """Fetch everything new of a reader: window by window, or file by file, each recorded as soon as it is stored.

        An interrupted fetch continues from there the next time.

        Args:
            reader: one of the configured readers.
            on_rows: receives the number of rows of the window so far.

        Raises:
            OptimizelyError: the vendor can't be asked.
            DeliveredFilesError: the place where files are delivered can't be reached.
            FileStorageError, StateError: what was fetched can't be stored.
        """
        feedback = self.settings.feedback
        return self._files(reader, feedback, feedback.files) if feedback.files else self._windows(reader, on_rows)

    def _windows(self, reader: str, on_rows: Callable[[int], None]) -> Iterator[FeedbackImport]:
        fetched = self.state.feedback_imports.fetched_until(self.mandator, reader, self._is_intact)
        for window, rows in read_new_windows(
            self.vendor().closed_loop, reader, fetched, self.settings.feedback, on_rows
        ):
            kept = self._keep_rows(reader, window, rows, f"{reader} over SOAP")
            yield self._note(reader, window, len(rows), kept)

    def _files(self, reader: str, feedback: FeedbackSettings, files: FileSettings) -> Iterator[FeedbackImport]:
        """Fetch the new delivered files. A file that can't be read keeps no other from being fetched."""
        configured = feedback.readers_by_name[reader]
        now = datetime.now(UTC)
        with open_delivered_files(files) as source:
            available = source.files(configured.files or "")
            self._forget_lost(reader, {file.name for file in available})
            known = {delivery for _, delivery in self.state.feedback_imports.deliveries(self.mandator, reader)}
            for file in available:
                if Delivery(file.name, file.modified_at, file.size) in known or not is_settled(file, now):
                    continue
                try:
                    content = source.read(file)
                except UnsettledFileError:
                    continue  # it is still being written to; the next import reads it
                except (FileSourceError, FileAccessError) as error:
                    self.unavailable.append(str(error))
                    continue
                fetched = self._store_file(reader, file, content, files.separator, now)
                if fetched:
                    yield fetched

    def _store_file(
        self, reader: str, file: RemoteFile, content: bytes, separator: str | None, now: datetime
    ) -> FeedbackImport | None:
        """Store a delivered file as rows, or as it came where it can't be read; None for one with nothing new."""
        moment = min(file.modified_at, now)
        window = Window(moment, moment)
        try:
            rows = CsvRows(decode_csv(content, separator, name=file.name))
        except (FileSourceError, UnreachableFilesError):
            digest, count = hashlib.sha256(content).hexdigest(), None
        else:
            digest, count = rows.digest(), len(rows)
        delivery = Delivery(file.name, file.modified_at, file.size, self.state.digests.of(digest))
        earlier = self._delivered_before(reader, file.name, digest, count)
        if earlier:
            self.state.feedback_imports.add_repeated(self.mandator, reader, delivery, earlier)
            return None
        if count is not None:
            return self._note(reader, window, count, self._keep_rows(reader, window, rows, file.name), delivery)
        salvaged = salvage_csv(content, separator, name=file.name)
        about = {**self._about(reader, file.name), "trouble": salvaged.trouble}
        if erased := self.state.erasures.erased():  # the place where it was delivered has it as it came
            content = hide_people(without_damage(content), erased).content
        kept = self.frames.write_raw(f"feedback/{self.mandator}/{reader}", window, content, about)
        return self._note(reader, window, len(salvaged.rows) + salvaged.unread, kept, delivery)

    def _delivered_before(self, reader: str, name: str, digest: str, rows: int | None) -> str | None:
        """Return the import of an earlier delivery of the same content; `rows` is None where that can't be read.

        An empty file, or one of a reader without times, doesn't show when it was made. It counts as a new delivery
        unless the newest delivery of the same name has the same content.
        """
        earlier = self.state.feedback_imports.deliveries(self.mandator, reader)
        if rows == 0 or self.settings.feedback.readers_by_name[reader].time is None:
            earlier = [(import_id, delivered) for import_id, delivered in earlier if delivered.name == name][-1:]
        return next(
            (import_id for import_id, delivered in earlier if self._is_same(import_id, delivered, digest)), None
        )

    def _is_same(self, import_id: str, delivered: Delivery, digest: str) -> bool:
        """Return whether an earlier delivery had the content of this digest.

        If its digest was made with another key than those of now, what is stored of it is compared.
        """
        if delivered.digest is None:
            return False
        is_equal = self.state.digests.are_equal(delivered.digest, digest)
        return self._stored_digest(import_id) == digest if is_equal is None else is_equal

    def _stored_digest(self, import_id: str) -> str | None:
        """Return the digest of the rows of an import as they were delivered; None if they are stored no more."""
        fetched = self.state.feedback_imports.find(import_id)
        if fetched is None or not self._is_intact(fetched):
            return None
        if fetched.file.endswith(RAW):
            return hashlib.sha256(self.frames.read_raw(fetched.file, fetched.digest)).hexdigest()
        return CsvRows(self.frames.read_rows(fetched.file, fetched.digest)).digest()

    def _forget_lost(self, reader: str, available: Collection[str]) -> None:
        """Forget imports whose stored file got lost before the CRM had its rows, so that they are fetched again.

        Raises:
            FileStorageError: one of their files isn't delivered any more.
        """
        journal = self.state.feedback_imports
        lost = [entry.id for entry in journal.uncommitted(self.mandator, reader) if not self._is_intact(entry)]
        names: defaultdict[str, set[str]] = defaultdict(set)
        for import_id, delivery in journal.deliveries(self.mandator, reader):
            names[import_id].add(delivery.name)
        gone = sorted(min(names[entry]) for entry in lost if names[entry] and not names[entry] & set(available))
        if gone:
            raise FileStorageError(
                f"{', '.join(gone)} ({reader} of {self.mandator}) got lost in storage.frames before the CRM had its "
                "rows, and isn't delivered any more; restore it, or have the vendor deliver it again under this name"
            )
        journal.forget(lost)

    def _keep_rows(self, reader: str, window: Window, rows: CsvRows, origin: str) -> tuple[str, str]:
        layout = self.settings.feedback.readers_by_name[reader].layout(self.settings.zone)
        rows = hide_rows(rows, self.state.erasures.erased(), layout)
        names = column_names(rows, layout)
        folder = f"feedback/{self.mandator}/{reader}"
        return self.frames.write_rows(folder, window, rows, self._about(reader, origin), names)

    def _about(self, reader: str, origin: str) -> dict[str, str]:
        return {"mandator": self.mandator, "reader": reader, "origin": origin, "run": self.run_id}

    def _note(
        self, reader: str, window: Window, rows: int, kept: tuple[str, str], delivery: Delivery | None = None
    ) -> FeedbackImport:
        now = datetime.now(UTC)
        entry = new_import(self.mandator, reader, window, rows, kept, self.run_id, now)
        return self.state.feedback_imports.add(entry, delivery)

    def _is_intact(self, fetched: FeedbackImport) -> bool:
        return self.frames.is_intact(fetched.file, fetched.digest)


def is_settled(file: RemoteFile, now: datetime) -> bool:
    """Return whether a file is no longer being written to. A time that is days ahead doesn't count as recent."""
    return not now - _SETTLES_IN < file.modified_at <= now + _CLOCKS_DIFFER


def read_new_windows(
    closed_loop: ClosedLoop,
    reader: str,
    fetched_until: datetime | None,
    feedback: FeedbackSettings,
    on_rows: Callable[[int], None],
) -> Iterator[tuple[Window, CsvRows]]:
    """Yield the rows of a reader since `fetched_until`, window by window.

    Raises:
        OptimizelyError: the vendor can't be asked.
    """
    for window in plan_windows(fetched_until, closed_loop.current_time(), feedback.overlap, feedback.lifetime):

        def page(start: int, rows: int, window: Window = window) -> list[Row]:
            return closed_loop.read(ClosedLoopReader(reader), window.since, window.until, start, rows)

        yield window, read_window(page, on_rows)


def open_delivered_files(files: FileSettings) -> FileSource:
    """Open the place where the vendor delivers files.

    Raises:
        DeliveredFilesError: it can't be reached, or doesn't let the user in.
    """
    return open_file_source(
        files.url,
        username=files.username.get_secret_value() if files.username else None,
        password=files.password.get_secret_value() if files.password else None,
        key_file=files.key_file,
        known_hosts=files.known_hosts,
    )
