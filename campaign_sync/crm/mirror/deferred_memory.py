"""A memory that is opened when it is first needed: most questions to a CRM need none."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property

from campaign_sync.crm.mirror.memory import ConsentMemory, WrittenBounce, WrittenWithdrawal
from campaign_sync.domain.consent_state import ConsentState, StateEvent


class DeferredMemory:
    """Implements `ConsentMemory` by another memory. See there.

    Args:
        open_memory: opens that memory; it is called at most once.
    """

    def __init__(self, open_memory: Callable[[], ConsentMemory]) -> None:
        self._open_memory = open_memory

    @cached_property
    def _memory(self) -> ConsentMemory:
        return self._open_memory()

    def events(
        self, opt_in_id: str, states: Iterable[Sequence[ConsentState]], now: datetime
    ) -> Iterator[Sequence[StateEvent]]:
        """Yield the events that the states of one opt-in mean, and remember what was observed."""
        return self._memory.events(opt_in_id, states, now)

    def pseudonym(self, text: str) -> str:
        """Return the keyed pseudonym of an address."""
        return self._memory.pseudonym(text)

    def remember_written(
        self, withdrawals: Sequence[WrittenWithdrawal], bounces: Sequence[WrittenBounce], now: datetime
    ) -> None:
        """Remember what the CRM has accepted."""
        self._memory.remember_written(withdrawals, bounces, now)

    def note_withdrawals(self, withdrawals: Iterable[WrittenWithdrawal]) -> None:
        """Remember the times of withdrawals that the CRM shows."""
        self._memory.note_withdrawals(withdrawals)

    def unshown_withdrawals(self) -> Sequence[WrittenWithdrawal]:
        """Return the withdrawals that the CRM hasn't shown yet."""
        return self._memory.unshown_withdrawals()

    def unshown_bounces(self) -> Sequence[WrittenBounce]:
        """Return the bounces that the CRM hasn't shown yet."""
        return self._memory.unshown_bounces()

    def mark_shown(self, event_ids: Iterable[str], address_pseudonyms: Iterable[str]) -> None:
        """Remember what the CRM shows now."""
        self._memory.mark_shown(event_ids, address_pseudonyms)

    def shown(self, event_ids: Collection[str]) -> Collection[str]:
        """Return those of the withdrawals that the CRM has shown."""
        return self._memory.shown(event_ids)
