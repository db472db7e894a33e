"""From a stored snapshot to the rows that may be sent now: who left meanwhile is dropped, then the gate decides."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import Crm
from campaign_sync.domain.checks import CheckContext, CheckOutcome, check_encoding, merged
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.row_digests import RowDigests, row_digests
from campaign_sync.domain.selection import rejections
from campaign_sync.feedback.freshness import vendor_time
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.errors import ReplacementRefusedError
from campaign_sync.replacement.key_attributes import with_key_attributes
from campaign_sync.replacement.list_kind_probe import known_opt_in_list, probe_list_kind
from campaign_sync.replacement.live_suppression import (
    PEOPLE_COLUMNS,
    OptOutRecorders,
    live_crm_suppression,
    look,
    unsubscribe_lists,
)
from campaign_sync.replacement.mailing_interlock import mailings_before_clear, wait_for_mailings
from campaign_sync.replacement.partial_fill import with_size_doubts
from campaign_sync.replacement.plan import Plan, difference, refill, resume
from campaign_sync.replacement.preflight import admit, check_context, examine, vanished_withdrawals
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.read_back import READ_BACK_ROWS, ListContents, read_back
from campaign_sync.replacement.target import Target
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.locks import ListLock, LockScope
from campaign_sync.storage.replacements import Replacement, StoredSnapshot
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class PreflightResult:
    """What the gate lets pass, and how it is going to be done."""

    target: Target
    """The list, with the names under which it gives out ids and addresses."""
    stored: StoredSnapshot
    rows: pd.DataFrame
    """The snapshot without those who were dropped."""
    digests: RowDigests
    """Theirs, by the target's `read_columns`."""
    plan: Plan
    outcomes: tuple[CheckOutcome, ...]
    dropped: pd.DataFrame
    """The rejections of those who were dropped."""
    around: CheckContext
    """What it was compared with."""
    passed_campaigns: frozenset[int] = frozenset()
    """Smart Campaigns that are being sent and were waited for."""


