"""The full replacement of one recipient list: preflight, clear, fill, sweep, proof; every step recorded."""

import json
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pandas as pd

from campaign_sync.crm.port import Crm
from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.domain.checks import CheckContext, CheckOutcome, entity_counts
from campaign_sync.domain.erasure import Erased
from campaign_sync.domain.message import Message
from campaign_sync.domain.progress import Progress, report
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.rejection import ACCEPTED, VENDOR_REASONS, Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.domain.size_limits import ApprovedSize, SizeBaseline, change_violations, limit_violations
from campaign_sync.domain.suppression import Suppressed, SuppressionKind
from campaign_sync.domain.vendor_sources import ADD_ALL_SOURCE
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.freshness import vendor_time
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.applied_plan import AppliedPlan
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError, UnprovenError, not_touched
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.list_writer import Codes, ListWriter, prepare
from campaign_sync.replacement.live_suppression import OptOutRecorder, suppressed_meanwhile
from campaign_sync.replacement.preflight import Preflight, PreflightResult
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.proof import Proof
from campaign_sync.replacement.verification import people_columns, sweep_and_verify
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.locks import ListLock, ListLockedError
from campaign_sync.storage.replacement_steps import Step
from campaign_sync.storage.replacements import Replacement, ReplacementState, StoredSnapshot
from campaign_sync.storage.state import State
from campaign_sync.telemetry.instruments import instruments
from campaign_sync.telemetry.metrics import ROWS_DROPPED, ROWS_SWEPT


@dataclass(frozen=True)
class ReplacementOutcome:
    """What a proven replacement did."""

    replace_id: str
    snapshot: StoredSnapshot
    preflight: tuple[CheckOutcome, ...]
    dropped: dict[str, int]
    """How many were taken out at the last moment, by reason."""
    sent: int
    codes: dict[int, int]
    """How many rows the vendor answered with each code."""
    swept: dict[str, int]
    proof: Proof
    steps: list[Step]
    resumed: bool
    incomplete_for: timedelta
    """From the first change to the end of the fill: how long the list held neither the old rows nor the new ones."""


