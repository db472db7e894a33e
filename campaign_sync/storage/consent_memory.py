"""The product's own history of what a CRM that keeps states showed, in the state database."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from campaign_sync.domain.consent import ConsentKind, normalize_word
from campaign_sync.domain.consent_state import (
    ACCEPTED_BY_SETTING,
    ADDRESS_PREFIX,
    ConsentState,
    ObservedConsent,
    Regrant,
    StateEvent,
    accept_regrant,
    is_undated_regrant,
    may_be_accepted_unasked,
    needs_whole_read,
    note_unshown,
    note_withdrawal,
    observe,
    refuse_regrant,
    regrants_at_once,
    shows_grant,
    state_event,
)
from campaign_sync.domain.unshown_feedback import WrittenBounce, WrittenWithdrawal
from campaign_sync.storage.consent_observations import ConsentObservations, ConsentRead
from campaign_sync.storage.unshown_feedback import UnshownFeedback

_CHANGES_AT_ONCE = 200_000
"""How many changes are collected before they are written, in the order of their key: each write may touch every page
of the table."""


class RememberedConsents:
    """Implements `crm.mirror.memory.ConsentMemory` in the state database.

    Args:
        observations: what earlier reads showed.
        unshown: what was written to the CRM and isn't shown by it yet.
        pseudonym: returns the keyed pseudonym of a text.
        accept_undated: whether grants without a date are accepted in spite of a withdrawal, unless there is a mass.
        read_only: whether reading the CRM changes nothing that is remembered.
    """

    def __init__(
        self,
        observations: ConsentObservations,
        unshown: UnshownFeedback,
        pseudonym: Callable[[str], str],
        *,
        accept_undated: bool = False,
        read_only: bool = False,
    ) -> None:
        self.observations, self._unshown = observations, unshown
        self.pseudonym = pseudonym
        self.accept_undated, self.read_only = accept_undated and not read_only, read_only

    def events(
        self, opt_in_id: str, states: Iterable[Sequence[ConsentState]], now: datetime
    ) -> Iterator[Sequence[StateEvent]]:
        """Yield the events that the states of one opt-in mean, and remember them. See `ConsentMemory.events`.

        Consents that become granted again are yielded last: whether they are accepted depends on how many there are.
        """
        read = _ConsentReading(self, opt_in_id, now)
        for chunk in states:
            yield read.events_of(chunk)
        yield read.finish()

    def overdue(self, opt_in_id: str, now: datetime) -> dict[str, list[WrittenWithdrawal]]:
        """Return the withdrawals that the CRM should show by now and doesn't, by pseudonyms of record and address."""
        key = normalize_word(opt_in_id)
        by_subject: defaultdict[str, list[WrittenWithdrawal]] = defaultdict(list)
        for withdrawal in self._unshown.withdrawals(now):
            if normalize_word(withdrawal.opt_in_id) == key:
                for subject in self._subjects(withdrawal):
                    by_subject[subject].append(withdrawal)
        return dict(by_subject)

    def last_written(self, subjects: Collection[str]) -> Mapping[str, datetime]:
        """Return when we last wrote a withdrawal, of any opt-in, for those of the subjects for which we did."""
        return self._unshown.last_written(subjects) if subjects else {}

    def _subjects(self, withdrawal: WrittenWithdrawal) -> list[str]:
        of_record = self.pseudonym(str(withdrawal.entity))
        return [of_record, withdrawal.address_pseudonym] if withdrawal.address_pseudonym else [of_record]

    def remember_written(
        self, withdrawals: Sequence[WrittenWithdrawal], bounces: Sequence[WrittenBounce], now: datetime
    ) -> None:
        """Remember what the CRM has accepted until it is shown. See `ConsentMemory.remember_written`."""
        self._unshown.remember(withdrawals, bounces, now)

    def note_withdrawals(self, withdrawals: Iterable[WrittenWithdrawal]) -> None:
        """Remember the times of withdrawals that the CRM shows already. See `ConsentMemory.note_withdrawals`."""
        newest: defaultdict[str, dict[str, datetime]] = defaultdict(dict)
        for withdrawal in withdrawals:
            times = newest[normalize_word(withdrawal.opt_in_id)]
            for subject in self._subjects(withdrawal):
                times[subject] = max(withdrawal.occurred_at, times.get(subject, withdrawal.occurred_at))
        for opt_in_id, times in {} if self.read_only else newest.items():
            self._note(opt_in_id, times)

    def _note(self, opt_in_id: str, times: Mapping[str, datetime]) -> None:
        known = self.observations.find(opt_in_id, times.keys())
        noted = {subject: note_withdrawal(observed, times[subject]) for subject, observed in known.items()}
        changed = {subject: after for subject, after in noted.items() if after != known[subject]}
        self.observations.save(opt_in_id, changed)

    def unshown_withdrawals(self) -> Sequence[WrittenWithdrawal]:
        """Return the withdrawals that the CRM has accepted and hasn't shown since."""
        return self._unshown.withdrawals()

    def unshown_bounces(self) -> Sequence[WrittenBounce]:
        """Return the bounces that the CRM has accepted and hasn't shown since."""
        return self._unshown.bounces()

    def shown(self, event_ids: Collection[str]) -> frozenset[str]:
        """Return those of the withdrawals that the CRM has shown since they were written. See `ConsentMemory.shown`."""
        return self._unshown.shown(event_ids)

    def mark_shown(self, event_ids: Iterable[str], address_pseudonyms: Iterable[str]) -> None:
        """Forget what the CRM shows now, unless this memory is read-only."""
        if not self.read_only:
            self._unshown.mark_shown(event_ids, address_pseudonyms)


