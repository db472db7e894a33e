"""The full replace of one recipient list: gate, clear, fill, sweep, proof; every step written down."""

import json
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pandas as pd

from campaign_sync.crm.port import Crm, CrmError
from campaign_sync.domain.checks import CheckContext, CheckOutcome, entity_counts
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.rejection import ACCEPTED, VENDOR_REASONS, Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.domain.size_limits import leap_violations, limit_violations
from campaign_sync.domain.suppression import Suppressed, SuppressionKind
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.current_suppression import suppression
from campaign_sync.feedback.freshness import vendor_time
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.replacement.admission import Gate, PreflightResult
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError, UnprovenError
from campaign_sync.replacement.list_writer import Codes, ListWriter, prepare
from campaign_sync.replacement.live_suppression import OptOutRecorders, suppressed_meanwhile
from campaign_sync.replacement.progress import Progress, report, rows_of
from campaign_sync.replacement.proof import Proof
from campaign_sync.replacement.target import Target
from campaign_sync.replacement.verification import sweep_and_verify
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.feedback_imports import ADD_ALL_SOURCE
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.locks import ListLock, ListLockedError, ListLockLostError
from campaign_sync.storage.replacement_steps import Step
from campaign_sync.storage.replacements import Replacement, ReplacementState, StoredSnapshot
from campaign_sync.storage.state import State
from campaign_sync.telemetry.instruments import instruments
from campaign_sync.telemetry.metrics import ROWS_DROPPED, ROWS_SWEPT

_TELLING = (
    OptimizelyError,
    CrmError,
    StateError,
    FileStorageError,
    ListLockLostError,
    ReplacementRefusedError,
    UnprovenError,
)
"""Errors whose messages hold nobody's data."""


@dataclass(frozen=True)
class Outcome:
    """What a proven replace did."""

    replace_id: str
    gate: tuple[CheckOutcome, ...]
    dropped: dict[str, int]
    """How many were taken out at the last moment, by why."""
    sent: int
    codes: dict[int, int]
    """How often the vendor answered what."""
    swept: dict[str, int]
    proof: Proof
    steps: list[Step]
    resumed: bool
    incomplete_for: timedelta
    """From the first change to the end of the fill: how long the list held neither the old rows nor the new ones."""


