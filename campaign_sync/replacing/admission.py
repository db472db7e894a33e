"""From a stored snapshot to the rows that may be sent now: who left meanwhile is dropped, then the gate decides."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import Crm
from campaign_sync.domain.checks import CheckOutcome, entity_counts
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacing.canary import known_opt_in_list, try_canary
from campaign_sync.replacing.errors import RefusedReplaceError
from campaign_sync.replacing.filling import read_back
from campaign_sync.replacing.gate import admit, examine, surroundings
from campaign_sync.replacing.looking import look, tell_the_crm
from campaign_sync.replacing.mailings import wait_for_mailings
from campaign_sync.replacing.plan import Plan, difference, refill, resume
from campaign_sync.replacing.progress import rows_of
from campaign_sync.replacing.target import Target
from campaign_sync.state.frames import Frames
from campaign_sync.state.journal import Replace, StoredSnapshot
from campaign_sync.state.store import State


@dataclass(frozen=True)
class Admission:
    """What the gate lets pass, and how it is going to be done."""

    stored: StoredSnapshot
    rows: pd.DataFrame
    """The snapshot without those who were dropped."""
    plan: Plan
    outcomes: tuple[CheckOutcome, ...]
    dropped: pd.DataFrame
    """The rejections of those who were dropped."""
    baseline_rows: int | None
    entity_types: dict[str, int]


@dataclass(frozen=True)
class Gate:
    """Admits replaces, or refuses them before anything is changed. It fails closed."""

    vendor: Optimizely
    crm: Crm
    state: State
    frames: Frames
    run_id: str
    now: Callable[[], datetime]
    say: Callable[[str], None]

    def admit(self, target: Target, broken: Replace | None, replayed: StoredSnapshot | None) -> Admission:
        """Let a replace pass.

        Args:
            target: the list.
            broken: the replace that left the list incomplete, if it is.
            replayed: a snapshot to go back to; the newest one otherwise.

        Raises:
            RefusedReplaceError: it isn't admitted.
            OptimizelyError, CrmError, StateError, FrameError: something can't be reached.
        """
        refused_for_good = known_opt_in_list(target, self.state.lists)
        if refused_for_good:
            admit(target, [refused_for_good])
        admission = self._examined(target, broken, replayed)
        outcomes = list(admission.outcomes)
        if admission.plan.clear:
            mailings, waited = wait_for_mailings(target, self.vendor, self.say)
            if waited:  # who left meanwhile has to be dropped, and everything has grown older
                admission = self._examined(target, broken, replayed)
                outcomes = list(admission.outcomes)
            outcomes.append(mailings)
            admit(target, outcomes)
        outcomes.append(try_canary(target, self.vendor, self.state.lists, self.now()))
        admit(target, outcomes)
        return Admission(**{**vars(admission), "outcomes": tuple(outcomes)})

    def admit_mailings(self, target: Target) -> None:
        """Let the list be cleared at this moment, as far as mailings are concerned.

        Raises:
            RefusedReplaceError: one stands in the way for too long.
        """
        mailings, _ = wait_for_mailings(target, self.vendor, self.say)
        admit(target, [mailings])

    def _examined(self, target: Target, broken: Replace | None, replayed: StoredSnapshot | None) -> Admission:
        stored = replayed or self.state.snapshots.latest(target.mandator, target.name)
        if stored is None:
            raise RefusedReplaceError(f"{target} was not touched. It has no snapshot yet; materialize its snapshot")
        snapshot = self.frames.read_frame(stored.file, stored.digest)
        with self.crm.snapshot() as crm:
            permitted = (self.run_id, broken.run_id if broken else None)
            around = surroundings(target, self.vendor, crm, self.state, *permitted)
        vendor_now = self.vendor.closed_loop.current_time()

        suppressed = around.suppressed.reasons(snapshot, snapshot[ADDRESS])
        suppressed[suppressed.notna()] = Reason.SUPPRESSED_MEANWHILE.value
        found = look(target, self.vendor, snapshot, rows_of(target, "look once more", len(snapshot)))
        tell_the_crm(target, self.crm, snapshot, found, vendor_now)
        reasons = found.where(found.notna(), suppressed)
        dropped = rejections(snapshot[reasons.notna()], Stage.GATE, reasons[reasons.notna()])
        self.state.ledger.record(target.mandator, target.name, dropped, self.run_id)

        rows = snapshot[reasons.isna()].reset_index(drop=True)
        outcomes = examine(
            target, stored, rows, around, self.state.feedback, self.now(), vendor_now, replaying=replayed is not None
        )
        admit(target, outcomes)
        baseline = around.baselines[0].rows if around.baselines else None
        plan = self._plan(target, rows, broken)
        return Admission(stored, rows, plan, tuple(outcomes), dropped, baseline, entity_counts(rows))

    def _plan(self, target: Target, rows: pd.DataFrame, broken: Replace | None) -> Plan:
        if target.strategy == "differential":
            return difference(target, rows, self._held(target))
        return (resume(target, rows, self._held(target)) if broken else None) or refill(rows)

    def _held(self, target: Target) -> pd.DataFrame:
        count = self.vendor.recipients.count(target.recipient_list_id)
        return read_back(target, self.vendor, count, rows_of(target, "read the list", count))