@dataclass(frozen=True)
class ListReplacer:
    """Replaces recipient lists of one mandator."""

    vendor: Optimizely
    crm: Crm
    state: State
    frames: FileStorage
    run_id: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    on_wait: Callable[[str], None] = lambda _: None
    """Called with what the replacement waits for."""

    def replace(
        self, settings: ListSettings, replayed: StoredSnapshot | None = None, applied: AppliedPlan | None = None
    ) -> ReplacementOutcome:
        """Replace the list by its newest snapshot, by an earlier one, or by that of a plan, and prove it.

        A list that an earlier replacement left half full is filled up where it still agrees with the snapshot, and else
        cleared again.

        Raises:
            ReplacementRefusedError: a check stops it. Nothing was changed.
            IncompleteListError: the list isn't what it should be, since this replacement or an earlier one failed.
            OptimizelyError, CrmError, StateError, FileStorageError: something can't be reached. Nothing was changed.
        """
        try:
            with self.state.locks.acquire(settings.recipient_list_id, self.run_id) as lock:
                return self._replace(settings, lock, replayed, applied)
        except ListLockedError as error:
            message = not_touched(settings.reference, error.message)
            raise ReplacementRefusedError(message, retryable=True) from None

    def _replace(
        self,
        settings: ListSettings,
        lock: ListLock,
        replayed: StoredSnapshot | None,
        applied: AppliedPlan | None,
    ) -> ReplacementOutcome:
        unfinished = self.state.replacements.incomplete(settings.mandator, settings.name, settings.recipient_list_id)
        incomplete_since = unfinished.cleared_at if unfinished else None
        checks = Preflight(self.vendor, self.crm, self.state, self.frames, self.run_id, self.now, self.on_wait)
        try:
            preflight = checks.run(settings, lock, unfinished, replayed, applied)
        except CampaignSyncError as error:
            if unfinished is None:
                raise
            raise still_incomplete(settings, unfinished, error, applied if _is_retryable(error) else None) from None
        entry = self._entry(settings, preflight, unfinished, replayed)
        steps = self.state.replacements.start(entry)
        try:
            if applied:
                self._record_planned(settings, applied)
            batches = prepare(settings, self.vendor, preflight.rows, preflight.plan.send)
            if preflight.plan.clear:
                checks.recheck_mailings(settings, preflight)
            lock.require()
            begun = self.now()
            self.state.replacements.begin_changes(
                entry.id, clears=preflight.plan.clear, incomplete_since=incomplete_since or begun
            )
            incomplete_since = incomplete_since or begun
            writer = ListWriter(settings, self.vendor, steps, lock)
            on_rows = rows_of(settings, "fill", len(preflight.rows))
            codes = writer.carry_out(preflight.plan, preflight.rows, batches, on_rows, resuming=unfinished is not None)
            del batches  # room to read the list back
            whole_rows = [preflight.rows]
            preflight = replace(preflight, rows=preflight.rows[people_columns(settings)])
            return self._finish(entry, preflight, whole_rows, writer, codes, self.now() - begun)
        except BaseException as error:
            self._record_failure(entry, error)
            if not isinstance(error, Exception):
                raise
            if incomplete_since is None:
                if isinstance(error, ReplacementRefusedError):
                    raise
                why = not_touched(settings.reference, _describe(error))
                raise ReplacementRefusedError(why, preflight.outcomes, retryable=_is_retryable(error)) from None
            raise _incomplete(
                settings,
                incomplete_since,
                _describe(error),
                _is_retryable(error),
                preflight.outcomes,
                replayed or applied,
            ) from None

    def _entry(
        self,
        settings: ListSettings,
        preflight: PreflightResult,
        unfinished: Replacement | None,
        replayed: StoredSnapshot | None,
    ) -> Replacement:
        baselines = preflight.context.baselines
        return Replacement(
            mandator=settings.mandator,
            list=settings.name,
            recipient_list_id=settings.recipient_list_id,
            run_id=self.run_id,
            snapshot_id=preflight.stored.id,
            state=ReplacementState.ADMITTED,
            started_at=self.state.replacements.next_start(settings.mandator, settings.name, self.now()),
            id=str(uuid4()),
            baseline_rows=baselines[0].rows if baselines else None,
            strategy=settings.recipient_list.strategy,
            resumes=unfinished.id if unfinished and not preflight.plan.clear else None,
            replayed=replayed is not None,
            dropped=len(preflight.dropped),
            entity_types=json.dumps(entity_counts(preflight.rows)),
            approved_plan_id=preflight.approved_plan_id,
        )

    def _finish(
        self,
        entry: Replacement,
        preflight: PreflightResult,
        whole_rows: list[pd.DataFrame],
        writer: ListWriter,
        codes: Codes,
        incomplete_for: timedelta,
    ) -> ReplacementOutcome:
        """Record what the vendor answered, and prove the list.

        `preflight` has only what the proof needs of each row. The only element of `whole_rows` has all columns, and is
        taken out.
        """
        settings, rows, replacements = writer.settings, preflight.rows, self.state.replacements
        accepted = codes == ACCEPTED
        self._record_refused(settings, rows, codes)
        replacements.begin_proof(entry.id, sent=len(rows), accepted=int(accepted.sum()))
        writer.require_known_codes(rows, codes)
        verification = sweep_and_verify(
            writer,
            preflight.columns,
            rows,
            whole_rows,
            preflight.digests,
            accepted,
            lambda sent: self._suppressed_in_crm(settings, sent, preflight.context.suppressed.erased),
        )
        proof = verification.proof
        self._record(settings, verification.taken_out)
        replacements.record_proof(
            entry.id,
            swept=len(verification.taken_out),
            in_list=proof.in_list,
            proof=str(proof),
            id_attribute=proof.id_attribute,
            address_attribute=proof.address_attribute,
        )
        if not proof.holds:
            held, expected = proof.in_list, proof.expected
            raise UnprovenError(
                Message(
                    "read back, it has {held} recipients where {expected} should be ({proof})",
                    held=held,
                    expected=expected,
                    proof=proof.summary,
                )
            )
        require_enough_left(settings, preflight.context, verification.entity_types, entity_counts(rows))
        seen_at = vendor_time(settings.feedback_by_files, self.vendor)
        recorder = OptOutRecorder(self.crm, self.state, self.frames, self.run_id)
        recorder.record_live_opt_outs(settings, verification.sent, verification.vendor_reasons, seen_at)
        replacements.mark_proven(entry.id, self.now())
        self.state.recipient_lists.clear_partial_fill(settings.mandator, settings.name)
        report(Progress(settings.mandator, settings.name, "proven", proof.in_list, proof.in_list))
        dropped, swept = _by_reason(preflight.dropped), _by_reason(verification.taken_out)
        for metric, by_reason in ((ROWS_DROPPED, dropped), (ROWS_SWEPT, swept)):
            for reason, taken_out in by_reason.items():
                instruments().count(metric, taken_out, mandator=settings.mandator, list=settings.name, reason=reason)
        return ReplacementOutcome(
            replace_id=entry.id,
            snapshot=preflight.stored,
            preflight=preflight.outcomes,
            dropped=dropped,
            sent=len(rows),
            codes=dict(sorted(Counter(codes.tolist()).items())),
            swept=swept,
            proof=proof,
            steps=writer.steps.all(),
            resumed=entry.resumes is not None,
            incomplete_for=incomplete_for,
        )

    def _suppressed_in_crm(self, settings: ListSettings, sent: pd.DataFrame, erased: Erased) -> "pd.Series[str]":
        """Return why the CRM, as it is by now, forbids to write to each of those who were sent; else missing.

        Only withdrawals and bounces count: while the CRM is loaded anew, it shows no consents at all.

        Args:
            settings: the list.
            sent: their rows.
            erased: everybody who was erased, as known before the list was changed: to ask again could fail by now.
        """
        with self.crm.snapshot([settings.schema.opt_in_id]) as crm:
            known = current_suppression(crm, self.state, settings.mandator)
        known = known[known["kind"] != SuppressionKind.UNCLEAR]  # an unknown word in the CRM must not empty a list
        return suppressed_meanwhile(Suppressed.of(known, settings.schema.opt_in_id, erased), sent)

    def _record_refused(self, settings: ListSettings, rows: pd.DataFrame, codes: Codes) -> None:
        refused = rows[codes != ACCEPTED]
        answers = pd.Series(codes[codes != ACCEPTED], index=refused.index, dtype="Int64")
        reasons = answers.map(lambda code: VENDOR_REASONS.get(code, Reason.VENDOR_ERROR).value).astype("str")
        if settings.opt_outs_await_rows:  # the answer doesn't say which opt-in they left
            reasons[reasons == Reason.UNSUBSCRIBED.value] = Reason.ON_UNSUBSCRIBE_LIST.value
        blocked = refused.loc[reasons == Reason.BLOCKLISTED.value, ADDRESS]
        self.state.blocked_addresses.record(settings.mandator, blocked.tolist(), ADD_ALL_SOURCE, self.now())
        entries = rejections(refused, Stage.VENDOR, reasons)
        self._record(settings, entries.assign(vendor_code=answers.array))

    def _record_planned(self, settings: ListSettings, applied: AppliedPlan) -> None:
        """Record who was rejected when the plan was made: now it is the list's selection."""
        plan = applied.plan
        entries = self.frames.read_frame(plan.rejections_file, plan.rejections_digest)
        self.state.rejections.record(settings.mandator, settings.name, entries, applied.snapshot.run_id)

    def _record(self, settings: ListSettings, entries: pd.DataFrame) -> None:
        self.state.rejections.record(settings.mandator, settings.name, entries, self.run_id)

    def _record_failure(self, entry: Replacement, error: BaseException) -> None:
        with suppress(StateError):  # if that is what failed, what is recorded already says enough
            self.state.replacements.mark_failed(entry.id, self.now(), str(_describe(error)))


