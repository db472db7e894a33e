"""The removal of erased people from all places, and what is left to do."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from campaign_sync.config import Configuration
from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.mirror.retention import remove_copies
from campaign_sync.crm.mirror.shared_file import copies_lock
from campaign_sync.domain.erasure import Erasure, ErasureKey
from campaign_sync.domain.incident import ERASURES, INSTALLATION
from campaign_sync.erasure.file_removal import FileRemoval, OnFile, restored_erasures
from campaign_sync.erasure.late_erasures import late_erasures
from campaign_sync.erasure.places import (
    CRM_COPIES,
    FEEDBACK,
    LAST_RUN,
    LIST_PREFIX,
    OLD_VERSIONS,
    RESPONSES,
    SENT_PEOPLE,
    SNAPSHOTS,
    STATE,
    UNFINISHED,
    PlaceOutcome,
    PlaceReport,
    PlaceState,
    standing_places,
)
from campaign_sync.erasure.searched_files import SearchedFiles
from campaign_sync.erasure.subjects import ErasedSubjects
from campaign_sync.storage.erased_rows import SubjectLookup
from campaign_sync.storage.erasure_places import RecordedPlace
from campaign_sync.storage.files import FileStorage, FileStorageError, is_s3
from campaign_sync.storage.locks import ListLock, boot_clock
from campaign_sync.storage.redactions import ChangedList
from campaign_sync.storage.state import State

log = logging.getLogger(__name__)

MAX_DELAY = timedelta(minutes=10)
"""How long a run waits for the search of files. It would fail after `storage.locks.PATIENCE`."""

_CLEARED = (SNAPSHOTS, FEEDBACK, RESPONSES, LAST_RUN, SENT_PEOPLE, UNFINISHED, STATE, CRM_COPIES)


class _Turn:
    """How long the removal may go on searching files: until a run, plan or inquiry has waited for `MAX_DELAY`."""

    def __init__(self, running: Callable[[], Collection[str]]) -> None:
        self._running = running
        self._waiting_since: float | None = None
        self._hindrance: str | None = None

    def hindrance(self) -> str | None:
        """Return why no further file may be searched now; None while one may. Once there is a reason, it stays."""
        if self._hindrance is None and (waiting := self._running()):
            self._waiting_since = self._waiting_since or boot_clock()
            if boot_clock() - self._waiting_since >= MAX_DELAY.total_seconds():
                self._hindrance = (
                    f"not all files were searched, as others waited ({', '.join(waiting)}); it is tried again every "
                    "day, or with `campaign-sync erase --retry` when nothing else is planned"
                )
        elif not self._hindrance:
            self._waiting_since = None
        return self._hindrance


@dataclass(frozen=True)
class ErasureReport:
    """An erasure, and what is left of the person in each place."""

    erasure: Erasure
    done_at: datetime | None
    places: Sequence[PlaceReport]

    @property
    def is_pending(self) -> bool:
        """Whether something remains to be removed."""
        return self.done_at is None


@dataclass(frozen=True)
class Removal:
    """Removes the people of all pending erasures from all places. Each attempt does what it can.

    While runs, plans or inquiries are under way nothing is touched: they read these files, and write others. Those that
    begin during a removal wait for its end. After `MAX_DELAY` it ends for them: files not yet searched stay pending.
    Another removal waits for its end as well. The person is suppressed from the moment on that the erasure is recorded,
    whatever is pending.

    Args:
        configuration: of everything.
        state: the state database, opened with the key of erasures.
        files: the file storage.
        own_run: the run that does this, if it is one.
        on_wait: called once with a sentence if it waits for another removal.
        on_file: receives the place, how many of its files were searched, and how many there are.
    """

    configuration: Configuration
    state: State
    files: FileStorage
    own_run: str | None = None
    on_wait: Callable[[str], None] = log.info
    on_file: OnFile = lambda *_: None

    def attempt(self) -> list[ErasureReport]:
        """Remove what is pending, and return the report of each erasure that was pending.

        Raises:
            ErasureKeyError: who was erased can't be recognized.
            ListLockedError: another removal lasts for too long.
            ListLockLostError: the state database, or this process, was away for too long. It is tried again as ever.
            StateError, FileStorageError: the erasures can't be read.
        """
        self.state.erasures.synchronize()
        self.state.erasures.mark_pending(restored_erasures(self.files, self.state))
        if not (wanted := {erasure.id for erasure in self.state.erasures.pending()}):
            return []

        def wait(other: str) -> None:
            self.on_wait(f"waiting until run {other} has removed erased people")

        with self.state.locks.acquire_removal(self.own_run or "erase", wait) as lock:
            pending = self.state.erasures.pending()
            if pending:  # else the other one has removed everybody
                self._remove(pending, lock)
        if not late_erasures(self.state, now := datetime.now(UTC)):
            self.state.incidents.end(INSTALLATION, ERASURES, now)
        return self.reports(wanted | {erasure.id for erasure in pending})

    def _remove(self, pending: Sequence[Erasure], lock: ListLock) -> None:
        key = self.state.erasures.key()
        before = {(entry.erasure_id, entry.place): entry for entry in self._recorded(pending)}
        now = datetime.now(UTC)
        for outcome in self._outcomes(key, pending, now, lock):
            places = [self._place(erasure, outcome, before, now) for erasure in pending]
            self.state.erasure_places.record(places)
        self._record_others(pending, now)
        not_done = {place.erasure_id for place in self._recorded(pending) if place.state == PlaceState.PENDING}
        for erasure in pending:
            if erasure.id not in not_done:
                self.state.erasures.mark_done(erasure.id, now)

    def reports(self, erasure_ids: set[str] | None = None) -> list[ErasureReport]:
        """Return what is recorded of these erasures, or of all."""
        recorded = [
            entry for entry in self.state.erasures.all() if erasure_ids is None or entry.erasure.id in erasure_ids
        ]
        places: defaultdict[str, list[PlaceReport]] = defaultdict(list)
        for place in sorted(self._recorded([entry.erasure for entry in recorded]), key=_order):
            places[place.erasure_id].append(PlaceReport(place.place, PlaceState(place.state), place.rows, place.note))
        return [ErasureReport(entry.erasure, entry.done_at, places[entry.erasure.id]) for entry in recorded]

    def _outcomes(
        self, key: ErasureKey, pending: Sequence[Erasure], now: datetime, lock: ListLock
    ) -> Iterator[PlaceOutcome]:
        """Yield what was done in each place. What begins after this has looked for runs sees the lock, and waits."""
        if running := self._running():
            problem = (
                f"people's data is in use ({', '.join(running)}), so nothing was touched; it is tried again every day, "
                "or with `campaign-sync erase --retry` when that has ended"
            )
            yield from (PlaceOutcome(place, problem=problem) for place in _CLEARED)
            return
        subjects = ErasedSubjects(key, pending)
        turn = _Turn(self._running)
        searched = SearchedFiles(self.files, [erasure.id for erasure in pending])
        files = FileRemoval(
            self.files, self.state, subjects, self._kept_words, now, searched, self.on_file, turn.hindrance
        )
        for outcome in chain(files.all(), self._others(key, subjects, pending)):
            yield outcome
            lock.require()

    def _others(self, key: ErasureKey, subjects: ErasedSubjects, pending: Sequence[Erasure]) -> Iterator[PlaceOutcome]:
        yield self._copies(pending)
        yield self._state(key, subjects, pending)
        if is_s3(self.files.base):
            yield self._old_versions()

    def _running(self) -> list[str]:
        """Return the other runs that are under way."""
        return [run_id for run_id in self.state.heartbeats.living() if run_id != self.own_run]

    @property
    def _kept_words(self) -> frozenset[str]:
        """Texts in rows of feedback that name no person."""
        lists = (
            recipient_list
            for mandator in self.configuration.mandators.values()
            for recipient_list in mandator.lists.values()
        )
        return frozenset(recipient_list.opt_in_id for recipient_list in lists)

    def _copies(self, pending: Sequence[Erasure]) -> PlaceOutcome:
        """Remove the copies of the CRM. The next run makes them again, without the person once the CRM has none."""
        outcome, folder = PlaceOutcome(CRM_COPIES), Path(self.configuration.storage.crm_copies)
        with outcome.attempt():
            if not any(folder.glob("*.sqlite")) and not any(folder.glob(".*.part")):
                return outcome
            with copies_lock(folder):
                try:
                    remove_copies(folder)
                    for unfinished in folder.glob(".*.part"):
                        unfinished.unlink(missing_ok=True)
                except OSError as error:
                    reason = error.strerror or type(error).__name__
                    raise FileStorageError(f"{folder} (storage.crm_copies) can't be cleared: {reason}") from None
            outcome.rows.update(pending)
        return outcome

    def _state(self, key: ErasureKey, subjects: ErasedSubjects, pending: Sequence[Erasure]) -> PlaceOutcome:
        outcome, lookup = (
            PlaceOutcome(STATE),
            SubjectLookup(
                subjects.of_recipient_id, subjects.of_address, subjects.of_record, subjects.token_of_address, key
            ),
        )
        with outcome.attempt():
            outcome.rows = self.state.erased_rows.remove(lookup, pending)
            self.state.erased_rows.compact()
        return outcome

    def _old_versions(self) -> PlaceOutcome:
        """Find out what the bucket keeps of files that were replaced or removed. It is for its owner to remove."""
        outcome = PlaceOutcome(OLD_VERSIONS)
        with outcome.attempt():
            old = self.files.old_versions()
            if old and any(old.counts.values()):
                outcome.problem = old.problem
                outcome.limit = old.limit
        return outcome

    def _place(
        self,
        erasure: Erasure,
        outcome: PlaceOutcome,
        before: dict[tuple[str, str], RecordedPlace],
        now: datetime,
    ) -> RecordedPlace:
        earlier = before.get((erasure.id, outcome.place))
        rows = outcome.rows[erasure] + (earlier.rows if earlier else 0)
        state, note = outcome.state(rows), outcome.problem or outcome.limit
        return RecordedPlace(erasure.id, outcome.place, state, rows, now, note)

    def _record_others(self, pending: Sequence[Erasure], now: datetime) -> None:
        """Record the lists at the vendor that still have the people, and the places that we can't clear."""
        recorded = defaultdict(list)
        for place in self._recorded(pending):
            recorded[place.erasure_id].append(place)
        self.state.erasure_places.record(
            [
                RecordedPlace(erasure.id, report.place, report.state, report.rows, now, report.note)
                for erasure in pending
                for report in self._standing(erasure, recorded[erasure.id])
            ]
        )

    def _standing(self, erasure: Erasure, recorded: Sequence[RecordedPlace]) -> list[PlaceReport]:
        reports = standing_places(
            crm_delivers_files=isinstance(self.configuration.crm, FilesSettings),
            keeps_unknown_versions=self.files.keeps_unknown_versions,
        )
        lists = {
            f"{LIST_PREFIX}{changed.mandator}/{changed.list}": changed
            for changed in self.state.redactions.changed_lists(erasure.id)
        }
        for place, changed in lists.items():
            if self._is_replaced(changed):
                command = f"campaign-sync run {changed.mandator} --list {changed.list}"
                note = f"the vendor's list has the person until its next replacement; not to wait for it: `{command}`"
                reports.append(PlaceReport(place, PlaceState.PENDING, 1, note))
            else:
                note = f"this list ({changed.recipient_list_id}) isn't replaced any more: remove the recipient there"
                reports.append(PlaceReport(place, PlaceState.THEIRS, 1, note))
        return reports + [
            PlaceReport(entry.place, PlaceState.DONE, entry.rows)
            for entry in recorded
            if entry.place.startswith(LIST_PREFIX) and entry.place not in lists
        ]

    def _is_replaced(self, changed: ChangedList) -> bool:
        """Return whether the configuration has a list, as far as it can be read."""
        mandator = self.configuration.mandators.get(changed.mandator)
        is_broken = changed.mandator in self.configuration.broken_mandators
        return is_broken or (mandator is not None and changed.list in mandator.lists)

    def _recorded(self, erasures: Sequence[Erasure]) -> list[RecordedPlace]:
        return self.state.erasure_places.of([erasure.id for erasure in erasures])


def _order(place: RecordedPlace) -> tuple[int, str]:
    """Return the order in which places are shown: ours, lists, then those of others."""
    ours = (*_CLEARED, OLD_VERSIONS)
    if place.place in ours:
        return ours.index(place.place), ""
    return len(ours) + (not place.place.startswith(LIST_PREFIX)), place.place
