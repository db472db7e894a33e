"""The memory of a CRM that is read where it is: none is needed."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from campaign_sync.crm.mirror.memory import WrittenBounce, WrittenWithdrawal
from campaign_sync.domain.consent_state import ConsentState, StateEvent


class NoConsentMemory:
    """Implements `ConsentMemory` for callers that read no consent states and write nothing."""

    def events(
        self, opt_in_id: str, states: Iterable[Sequence[ConsentState]], now: datetime
    ) -> Iterator[Sequence[StateEvent]]:
        """Yield nothing. See `ConsentMemory.events`."""
        return iter(())

    def pseudonym(self, text: str) -> str:
        """Return the text itself. See `ConsentMemory.pseudonym`."""
        return text

    def remember_written(
        self, withdrawals: Sequence[WrittenWithdrawal], bounces: Sequence[WrittenBounce], now: datetime
    ) -> None:
        """Do nothing. See `ConsentMemory.remember_written`."""

    def unshown_withdrawals(self) -> Sequence[WrittenWithdrawal]:
        """Return none. See `ConsentMemory.unshown_withdrawals`."""
        return ()

    def unshown_bounces(self) -> Sequence[WrittenBounce]:
        """Return none. See `ConsentMemory.unshown_bounces`."""
        return ()

    def mark_shown(self, event_ids: Iterable[str], address_pseudonyms: Iterable[str]) -> None:
        """Do nothing. See `ConsentMemory.mark_shown`."""
