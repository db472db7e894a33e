"""What is remembered of consents, with what a plan observes of them beside it: nothing of that is stored.

A plan judges what the CRM shows exactly as the run after it would, which remembers it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine

from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.consent_state import ObservedConsent
from campaign_sync.domain.unshown_feedback import WrittenBounce, WrittenWithdrawal
from campaign_sync.domain.vanished_withdrawals import KnownWithdrawal
from campaign_sync.storage.consent_observations import ConsentObservations, ConsentRead, without_grants
from campaign_sync.storage.unshown_feedback import UnshownFeedback


class UnsavedObservations(ConsentObservations):
    """What is remembered of the states of consents, and in this process alone what has been observed since."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._observed: defaultdict[str, dict[str, ObservedConsent]] = defaultdict(dict)
        self._reads: dict[str, ConsentRead] = {}

    def find(self, opt_in_id: str, subjects: Collection[str]) -> dict[str, ObservedConsent]:
        """Return what is remembered of these subjects, and observed since."""
        observed = self._observed[normalize_word(opt_in_id)]
        newer = {subject: observed[subject] for subject in observed.keys() & set(subjects)}
        return super().find(opt_in_id, set(subjects) - newer.keys()) | newer

    def save(
        self,
        opt_in_id: str,
        changed: Mapping[str, ObservedConsent],
        read: ConsentRead | None = None,
        *,
        read_at: datetime | None = None,
    ) -> None:
        """Keep changed memories until the process ends; with `read`, also that the opt-in was read completely."""
        before, key = self.last_read(opt_in_id), normalize_word(opt_in_id)
        if read_at is not None and before is not None and before.read_at > read_at:  # a run has read it since
            changed, read = without_grants(changed), None
        self._observed[key] |= changed
        if read is not None:
            changed_at = read.changed_at or (before.changed_at if before else None) or read.read_at
            self._reads[key] = ConsentRead(read.read_at, read.states, read.refused, read.at_once, changed_at)

    def last_read(self, opt_in_id: str) -> ConsentRead | None:
        """Return the last complete read of an opt-in's states; None for an opt-in that has none."""
        return self._reads.get(normalize_word(opt_in_id)) or super().last_read(opt_in_id)

    def refused(self, opt_in_id: str) -> list[KnownWithdrawal]:
        """Return the withdrawals of those who are granted again without being accepted."""
        observed = self._observed[normalize_word(opt_in_id)]
        newer = [
            KnownWithdrawal(subject, subject, consent.withdrawn_at)
            for subject, consent in observed.items()
            if consent.refused and consent.withdrawn_at is not None
        ]
        return [known for known in super().refused(opt_in_id) if known.entity not in observed] + newer

    def mark_reported(self, opt_in_id: str, subjects: Collection[str], now: datetime) -> None:
        """Do nothing: a plan is no report that a person could accept."""


class UnsavedFeedback(UnshownFeedback):
    """What was written to the CRM and isn't shown by it, without what this process has seen there since."""

    def __init__(self, engine: Engine, pseudonym: Callable[[str], str]) -> None:
        super().__init__(engine, pseudonym)
        self._shown_events: set[str] = set()
        self._shown_addresses: set[str] = set()

    def remember(self, written: Sequence[WrittenWithdrawal], bounced: Sequence[WrittenBounce], now: datetime) -> None:
        """Refuse: nothing is written to a CRM for a plan."""
        raise NotImplementedError

    def withdrawals(self, overdue_at: datetime | None = None) -> list[WrittenWithdrawal]:
        """Return the withdrawals that the CRM doesn't show yet, oldest first."""
        return [entry for entry in super().withdrawals(overdue_at) if entry.event_id not in self._shown_events]

    def bounces(self) -> list[WrittenBounce]:
        """Return the bounces that the CRM doesn't show yet."""
        return [bounce for bounce in super().bounces() if bounce.address_pseudonym not in self._shown_addresses]

    def shown(self, event_ids: Collection[str]) -> frozenset[str]:
        """Return those of the withdrawals that the CRM has shown."""
        return super().shown(event_ids) | self._shown_events.intersection(event_ids)

    def mark_shown(self, event_ids: Iterable[str], addresses: Iterable[str]) -> None:
        """Keep until the process ends that the CRM shows this now."""
        self._shown_events.update(event_ids)
        self._shown_addresses.update(addresses)
