"""Dynamics 365 as a CRM that is copied."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.crm.dataverse.api import DataverseApi
from campaign_sync.crm.dataverse.check import flaws
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.limits import limits_left
from campaign_sync.crm.dataverse.pages import PAGE_ROWS
from campaign_sync.crm.dataverse.reader import DataverseReader
from campaign_sync.crm.dataverse.write_back import FeedbackWriter
from campaign_sync.crm.mirror.source import BounceMark, Source, SourceReader, Withdrawal
from campaign_sync.crm.port import CrmNeeds, CrmSetupError
from campaign_sync.crm.web_api.recent import Recent
from campaign_sync.crm.web_api.shared_records import SharedRecords

_log = logging.getLogger(__name__)

_NO_EXPORTS = "Dynamics 365 lists no exports; use crm_export.marker"


class DataverseSource(Source):
    """Implements `Source`.

    Args:
        settings: the section `crm`.
        needs: what the lists ask of the CRM, for `check`.
        folder: where copies are stored.
        page_rows: how many rows are read with one call.
        wait: waits for a number of seconds.
    """

    def __init__(
        self,
        settings: DataverseSettings,
        needs: CrmNeeds,
        folder: Path,
        *,
        page_rows: int = PAGE_ROWS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._needs, self._page_rows = settings, needs, page_rows
        self._api = DataverseApi(settings, wait)
        self._shared = SharedRecords(folder, settings.place, settings.people_max_age)
        self._recent = Recent(self._environment, settings.people_max_age)

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless everything configured exists and may be read. See `Source.check`."""
        problems = flaws(self._environment(), self._needs)
        if exports:
            problems.append(_NO_EXPORTS)
        if problems:
            raise CrmSetupError(f"Dynamics 365 can't be used yet: {'; '.join(dict.fromkeys(problems))}")

    def limits_left(self) -> str | None:
        """Return how many calls are left in five minutes, and how many a read takes. See `Source.limits_left`."""
        return limits_left(self._environment())

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        """Open one read. The definitions of tables are as old as people may be. See `Source.read`."""
        before = self._api.calls
        with closing(DataverseReader(self._recent.value(), needs, self._shared)) as reader:
            yield reader
        _log.info("reading Dynamics 365 took %d calls", self._api.calls - before)

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals where the consents are. See `Source.write_withdrawals`."""
        return FeedbackWriter(self._environment()).write_withdrawals(withdrawals)

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Write bounces into the columns of `bounce`. See `Source.write_bounces`."""
        return FeedbackWriter(self._environment()).write_bounces(bounces)

    def last_export(self, name: str) -> datetime | None:
        """Raise CrmSetupError: Dynamics 365 lists no exports."""
        raise CrmSetupError(_NO_EXPORTS)

    def _environment(self) -> Environment:
        return Environment(self._api, self._settings, self._page_rows)
