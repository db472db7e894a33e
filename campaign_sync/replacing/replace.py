"""The full replace of one recipient list: gate, clear, fill, sweep, proof; every step written down."""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign_sync.crm.port import Crm
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.rejection import ACCEPTED, VENDOR_REASONS, Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.faults import OptimizelyError, SessionExpiredError, TransientError, UnknownFaultError
from campaign_sync.replacing.filling import PreparedBatch, fill, prepare, read_back, sweep
from campaign_sync.replacing.gate import RefusedReplaceError, admit, examine, surroundings
from campaign_sync.replacing.progress import Progress, report
from campaign_sync.replacing.proof import Proof, prove
from campaign_sync.replacing.target import Target
from campaign_sync.state.frames import Frames
from campaign_sync.state.journal import Replace, ReplaceState
from campaign_sync.state.store import State

_MAY_PASS = (TransientError, SessionExpiredError, UnknownFaultError)
"""Errors after which the whole replace is worth beginning again."""


class IncompleteListError(Exception):
    """The replace broke off after `clear`: the list isn't what it should be. The message says since when, and why.

    `worth_retrying` tells whether the same replace, begun again, may well succeed.
    """

    def __init__(self, message: str, *, worth_retrying: bool) -> None:
        super().__init__(message)
        self.worth_retrying = worth_retrying


@dataclass(frozen=True)
class Outcome:
    """What a proven replace did."""

    replace_id: str
    gate: list[CheckOutcome]
    sent: int
    codes: dict[int, int]
    """How often the vendor answered what."""
    swept: dict[str, int]
    proof: Proof
    batches: int
    incomplete_for: timedelta
    """From `clear` to the end of the fill: how long the list didn't hold everybody."""