@dataclass(frozen=True)
class ListReplacer:
    """Replaces recipient lists, with everything that takes."""

    vendor: Optimizely
    crm: Crm
    state: State
    frames: FileStorage
    run_id: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    say: Callable[[str], None] = lambda _: None
    """Told what the replace waits for."""

    def replace(self, target: Target, replayed: StoredSnapshot | None = None) -> Outcome:
        """Replace the list by its newest snapshot, or by an earlier one, and prove it.

        A list that an earlier replace left half full is filled up where it still agrees with the snapshot, and else
        cleared again.

        Raises:
            ReplacementRefusedError: the gate doesn't admit it. Nothing was changed.
            IncompleteListError: the list isn't what it should be, since this replace or an earlier one broke off.
            OptimizelyError, CrmError, StateError, FileStorageError: something can't be reached. Nothing was changed.
        """
        try:
            with self.state.locks.acquire(target.recipient_list_id, self.run_id) as lease:
                return self._replace(target, lease, replayed)
        except ListLockedError as error:
            raise ReplacementRefusedError(f"{target} was not touched. {error}", retryable=True) from None

    def _replace(self, target: Target, lease: ListLock, replayed: StoredSnapshot | None) -> Outcome:
        broken = self.state.replacements.incomplete(target.mandator, target.name)
        incomplete_since = broken.cleared_at if broken else None
        gate = Gate(self.vendor, self.crm, self.state, self.frames, self.run_id, self.now, self.say)
        try:
            admission = gate.admit(target, lease, broken, replayed)
        except _TELLING as error:
            if broken is None:
                raise
            raise still_incomplete(target, broken, error) from None
        target = admission.target
        entry = self._entry(target, admission, broken, replayed)
        steps = self.state.replacements.start(entry)
        try:
            batches = prepare(target, self.vendor, admission.rows, admission.plan.send)
            if admission.plan.clear:
                gate.admit_clear(target, admission)
            lease.require()
            begun = self.now()
            self.state.replacements.begin_changes(
                entry.id, clears=admission.plan.clear, incomplete_since=incomplete_since or begun
            )
            incomplete_since = incomplete_since or begun
            filler = ListWriter(target, self.vendor, steps, lease)
            on_rows = rows_of(target, "fill", len(admission.rows))
            codes = filler.carry_out(admission.plan, admission.rows, batches, on_rows, resuming=broken is not None)
            return self._finish(entry, admission, filler, codes, self.now() - begun)
        except BaseException as error:
            self._note_failure(entry, error)
            if not isinstance(error, Exception):
                raise
            if incomplete_since is None:
                if isinstance(error, ReplacementRefusedError):
                    raise
                why = f"{target} was not touched. {_told(error)}"
                raise ReplacementRefusedError(why, admission.outcomes, retryable=_may_pass(error)) from None
            raise _incomplete(
                target, incomplete_since, _told(error), _may_pass(error), admission.outcomes, replayed
            ) from None

    def _entry(
        self, target: Target, admission: PreflightResult, broken: Replacement | None, replayed: StoredSnapshot | None
    ) -> Replacement:
        baselines = admission.around.baselines
        return Replacement(
            mandator=target.mandator,
            list=target.name,
            recipient_list_id=target.recipient_list_id,
            run_id=self.run_id,
            snapshot_id=admission.stored.id,
            state=ReplacementState.ADMITTED,
            started_at=self.state.replacements.next_start(target.mandator, target.name, self.now()),
            id=str(uuid4()),
            baseline_rows=baselines[0].rows if baselines else None,
            strategy=target.strategy,
            resumes=broken.id if broken and not admission.plan.clear else None,
            replayed=replayed is not None,
            dropped=len(admission.dropped),
            entity_types=json.dumps(entity_counts(admission.rows)),
        )

    def _finish(
        self,
        entry: Replacement,
        admission: PreflightResult,
        filler: ListWriter,
        codes: Codes,
        incomplete_for: timedelta,
    ) -> Outcome:
        target, rows, replacements = filler.target, admission.rows, self.state.replacements
        accepted = codes == ACCEPTED
        self._record_refused(target, rows, codes)
        replacements.begin_proof(entry.id, sent=len(rows), accepted=int(accepted.sum()))
        filler.require_known_codes(rows, codes)
        proven = sweep_and_verify(
            filler, rows, admission.digests, accepted, lambda sent: self._left_in_crm(target, sent)
        )
        proof = proven.proof
        self._record(target, proven.taken_out)
        replacements.record_proof(
            entry.id,
            swept=len(proven.taken_out),
            in_list=proof.in_list,
            proof=str(proof),
            id_attribute=proof.id_attribute,
            address_attribute=proof.address_attribute,
        )
        if not proof.holds:
            held, expected = proof.in_list, proof.expected
            raise UnprovenError(f"read back, it has {held} recipients where {expected} should be ({proof})")
        require_enough_left(target, admission.around, proven.entity_types)
        seen_at = vendor_time(target.feedback_by_files, self.vendor)
        OptOutRecorders(self.crm, self.state, self.frames).hear(target, proven.sent, proven.looked, seen_at)
        replacements.mark_proven(entry.id, self.now())
        self.state.recipient_lists.clear_partial_fill(target.mandator, target.name)
        report(Progress(target.mandator, target.name, "proven", proof.in_list, proof.in_list))
        dropped, swept = _by_reason(admission.dropped), _by_reason(proven.taken_out)
        for metric, by_reason in ((ROWS_DROPPED, dropped), (ROWS_SWEPT, swept)):
            for reason, taken_out in by_reason.items():
                instruments().count(metric, taken_out, mandator=target.mandator, list=target.name, reason=reason)
        return Outcome(
            replace_id=entry.id,
            gate=admission.outcomes,
            dropped=dropped,
            sent=len(rows),
            codes=dict(sorted(Counter(codes.tolist()).items())),
            swept=swept,
            proof=proof,
            steps=filler.steps.all(),
            resumed=entry.resumes is not None,
            incomplete_for=incomplete_for,
        )

    def _left_in_crm(self, target: Target, sent: pd.DataFrame) -> "pd.Series[str]":
        """Why the CRM, as it is by now, lets nobody write to some of those who were sent; else missing.

        Only withdrawals and bounces count: should the CRM be loaded anew at this moment, nobody in it would consent.
        """
        with self.crm.snapshot() as crm:
            known = suppression(crm, self.state, target.mandator)
        known = known[known["kind"] != SuppressionKind.UNCLEAR]  # an unknown word in the CRM must not empty a list
        return suppressed_meanwhile(Suppressed.of(known, target.contract.opt_in_id), sent)

    def _record_refused(self, target: Target, rows: pd.DataFrame, codes: Codes) -> None:
        refused = rows[codes != ACCEPTED]
        answers = pd.Series(codes[codes != ACCEPTED], index=refused.index, dtype="Int64")
        reasons = answers.map(lambda code: VENDOR_REASONS.get(code, Reason.VENDOR_ERROR).value).astype("str")
        if target.opt_outs_await_rows:  # as of a look: the answer doesn't say which opt-in they left
            reasons[reasons == Reason.UNSUBSCRIBED.value] = Reason.ON_UNSUBSCRIBE_LIST.value
        blocked = refused.loc[reasons == Reason.BLOCKLISTED.value, ADDRESS]
        self.state.blocked_addresses.record(target.mandator, blocked.tolist(), ADD_ALL_SOURCE, self.now())
        entries = rejections(refused, Stage.VENDOR, reasons)
        self._record(target, entries.assign(vendor_code=answers.array))

    def _record(self, target: Target, entries: pd.DataFrame) -> None:
        self.state.rejections.record(target.mandator, target.name, entries, self.run_id)

    def _note_failure(self, entry: Replacement, error: BaseException) -> None:
        with suppress(StateError):  # if that is what failed, what stands in the journal says enough
            self.state.replacements.mark_failed(entry.id, self.now(), _told(error))


