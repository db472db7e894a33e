"""Salesforce as a source of the mirror."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.mirror.source import BounceMark, Source, SourceReader, Withdrawal
from campaign_sync.crm.port import CrmNeeds, CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.reader import SalesforceReader
from campaign_sync.crm.salesforce.rights import Rights, read_calls
from campaign_sync.crm.salesforce.write_back import SalesforceWriter

_NO_EXPORTS = "Salesforce lists no exports; use crm_export.marker"


class SalesforceSource(Source):
    """Implements `Source`.

    Args:
        settings: the section `crm`.
        needs: what the lists ask of the CRM.
        wait: waits for a number of seconds.
    """

    def __init__(
        self, settings: SalesforceSettings, needs: CrmNeeds, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._settings, self._needs = settings, needs
        self._api = SalesforceApi(settings, wait)

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless the user can log in, and see and change what the configuration names.

        See `Source.check`.
        """
        flaws = Rights(self._api, self._settings, self._needs).flaws()
        if exports:
            flaws.append(_NO_EXPORTS)
        if flaws:
            raise CrmSetupError(f"{self._settings.url} isn't as the section crm describes it: {'; '.join(flaws)}")

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        """Open one read. See `Source.read`.

        Raises:
            CrmError: too few calls are left for it today.
        """
        self._api.require_calls(read_calls(self._settings, needs), "a read of people and consents")
        yield SalesforceReader(self._api, self._settings, needs)

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals where the consents are. See `Source.write_withdrawals`."""
        return SalesforceWriter(self._api, self._settings).withdrawals(withdrawals)

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Mark all holders of the addresses as bounced. See `Source.write_bounces`."""
        return SalesforceWriter(self._api, self._settings).bounces(bounces)

    def last_export(self, name: str) -> datetime | None:
        """Raise CrmSetupError: Salesforce lists no exports."""
        raise CrmSetupError(_NO_EXPORTS)