@dataclass(frozen=True)
class Gate:
    """Admits replaces, or refuses them before anything is changed. It fails closed."""

    vendor: Optimizely
    crm: Crm
    state: State
    frames: FileStorage
    run_id: str
    now: Callable[[], datetime]
    say: Callable[[str], None]

    def admit(
        self, target: Target, lease: ListLock, broken: Replacement | None, replayed: StoredSnapshot | None
    ) -> PreflightResult:
        """Let a replace pass.

        Args:
            target: the list.
            lease: its lease.
            broken: the replace that left the list incomplete, if it is.
            replayed: a snapshot to go back to; the newest one otherwise.

        Raises:
            ReplacementRefusedError: it isn't admitted.
            OptimizelyError, CrmError, StateError, FileStorageError: something can't be reached.
        """
        refused_for_good = known_opt_in_list(target, self.state.recipient_lists)
        if refused_for_good:
            admit(target, [refused_for_good])
        admission = self._examined(target, broken, replayed)
        outcomes = list(admission.outcomes)
        passed_campaigns: frozenset[int] = frozenset()
        if admission.plan.clear:
            wait = wait_for_mailings(target, self.vendor, self.say)
            passed_campaigns = wait.passed
            if wait.took:  # who left meanwhile has to be dropped, and everything has grown older
                admission = self._examined(target, broken, replayed)
                outcomes = list(admission.outcomes)
            outcomes.append(wait.outcome)
            admit(target, outcomes)
        lease.require()
        with self._canary_lease():
            outcomes.append(probe_list_kind(target, self.vendor, self.state.recipient_lists, self.now()))
        admit(target, outcomes)
        return replace(admission, outcomes=tuple(outcomes), passed_campaigns=passed_campaigns)

    def _canary_lease(self) -> AbstractContextManager[object]:
        """The mandator's lists share the canary: one that is unsubscribed again would hide that another revived it."""
        return self.state.locks.acquire(self.vendor.mandator_id, self.run_id, LockScope.MANDATOR)

    def admit_clear(self, target: Target, admission: PreflightResult) -> None:
        """Let the list be cleared at this very moment, as far as mailings are concerned: time has passed.

        Raises:
            ReplacementRefusedError: one has begun since the list was admitted.
        """
        admit(target, [mailings_before_clear(target, self.vendor, admission.passed_campaigns)])

    def _examined(self, target: Target, broken: Replacement | None, replayed: StoredSnapshot | None) -> PreflightResult:
        stored = replayed or self.state.snapshots.latest(target.mandator, target.name)
        if stored is None:
            raise ReplacementRefusedError(f"{target} was not touched. It has no snapshot yet; materialize its snapshot")
        snapshot = self.frames.read_frame(stored.file, stored.digest)
        # A permission goes on to whoever takes up what broke off, for the very rows that it was given for.
        inherited = broken.run_id if broken and broken.snapshot_id == stored.id else None
        with self.crm.snapshot() as crm:
            in_crm = live_crm_suppression(crm, self.state, target, snapshot, self.now())
            around = check_context(
                target, self.vendor, crm, self.state, self.run_id, inherited, suppressed=in_crm.suppressed
            )
        vendor_now = vendor_time(target.feedback_by_files, self.vendor)

        found = look(target, self.vendor, snapshot, rows_of(target, "look once more", len(snapshot)))
        reasons = found.where(found.notna(), in_crm.reasons)
        people, kept = snapshot[PEOPLE_COLUMNS], reasons.isna()
        dropped = rejections(people[~kept], Stage.GATE, reasons[~kept])
        self.state.rejections.record(target.mandator, target.name, dropped, self.run_id)

        rows = snapshot if kept.all() else snapshot[kept].reset_index(drop=True)
        del snapshot  # a list of a million needs the room
        outcomes = [
            *examine(
                target,
                stored,
                rows,
                around,
                self.state.feedback_imports,
                self.now(),
                vendor_now,
                replaying=replayed is not None,
            ),
            vanished_withdrawals(target, len(in_crm.recall.vanished), in_crm.recall.known),
            *unsubscribe_lists(target, self.vendor, found),
        ]
        encoding = self._encoding(target, stored, len(rows))
        outcomes = [merged(outcome, encoding) for outcome in outcomes]
        outcomes = list(with_size_doubts(target, self.vendor, self.state, rows, around, outcomes, self.now()))
        admit(target, outcomes)
        # Only now: should the vendor claim that nearly everybody has left, the size refuses it, and nobody's consent is
        # withdrawn.
        OptOutRecorders(self.crm, self.state, self.frames).hear(target, people, found, vendor_now)
        self._check_ids(target)
        target = with_key_attributes(target, self.vendor, rows)
        digests = row_digests(rows, target.read_columns)
        plan = self._plan(target, stored, rows, digests, broken)
        return PreflightResult(target, stored, rows, digests, plan, tuple(outcomes), dropped, around)

    def _encoding(self, target: Target, stored: StoredSnapshot, rows: int) -> CheckOutcome:
        """What the snapshot was left without for its encoding, so that a list materialized alone can't get round it."""
        turned_away = self.state.rejections.counts(stored.run_id, target.mandator, target.name)
        return check_encoding(turned_away.get((Stage.SNAPSHOT, Reason.NOT_UTF8), 0), rows)

    def _check_ids(self, target: Target) -> None:
        if not target.id_attribute:
            return
        page = self.vendor.recipients.page(target.recipient_list_id, [target.id_attribute], None, 0, 1)
        if page and not page[0][0]:
            raise ReplacementRefusedError(
                f"{target} was not touched. The vendor gives out no recipient ids under the name "
                f"{target.id_attribute}; correct mandators.{target.mandator}.lists.{target.name}.id_attribute"
            )

    def _plan(
        self,
        target: Target,
        stored: StoredSnapshot,
        rows: pd.DataFrame,
        digests: RowDigests,
        broken: Replacement | None,
    ) -> Plan:
        if target.strategy == "differential":
            return difference(target, rows, digests, self._held(target, digests))
        return (self._resumed(target, stored, digests, broken) if broken else None) or refill(rows)

    def _resumed(self, target: Target, stored: StoredSnapshot, digests: RowDigests, broken: Replacement) -> Plan | None:
        """Attributes don't tell an address, so without ids only a list that was filled from nothing by these rows."""
        same_rows = broken.snapshot_id == stored.id and self.state.replacements.cleared_for(broken)
        return resume(digests, self._held(target, digests)) if target.id_attribute or same_rows else None

    def _held(self, target: Target, expected: RowDigests) -> ListContents:
        """The list as it is; in one piece where pages don't add up."""
        count = self.vendor.recipients.count(target.recipient_list_id)
        for page_rows in (READ_BACK_ROWS, count + 1):
            on_page = rows_of(target, "read the list", count)
            held = read_back(target, self.vendor, count, expected, on_page, page_rows)
            if len(held) == count:
                break
        return held