@dataclass(frozen=True)
class Replacer:
    """Replaces recipient lists, with everything that takes."""

    vendor: Optimizely
    crm: Crm
    state: State
    frames: Frames
    run_id: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def replace(self, target: Target) -> Outcome:
        """Replace the list by its newest snapshot and prove it.

        Raises:
            RefusedReplaceError: the gate doesn't admit it. Nothing was changed.
            IncompleteListError: it broke off after `clear`.
            OptimizelyError, CrmError, StateError, FrameError: something can't be reached. Nothing was changed.
        """
        stored = self.state.snapshots.latest(target.mandator, target.name)
        if stored is None:
            raise RefusedReplaceError(f"{target} was not touched. It has no snapshot yet; materialize its snapshot")
        rows = self.frames.read_frame(stored.file, stored.digest)
        with self.crm.snapshot() as crm:
            around = surroundings(target, self.vendor, crm, self.state)
        vendor_now = self.vendor.closed_loop.current_time()
        gate = examine(target, stored, rows, around, self.state.feedback, self.now(), vendor_now)
        admit(target, gate)
        batches = prepare(target, self.vendor, rows)
        baseline = around.baseline.rows if around.baseline else None
        entry = self.state.journal.start(stored, target.recipient_list_id, baseline, self.run_id, self.now())
        try:
            return self._carry_out(target, entry, rows, batches, gate)
        except BaseException as error:
            self._note_failure(entry, error)
            if isinstance(error, IncompleteListError) or not isinstance(error, Exception):
                raise
            raise self._incomplete(target, _told(error), isinstance(error, _MAY_PASS)) from None

    def _carry_out(
        self, target: Target, entry: Replace, rows: pd.DataFrame, batches: list[PreparedBatch], gate: list[CheckOutcome]
    ) -> Outcome:
        cleared_at = self.now()
        self.state.journal.note(entry.id, state=ReplaceState.CLEARING, cleared_at=cleared_at)
        self.vendor.recipients.clear(target.recipient_list_id)

        self.state.journal.note(entry.id, state=ReplaceState.FILLING)
        codes = fill(target, self.vendor, rows, batches, _progress(target, "fill", len(rows)))
        incomplete_for = self.now() - cleared_at
        accepted = rows[codes == ACCEPTED]
        self._record_refused(target, rows, codes)
        counts = dict(sorted(Counter(codes.tolist()).items()))

        self.state.journal.note(entry.id, state=ReplaceState.PROVING, sent=len(rows), accepted=len(accepted))
        swept = sweep(target, self.vendor)
        proof = self._prove(target, accepted, swept)
        note = {"swept": sum(swept.values()), "in_list": proof.in_list, "proof": str(proof)}
        self.state.journal.note(entry.id, **note)
        self._require(target, proof)
        self.state.journal.note(entry.id, state=ReplaceState.PROVEN, finished_at=self.now())
        report(Progress(target.mandator, target.name, "proven", proof.in_list, proof.in_list))
        return Outcome(entry.id, gate, len(rows), counts, swept, proof, len(batches), incomplete_for)

    def _prove(self, target: Target, accepted: pd.DataFrame, swept: dict[str, int]) -> Proof:
        """Read the list back and compare. Where exactly as many are missing as were swept, those are the swept.

        Pages might overlap where many share an entity id, and nobody documents whether the vendor counts them in rows
        or pages; so a difference counts only when the list, read in one piece, shows it too.
        """
        count, swept_rows = self.vendor.recipients.count(target.recipient_list_id), sum(swept.values())
        held = read_back(target, self.vendor, count, _progress(target, "prove", count))
        proof = prove(accepted, held, target.contract)
        if proof.missing != swept_rows or proof.extra or proof.changed:
            held = read_back(target, self.vendor, count, _progress(target, "prove", count), page_rows=count + 1)
            proof = prove(accepted, held, target.contract)
        if not proof.missing or proof.missing != swept_rows:
            return proof
        missing = (accepted["entity_type"] + ":" + accepted["entity_id"]).isin(proof.missing_keys)
        self._record(target, rejections(accepted[missing], Stage.SWEEP, Reason.SWEPT))
        return prove(accepted[~missing], held, target.contract)

    def _require(self, target: Target, proof: Proof) -> None:
        if not proof.holds:
            why = f"read back, it has {proof.in_list} recipients where {proof.expected} should be ({proof})"
            raise self._incomplete(target, why, worth_retrying=True)

    def _record_refused(self, target: Target, rows: pd.DataFrame, codes: npt.NDArray[np.int_]) -> None:
        refused = rows[codes != ACCEPTED]
        answers = pd.Series(codes[codes != ACCEPTED], index=refused.index, dtype="Int64")
        reasons = answers.map(lambda code: VENDOR_REASONS.get(code, Reason.VENDOR_ERROR).value).astype("str")
        entries = rejections(refused, Stage.VENDOR, reasons)
        self._record(target, entries.assign(vendor_code=answers.array))

    def _record(self, target: Target, entries: pd.DataFrame) -> None:
        self.state.ledger.record(target.mandator, target.name, entries, self.run_id)

    def _note_failure(self, entry: Replace, error: BaseException) -> None:
        self.state.journal.note(entry.id, state=ReplaceState.FAILED, finished_at=self.now(), error=_told(error))

    def _incomplete(self, target: Target, why: str, worth_retrying: bool) -> IncompleteListError:
        broken = self.state.journal.incomplete(target.mandator, target.name)
        since = f"{broken.cleared_at:%Y-%m-%d %H:%M:%S} UTC" if broken and broken.cleared_at else "now"
        return IncompleteListError(
            f"{target} is INCOMPLETE since {since}: {why}. Send nothing to it; materialize recipient_list again",
            worth_retrying=worth_retrying,
        )


def _told(error: BaseException) -> str:
    """What may be said of an error: foreign messages can hold people's data, so of those only kind and place."""
    if isinstance(error, (OptimizelyError, IncompleteListError)):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def _progress(target: Target, step: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        report(Progress(target.mandator, target.name, step, done, total))

    advance(0)
    return advance
