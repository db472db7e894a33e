"""What is remembered about the consents of a CRM that shows only states, and about what was written to it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from campaign_sync.domain.consent_state import ConsentState, StateEvent
from campaign_sync.domain.unshown_feedback import WrittenBounce as WrittenBounce
from campaign_sync.domain.unshown_feedback import WrittenWithdrawal as WrittenWithdrawal


class ConsentMemory(Protocol):
    """The product's own history of what the CRM showed. The state database implements it."""

    def events(
        self, opt_in_id: str, states: Iterable[Sequence[ConsentState]], now: datetime
    ) -> Iterator[Sequence[StateEvent]]:
        """Yield the events that the states of one opt-in mean, chunk by chunk, and remember what was observed.

        A state that says neither yields no event, unless the consent was observed as granted before: then it is a
        withdrawal. All states of the opt-in come with each call. Those of one subject may be several, and come one
        after the other.
        """

    def pseudonym(self, text: str) -> str:
        """Return the keyed pseudonym of an address."""

    def remember_written(
        self, withdrawals: Sequence[WrittenWithdrawal], bounces: Sequence[WrittenBounce], now: datetime
    ) -> None:
        """Remember what the CRM has accepted until it is shown: a delivery or a copy can be older."""

    def note_withdrawals(self, withdrawals: Iterable[WrittenWithdrawal]) -> None:
        """Remember the times of withdrawals that the CRM shows with a time of its own, or with none.

        A grant that is older than such a withdrawal doesn't end it.
        """

    def unshown_withdrawals(self) -> Sequence[WrittenWithdrawal]:
        """Return the withdrawals that the CRM has accepted and hasn't shown since."""

    def unshown_bounces(self) -> Sequence[WrittenBounce]:
        """Return the bounces that the CRM has accepted and hasn't shown since."""

    def mark_shown(self, event_ids: Iterable[str], address_pseudonyms: Iterable[str]) -> None:
        """Remember of withdrawals and bounces that the CRM shows them now: from here on its own state counts."""

    def shown(self, event_ids: Collection[str]) -> Collection[str]:
        """Return those of the withdrawals that the CRM has shown. It is never asked to take them again."""
