"""A memory that holds nothing beyond a test."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from campaign_sync.crm.mirror.memory import WrittenBounce, WrittenWithdrawal
from campaign_sync.domain.consent import GRANTING, ConsentKind
from campaign_sync.domain.consent_state import UNDATED_GRANT, ConsentState, StateEvent


@dataclass
class ListMemory:
    """Implements `ConsentMemory`: a state is an event at its own date, or at the time of its first observation."""

    first_seen: dict[tuple[str, str, ConsentKind], datetime] = field(default_factory=dict)
    withdrawals: dict[str, WrittenWithdrawal] = field(default_factory=dict)
    bounces: dict[str, WrittenBounce] = field(default_factory=dict)
    shown_ids: set[str] = field(default_factory=set)
    subjects: list[tuple[str, str]] = field(default_factory=list)
    """Every opt-in and subject that was observed."""
    noted: list[WrittenWithdrawal] = field(default_factory=list)

    def events(
        self, opt_in_id: str, states: Iterable[Sequence[ConsentState]], now: datetime
    ) -> Iterator[Sequence[StateEvent]]:
        for chunk in states:
            self.subjects += [(opt_in_id, state.subject) for state in chunk]
            yield [self._event(opt_in_id, state, state.kind, now) for state in chunk if state.kind]

    def pseudonym(self, text: str) -> str:
        return f"pseudonym of {text}"

    def remember_written(
        self, withdrawals: Sequence[WrittenWithdrawal], bounces: Sequence[WrittenBounce], now: datetime
    ) -> None:
        self.withdrawals |= {withdrawal.event_id: withdrawal for withdrawal in withdrawals}
        self.bounces |= {bounce.address_pseudonym: bounce for bounce in bounces}

    def note_withdrawals(self, withdrawals: Iterable[WrittenWithdrawal]) -> None:
        self.noted += withdrawals

    def unshown_withdrawals(self) -> Sequence[WrittenWithdrawal]:
        return list(self.withdrawals.values())

    def unshown_bounces(self) -> Sequence[WrittenBounce]:
        return list(self.bounces.values())

    def mark_shown(self, event_ids: Iterable[str], address_pseudonyms: Iterable[str]) -> None:
        for event_id in event_ids:
            self.withdrawals.pop(event_id, None)
            self.shown_ids.add(event_id)
        for address in address_pseudonyms:
            del self.bounces[address]

    def shown(self, event_ids: Collection[str]) -> Collection[str]:
        return self.shown_ids & set(event_ids)

    def _event(self, opt_in_id: str, state: ConsentState, kind: ConsentKind, now: datetime) -> StateEvent:
        at = state.stated_at
        if at is None and kind in GRANTING:
            at = UNDATED_GRANT
        elif at is None and kind is ConsentKind.WITHDRAWN:
            at = self.first_seen.setdefault((opt_in_id, state.subject, kind), now)
        event_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{opt_in_id}\n{state.subject}\n{kind}\n{at}"))
        return StateEvent(state.subject, event_id, kind, at, state.source, state.evidence, state.text_version)
