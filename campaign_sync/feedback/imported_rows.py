"""The rows of imports as they came."""

from collections.abc import Iterable
from dataclasses import dataclass

from campaign_sync.config import MandatorSettings
from campaign_sync.delivered_files.csv_decoder import salvage_csv
from campaign_sync.domain.feedback_rows import Row
from campaign_sync.storage.feedback_imports import FeedbackImport, FeedbackImports
from campaign_sync.storage.files import RAW, FileStorage


@dataclass(frozen=True)
class ImportedRows:
    """The rows of an import as they came."""

    rows: Iterable[Row]
    unread: int = 0
    """How many further rows there are that can't be separated from one another."""
    trouble: str = ""


class ImportedRowReader:
    """Reads the rows of imports as they came, also of files that couldn't be decoded when they were delivered."""

    def __init__(
        self, frames: FileStorage, settings: MandatorSettings, journal: FeedbackImports, mandator: str
    ) -> None:
        self._frames = frames
        self._separator = settings.feedback.files.separator if settings.feedback.files else None
        self._journal, self._mandator = journal, mandator
        self._names: dict[str, dict[str, str]] = {}

    def of(self, fetched: FeedbackImport) -> ImportedRows:
        """Return the rows of an import.

        Raises:
            FileStorageError: its stored file can't be read.
        """
        if not fetched.file.endswith(RAW):
            return ImportedRows(self._frames.read_rows(fetched.file, fetched.digest))
        content = self._frames.read_raw(fetched.file, fetched.digest)
        salvaged = salvage_csv(content, self._separator, name=self.origin(fetched))
        return ImportedRows(salvaged.rows, salvaged.unread, salvaged.trouble)

    def origin(self, fetched: FeedbackImport) -> str:
        """Return the import's name in messages: the delivered file, or the window."""
        if fetched.reader not in self._names:
            deliveries = self._journal.deliveries(self._mandator, fetched.reader)
            self._names[fetched.reader] = {import_id: delivery.name for import_id, delivery in reversed(deliveries)}
        window = f"{fetched.since:%Y-%m-%d %H:%M} to {fetched.until:%Y-%m-%d %H:%M} UTC"
        return self._names[fetched.reader].get(fetched.id, window)