def still_incomplete(target: Target, broken: Replacement, error: Exception) -> IncompleteListError:
    """What to raise where something keeps a list from being mended that an earlier replace left incomplete."""
    outcomes = error.outcomes if isinstance(error, ReplacementRefusedError) else ()
    since = broken.cleared_at or broken.started_at
    return _incomplete(target, since, f"it can't be mended now: {_told(error)}", _may_pass(error), outcomes)


def require_enough_left(target: Target, around: CheckContext, entity_types: Mapping[str, int]) -> None:
    """A vendor that refuses nearly everybody leaves a list that equals what it took, and is next to empty.

    Raises:
        UnprovenError: what is in the list breaks its limits.
    """
    left = sum(entity_types.values())
    beyond = limit_violations(left, target.contract.limits)
    if around.held_before and not around.size_accepted:
        beyond += leap_violations({"": left}, target.contract.limits, [around.held_before])
    if beyond:
        raise UnprovenError(
            f"of all who were sent only {left} are in it, the vendor turned the others away ({beyond[0]})"
        )


def _incomplete(
    target: Target,
    since: datetime,
    why: str,
    retryable: bool,
    outcomes: tuple[CheckOutcome, ...],
    replayed: StoredSnapshot | None = None,
) -> IncompleteListError:
    again = f"campaign-sync run {target.mandator} --list {target.name}"
    if replayed:
        again = f"campaign-sync replay {target.mandator} {target.name} --snapshot {replayed.id}"
    return IncompleteListError(
        f"{target} is INCOMPLETE since {since:%Y-%m-%d %H:%M:%S} UTC: {why.rstrip('.')}. Send nothing to it, and "
        f"replace it again: `{again}`{'' if replayed else ', or materialize recipient_list'}",
        retryable=retryable,
        outcomes=outcomes,
    )


def _may_pass(error: BaseException) -> bool:
    """Whether the same replace, begun again, may well succeed."""
    return isinstance(error, CampaignSyncError) and error.retryable


def _by_reason(entries: pd.DataFrame) -> dict[str, int]:
    return {str(reason): int(count) for reason, count in entries["reason"].value_counts().sort_index().items()}


def _told(error: BaseException) -> str:
    """What may be said of an error: foreign messages can hold people's data, so of those only kind and place."""
    if isinstance(error, _TELLING):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