def still_incomplete(
    settings: ListSettings, unfinished: Replacement, error: Exception, applied: AppliedPlan | None = None
) -> IncompleteListError:
    """Return what to raise where an error keeps an incomplete list from being replaced; `applied` may pass later."""
    outcomes = error.outcomes if isinstance(error, ReplacementRefusedError) else ()
    since = unfinished.cleared_at or unfinished.started_at
    why = Message("it can't be replaced now: {reason}", reason=_describe(error))
    return _incomplete(settings, since, why, _is_retryable(error), outcomes, applied)


def require_enough_left(
    settings: ListSettings, context: CheckContext, entity_types: Mapping[str, int], sent: Mapping[str, int]
) -> None:
    """Raise UnprovenError if what is in the list violates its limits.

    A vendor that refuses nearly everybody leaves a list that equals what it took, and is next to empty. An approved
    size is one to be measured against, too.

    Args:
        settings: the list.
        context: what the rows were compared with.
        entity_types: what is in the list.
        sent: what was sent.
    """
    left = sum(entity_types.values())
    beyond = limit_violations(left, settings.schema.limits)
    if context.list_baseline and not context.size_accepted:
        beyond += _leap(left, settings, context.list_baseline, context.approved_size(sent))
    if beyond:
        raise UnprovenError(
            Message(
                "of all who were sent only {left} are in it, the vendor turned the others away ({limit})",
                left=left,
                limit=beyond[0],
            )
        )