_ENDING = (ConsentKind.WITHDRAWN, ConsentKind.UNCLEAR)

_Numbers = np.ndarray[Any, np.dtype[np.int64]]


class _ConsentReading:
    """One read of all states of an opt-in. It takes 8 bytes a state, beside what changes."""

    def __init__(self, memory: RememberedConsents, opt_in_id: str, now: datetime) -> None:
        self._memory, self._opt_in_id, self._now = memory, normalize_word(opt_in_id), now
        self._changed: dict[str, ObservedConsent] = {}
        self._held: list[tuple[str, ConsentState]] = []
        self._granted: list[_Numbers] = []
        self._withdrawn: list[_Numbers] = []
        self._states = 0
        self._overdue, self._contradicted = memory.overdue(opt_in_id, now), set[str]()
        self._has_change, self._withdrawn_anew = False, dict[str, datetime | None]()
        last = memory.observations.last_read(opt_in_id)
        self._last_read = last.read_at if last else None

    def events_of(self, states: Sequence[ConsentState]) -> list[StateEvent]:
        """Return the events of the next states that can be judged at once."""
        self._states += len(states)
        subjects = [self._memory.pseudonym(state.subject.removeprefix(ADDRESS_PREFIX)) for state in states]
        self._note_shown(subjects, states)
        known = self._memory.observations.find(self._opt_in_id, set(subjects) - self._changed.keys())
        known |= {subject: self._changed[subject] for subject in self._changed.keys() & set(subjects)}
        events = []
        for subject, state in zip(subjects, states, strict=True):
            before = known.get(subject)
            if subject in self._overdue:
                before = self._with_overdue(subject, before, state)
            if needs_whole_read(before, state, self._now):
                self._held.append((subject, state))
                continue
            after = self._observe(before, state)
            if after is not None and after != before:
                self._change(subject, before, after)
                known[subject] = after
            events.append(state_event(state, self._opt_in_id, after, self._now))
        if len(self._changed) >= _CHANGES_AT_ONCE:
            self._write()
        return [event for event in events if event is not None]

    def _with_overdue(
        self, subject: str, before: ObservedConsent | None, state: ConsentState
    ) -> ObservedConsent | None:
        """Return what is remembered, with a withdrawal that the CRM should show and contradicts."""
        overdue = self._overdue[subject]
        if before is None:
            return None
        after = note_unshown(before, state, overdue[-1].occurred_at, self._now)
        if after != before:
            self._change(subject, before, after)
            self._contradicted.update(withdrawal.event_id for withdrawal in overdue)
        return after

    def finish(self) -> list[StateEvent]:
        """Return the events of the other states, and write what has changed."""
        known = self._memory.observations.find(self._opt_in_id, {subject for subject, _ in self._held})
        known |= self._changed
        judged = self._judged(known)
        refused, at_once = self._accept_or_refuse(judged)
        for subject, _ in self._held:
            before, after = known[subject], judged[subject]
            if after != before:
                self._change(subject, before, after)
        changed_at = self._now if self._has_change or self._has_foreign_withdrawal() else None
        self._write(ConsentRead(self._now, self._states, refused, at_once, changed_at))
        if self._contradicted:
            self._memory.mark_shown(self._contradicted, ())
        events = (state_event(state, self._opt_in_id, judged[subject], self._now) for subject, state in self._held)
        return [event for event in events if event is not None]

    def _judged(self, known: dict[str, ObservedConsent]) -> dict[str, ObservedConsent]:
        """Return what is remembered of the held subjects. Of duplicates a withdrawn one outweighs the others."""
        granted, withdrawn = self._among(self._granted), self._among(self._withdrawn)
        judged: dict[str, ObservedConsent] = {}
        for subject, state in self._held:
            before = judged.get(subject, known[subject])
            outweighed = subject in withdrawn or (subject in granted and not shows_grant(state, self._now))
            judged[subject] = before if outweighed else self._observe(before, state) or before
        return judged

    def _observe(self, before: ObservedConsent | None, state: ConsentState) -> ObservedConsent | None:
        return observe(before, state, self._now, self._last_read)

    def _accept_or_refuse(self, judged: dict[str, ObservedConsent]) -> tuple[int, int]:
        """Decide about the consents that are granted again. Return how many are refused, and how many come at once."""
        grants = [(subject, state.stated_at) for subject, state in self._held if shows_grant(state, self._now)]
        undated = {subject for subject, stated_at in grants if is_undated_regrant(judged[subject], stated_at)}
        again = {
            subject: observed
            for subject, observed in ((subject, judged[subject]) for subject, _ in grants)
            if observed.granted and observed.withdrawn_at is not None
        }
        # With an older date that isn't known they are never accepted here, but a restored CRM shows some of these, too.
        regrants = [
            Regrant(subject, observed.since, observed.refused)
            for subject, observed in again.items()
            if observed.withdrawn_until is not None  # else the CRM has never shown the withdrawal
        ]
        at_once = regrants_at_once(regrants, self._states)
        for subject, observed in again.items():
            if subject in at_once or (subject not in undated and observed.accepted_by == ACCEPTED_BY_SETTING):
                judged[subject] = refuse_regrant(observed)
            elif subject in undated and self._memory.accept_undated and not at_once:
                judged[subject] = _accepted_unasked(observed, self._now)
        return sum(observed.refused for observed in judged.values()), len(at_once)

    def _change(self, subject: str, before: ObservedConsent | None, after: ObservedConsent) -> None:
        self._changed[subject] = after
        if before is None or before.granted is not after.granted:
            self._has_change |= after.granted
            if self._last_read is not None and not self._has_change:
                self._withdrawn_anew[subject] = before.since if before else None

    def _has_foreign_withdrawal(self) -> bool:
        """Return whether a consent was withdrawn that we haven't withdrawn since it was first shown as granted."""
        written = self._memory.last_written(self._withdrawn_anew)
        return any(
            subject not in written or (since is not None and written[subject] < since)
            for subject, since in self._withdrawn_anew.items()
        )

    def _write(self, read: ConsentRead | None = None) -> None:
        if not self._memory.read_only:
            self._memory.observations.save(self._opt_in_id, self._changed, read, read_at=self._now)
            self._changed.clear()

    def _note_shown(self, subjects: Sequence[str], states: Sequence[ConsentState]) -> None:
        numbers = _numbers(subjects)
        self._granted.append(numbers[[shows_grant(state, self._now) for state in states]])
        self._withdrawn.append(numbers[[state.kind in _ENDING for state in states]])

    def _among(self, shown: list[_Numbers]) -> set[str]:
        """Return the held subjects that are among those shown."""
        subjects = sorted({subject for subject, _ in self._held})
        if not subjects:
            return set()
        is_shown = np.isin(_numbers(subjects), np.concatenate(shown))
        return {subject for subject, shown_too in zip(subjects, is_shown.tolist(), strict=True) if shown_too}


def _accepted_unasked(observed: ObservedConsent, now: datetime) -> ObservedConsent:
    return accept_regrant(observed, now, ACCEPTED_BY_SETTING) if may_be_accepted_unasked(observed) else observed


def _numbers(subjects: Iterable[str]) -> _Numbers:
    return np.fromiter((int(subject.removeprefix("p_"), 16) for subject in subjects), np.int64)
