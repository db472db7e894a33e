"""Salesforce as a source of the mirror."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.mirror.source import BounceMark, Source, SourceReader, Withdrawal
from campaign_sync.crm.port import CrmNeeds, CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.reader import SalesforceReader
from campaign_sync.crm.salesforce.rights import Rights
from campaign_sync.crm.salesforce.schema import Schema
from campaign_sync.crm.salesforce.write_back import SalesforceWriter
from campaign_sync.crm.web_api.recent import Recent
from campaign_sync.crm.web_api.shared_records import SharedRecords

_log = logging.getLogger(__name__)

_NO_EXPORTS = "Salesforce lists no exports; use crm_export.marker"


class SalesforceSource(Source):
    """Implements `Source`.

    Args:
        settings: the section `crm`.
        needs: what the lists ask of the CRM.
        folder: where copies are stored.
        wait: waits for a number of seconds.
    """

    def __init__(
        self,
        settings: SalesforceSettings,
        needs: CrmNeeds,
        folder: Path,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._needs = settings, needs
        self._api = SalesforceApi(settings, wait)
        self._shared = SharedRecords(folder, settings.place, settings.people_max_age)
        self._schema = Recent(lambda: Schema(self._api), settings.people_max_age)

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless the user can log in, and see and change what the configuration names.

        See `Source.check`.
        """
        flaws = Rights(self._api, self._settings, self._needs).flaws()
        if exports:
            flaws.append(_NO_EXPORTS)
        if flaws:
            raise CrmSetupError(f"{self._settings.url} isn't as the section crm describes it: {'; '.join(flaws)}")

    def limits_left(self) -> str | None:
        """Return how many calls are left today. See `Source.limits_left`."""
        limit = self._api.limits().get("DailyApiRequests")
        return f"{limit[0]:,} of {limit[1]:,} API calls of 24 hours are left" if limit else None

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        """Open one read. The descriptions of objects are as old as people may be. See `Source.read`."""
        before = self._api.calls
        schema = self._schema.value()
        with closing(SalesforceReader(self._api, schema, self._settings, needs, self._shared)) as reader:
            yield reader
        _log.info("reading Salesforce took %d calls", self._api.calls - before)

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals where the consents are. See `Source.write_withdrawals`."""
        return SalesforceWriter(self._api, self._settings).withdrawals(withdrawals)

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Mark all holders of the addresses as bounced. See `Source.write_bounces`."""
        return SalesforceWriter(self._api, self._settings).bounces(bounces)

    def last_export(self, name: str) -> datetime | None:
        """Raise CrmSetupError: Salesforce lists no exports."""
        raise CrmSetupError(_NO_EXPORTS)