def _leap(left: int, settings: ListSettings, baseline: SizeBaseline, approved: ApprovedSize | None) -> list[str]:
    limits = settings.schema.limits
    if approved and not change_violations({"": left}, limits, [SizeBaseline(approved.rows, "")]):
        return []
    return change_violations({"": left}, limits, [baseline])


def _incomplete(
    settings: ListSettings,
    since: datetime,
    why: str,
    retryable: bool,
    outcomes: tuple[CheckOutcome, ...],
    sent: StoredSnapshot | AppliedPlan | None = None,
) -> IncompleteListError:
    """Return the error of an incomplete list. `sent` is what was sent on demand instead of the newest snapshot."""
    again = f"campaign-sync run {settings.mandator} --list {settings.name}"
    if isinstance(sent, StoredSnapshot):
        again = f"campaign-sync replay {settings.mandator} {settings.name} --snapshot {sent.id}"
    elif sent:
        again = f"campaign-sync apply {sent.plan.id}"
    asset = AssetName(settings.mandator, AssetKind.RECIPIENT_LIST, settings.name, prefix=settings.prefix)
    message = Message(
        "{list} is INCOMPLETE since {moment} UTC: {reason:inline}. Send nothing to it, and replace it again: {command}",
        list=settings.reference,
        moment=f"{since:%Y-%m-%d %H:%M:%S}",
        reason=why,
        command=f"`{again}`",
    )
    if not sent:
        message = Message("{message}, or materialize {asset}", message=message, asset=str(asset))
    return IncompleteListError(message, retryable=retryable, outcomes=outcomes)


def _is_retryable(error: BaseException) -> bool:
    """Return whether the same replacement, begun again, may well succeed."""
    return isinstance(error, CampaignSyncError) and error.retryable


def _by_reason(entries: pd.DataFrame) -> dict[str, int]:
    return {str(reason): int(count) for reason, count in entries["reason"].value_counts().sort_index().items()}


def _describe(error: BaseException) -> str:
    """Describe an error without personal data: foreign messages can hold some, so of those only kind and place."""
    if isinstance(error, CampaignSyncError):  # by its contract it holds none
        return error.message
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
