"""A CRM that delivers its tables as files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.files.delivery import (
    Delivery,
    find_newest,
    newest_delivery,
    require_same,
    require_usable,
    table_files,
)
from campaign_sync.crm.files.local_copy import LocalCopy, download_folder
from campaign_sync.crm.files.place import Place
from campaign_sync.crm.files.reader import FilesReader
from campaign_sync.crm.files.write_back import FileWriteBack
from campaign_sync.crm.mirror.source import BounceMark, Source, SourceReader, Withdrawal
from campaign_sync.crm.port import CrmError, CrmNeeds
from campaign_sync.domain.instant import CLOCK_TOLERANCE


class FilesSource(Source):
    """Implements `Source`. Every read is of the newest complete delivery.

    Args:
        settings: the section `crm`.
        folder: where copies of delivered files are stored while they are read.
        clock: returns the time now.
    """

    def __init__(
        self, settings: FilesSettings, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._write_back = FileWriteBack(settings)
        self._verified = ""
        """The delivery whose files were all read to their end by this process."""

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless the newest delivery can be used, and feedback can be written. See `Source.check`."""
        problems = []
        for attempt in (self._read_everything, self._write_back.probe):
            try:
                attempt()
            except CrmError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise CrmError("; ".join(str(problem).removesuffix(".") for problem in problems))

    def _read_everything(self) -> None:
        with self.read(CrmNeeds()):
            pass

    def version(self) -> str | None:
        """Return which delivery is the newest; None if none is complete. See `Source.version`."""
        with Place(self._settings, "url") as place:
            delivery = place.attempt(lambda source: find_newest(source, self._settings))
        return delivery.identity if delivery else None

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        """Open the newest complete delivery. It is read to its end once, so that a flaw in any file stops all.

        Raises:
            CrmError: there is none that can be used; also at the end, if it was replaced meanwhile.
        """
        with Place(self._settings, "url") as place, download_folder(self._folder) as folder:
            delivery = place.attempt(lambda source: newest_delivery(source, self._settings))
            require_usable(delivery, self._settings, self._clock())
            reader = FilesReader(LocalCopy(place, delivery, folder), self._settings, delivery.delivered_at)
            self._verify(delivery, reader)
            yield reader
            place.attempt(lambda source: require_same(delivery, source, self._settings))

    def _verify(self, delivery: Delivery, reader: FilesReader) -> None:
        if self._verified != delivery.identity:
            reader.verify(table_files(delivery, self._settings))
            self._verified = delivery.identity

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Leave withdrawals as files. The CRM has them from then on, though no delivery shows it yet."""
        return self._write_back.write_withdrawals(withdrawals)

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Leave bounces as files. See `write_withdrawals`."""
        return self._write_back.write_bounces(bounces)

    def last_export(self, name: str) -> datetime | None:
        """Return when the newest complete delivery was made, whatever the name. See `Crm.last_export`."""
        with Place(self._settings, "url") as place:
            delivery = place.attempt(lambda source: find_newest(source, self._settings))
        if delivery is None or delivery.delivered_at > self._clock() + CLOCK_TOLERANCE:
            return None
        return delivery.delivered_at
