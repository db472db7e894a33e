"""What must hold before a list is changed, from a stored snapshot to the rows that may be sent now.

It fails closed: whatever can't be established refuses the replacement.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import pandas as pd

from campaign_sync.crm.exclusions import read_excluded
from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.domain.approval import ApprovedPlan
from campaign_sync.domain.checks import CheckContext, CheckOutcome, check_encoding, entity_counts, merge_outcomes
from campaign_sync.domain.message import Message
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.row_digests import RowDigests, fingerprint, row_digests
from campaign_sync.domain.selection import rejections
from campaign_sync.domain.shared_texts import filter_rows
from campaign_sync.domain.size_limits import ApprovedSize, change_violations
from campaign_sync.domain.snapshot import EVIDENCE_COLUMNS
from campaign_sync.feedback.freshness import vendor_time
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.applied_plan import AppliedPlan, check_contents, check_recorded_changes
from campaign_sync.replacement.errors import ReplacementRefusedError, not_touched
from campaign_sync.replacement.key_attributes import find_read_columns
from campaign_sync.replacement.list_approval import ListRecord, check_list_approval, read_list_record
from campaign_sync.replacement.list_kind_probe import known_opt_in_list, probe_list_kind
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.live_suppression import (
    PEOPLE_COLUMNS,
    LiveCrmSuppression,
    OptOutRecorder,
    check_unsubscribe_lists,
    live_crm_suppression,
    live_vendor_suppression,
)
from campaign_sync.replacement.mailing_interlock import mailings_before_clear, wait_for_mailings
from campaign_sync.replacement.partial_fill import SizeExamination, examine_size
from campaign_sync.replacement.plan import Plan, difference, refill, resume
from campaign_sync.replacement.preflight_checks import (
    check_before_replacement,
    check_context,
    check_vanished_withdrawals,
    require_passed,
)
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.read_back import READ_BACK_ROWS, ListContents, read_back
from campaign_sync.replacement.read_columns import ReadColumns
from campaign_sync.storage.files import FileStorage, release_memory
from campaign_sync.storage.locks import PATIENCE, ListLock, LockScope
from campaign_sync.storage.replacements import Replacement, StoredSnapshot
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class PreflightResult:
    """The rows that may be sent, and how the list is going to be changed."""

    columns: ReadColumns
    """Those by which the list can be read back."""
    stored: StoredSnapshot
    rows: pd.DataFrame
    """The snapshot without those who were dropped."""
    digests: RowDigests
    """Theirs, by `columns.snapshot_columns`."""
    plan: Plan
    outcomes: tuple[CheckOutcome, ...]
    dropped: pd.DataFrame
    """The rejections of those who were dropped."""
    context: CheckContext
    """What the rows were compared with."""
    approved_plan_id: str | None = None
    """The plan whose approval was needed."""
    passed_campaigns: frozenset[int] = frozenset()
    """Smart Campaigns that are being sent and were waited for."""


@dataclass(frozen=True)
class CrmComparison:
    """How a snapshot compares with the CRM."""

    in_crm: LiveCrmSuppression
    context: CheckContext
    """What the checks of the snapshot compare it with."""
    record: ListRecord
    """What is on record of the list."""


@dataclass(frozen=True)
class Findings:
    """What was found of a snapshot by comparing it with CRM and vendor. It isn't recorded yet."""

    people: pd.DataFrame
    """Everybody in the snapshot, columns `PEOPLE_COLUMNS`."""
    at_vendor: "pd.Series[str]"
    """Why the vendor wouldn't write to each of them, as `Reason` values; missing where it would."""
    vendor_now: datetime
    rows: pd.DataFrame
    """The snapshot without those who were dropped."""
    dropped: pd.DataFrame
    """The rejections of those who were dropped."""
    context: CheckContext
    """What the rows were compared with."""
    size: SizeExamination
    approval: CheckOutcome
    approved_plan: ApprovedPlan | None
    """Whose approval `approval` relies on."""
    approved_size: ApprovedSize | None
    """What a leap of the size relies on."""

    @property
    def outcomes(self) -> tuple[CheckOutcome, ...]:
        """The outcomes of all checks."""
        return (*self.size.outcomes, self.approval)

    @property
    def approved_plan_id(self) -> str | None:
        """The plan whose approval was needed, for the list or for the size of the rows."""
        if self.approved_plan:
            return self.approved_plan.plan_id
        return self.approved_size.plan_id if self.approved_size else None


@dataclass(frozen=True)
class Preflight:
    """Admits replacements, or refuses them before anything is changed."""

    vendor: Optimizely
    crm: Crm
    state: State
    frames: FileStorage
    run_id: str
    now: Callable[[], datetime]
    on_wait: Callable[[str], None]

    def run(
        self,
        settings: ListSettings,
        lock: ListLock,
        unfinished: Replacement | None,
        replayed: StoredSnapshot | None,
        applied: AppliedPlan | None = None,
    ) -> PreflightResult:
        """Make every check, and return what may be sent.

        Args:
            settings: the list.
            lock: its lock.
            unfinished: the replacement that left the list incomplete, if it is.
            replayed: a snapshot to go back to; the newest one otherwise.
            applied: a plan whose snapshot is sent instead.

        Raises:
            ReplacementRefusedError: a check stops the replacement.
            OptimizelyError, CrmError, StateError, FileStorageError: something can't be reached.
        """
        if refusal := known_opt_in_list(settings, self.state.recipient_lists):
            require_passed(settings, [refusal])
        if problem := self.state.erasures.key_problem():
            require_passed(settings, [CheckOutcome("erasures", False, problem)])
        result = self._examine(settings, unfinished, replayed, applied)
        outcomes = list(result.outcomes)
        passed_campaigns: frozenset[int] = frozenset()
        if result.plan.clear:
            wait = wait_for_mailings(settings, self.vendor, self.on_wait)
            passed_campaigns = wait.passed
            if wait.took:  # people who left meanwhile have to be dropped, and everything has grown older
                result = self._examine(settings, unfinished, replayed, applied)
                outcomes = list(result.outcomes)
            outcomes.append(wait.outcome)
            require_passed(settings, outcomes)
        lock.require()
        with self._canary_lock():
            outcomes.append(probe_list_kind(settings, self.vendor, self.state.recipient_lists, self.now()))
        require_passed(settings, outcomes)
        return replace(result, outcomes=tuple(outcomes), passed_campaigns=passed_campaigns)

    def recheck_mailings(self, settings: ListSettings, result: PreflightResult) -> None:
        """Raise ReplacementRefusedError if a mailing has begun since `run`; to be called right before clearing."""
        require_passed(settings, [mailings_before_clear(settings, self.vendor, result.passed_campaigns)])

    def _canary_lock(self) -> AbstractContextManager[object]:
        """The mandator's lists share the canary: one that is unsubscribed again would hide that another revived it."""
        return self.state.locks.acquire(
            self.vendor.mandator_id,
            self.run_id,
            LockScope.MANDATOR,
            patience=PATIENCE,
            on_wait=lambda run_id: self.on_wait(f"the canary is in use by run {run_id} of the same mandator"),
        )

    def _examine(
        self,
        settings: ListSettings,
        unfinished: Replacement | None,
        replayed: StoredSnapshot | None,
        applied: AppliedPlan | None,
    ) -> PreflightResult:
        stored = replayed or self.state.snapshots.latest(settings.mandator, settings.name)
        record, as_planned = read_list_record(settings, self.state), None
        if applied:
            stored = applied.snapshot
            as_planned = check_recorded_changes(settings, applied, unfinished, record, self.state, self.now())
            require_passed(settings, [as_planned])
        if stored is None:
            raise ReplacementRefusedError(
                not_touched(settings.reference, Message("It has no snapshot yet; materialize its snapshot"))
            )
        # A replacement that continues an unfinished one inherits its permission, for the very rows it was given for.
        inherited = unfinished.run_id if unfinished and unfinished.snapshot_id == stored.id else None
        rows = self.frames.open_frame(stored.file, stored.digest)
        people = rows.frame([*PEOPLE_COLUMNS, "consent_at"])
        with self.crm.snapshot([settings.schema.opt_in_id]) as crm:
            in_crm = self.compare_with_crm(crm, settings, people, record, inherited)
            if stored.plan_id:  # what a run selects is free of who is excluded a moment before
                in_crm = _with_exclusions(crm, settings, people, in_crm)
        del people
        frozen_at = stored.created_at
        not_utf8 = applied.plan.not_utf8 if applied else self._not_utf8(settings, stored)
        snapshot = [rows.frame([column for column in rows.columns if column not in EVIDENCE_COLUMNS])]
        del rows
        release_memory()
        findings = self.examine(
            settings,
            snapshot.pop(),  # so that `examine` lets go of it
            in_crm,
            frozen_at,
            not_utf8,
            snapshot_id=stored.id,
            replaying=replayed is not None,
        )
        self.state.rejections.record(settings.mandator, settings.name, findings.dropped, self.run_id)
        findings.size.record(settings, self.state)
        outcomes = findings.outcomes
        require_passed(settings, outcomes)
        # Only now: should the vendor claim that nearly everybody has left, the size refuses it, and no consent is
        # withdrawn.
        recorder = OptOutRecorder(self.crm, self.state, self.frames, self.run_id)
        known = in_crm.in_crm.reasons.ne(Reason.ERASED.value).fillna(value=True)  # nothing is recorded of the others
        answered = (findings.people, findings.at_vendor)
        if not known.all():
            answered = (findings.people[known], findings.at_vendor[known])
        recorder.record_live_opt_outs(settings, *answered, findings.vendor_now)
        columns = find_columns(settings, self.vendor, findings.rows)
        digests = row_digests(findings.rows, columns.snapshot_columns)
        read = cache(lambda: read_list(columns, self.vendor, digests))
        if applied and as_planned:
            if not applied.has_begun(unfinished):
                as_planned = self._check_applied(settings, applied, read)
            outcomes = (*outcomes, as_planned)
            require_passed(settings, outcomes)
        plan = self.steps(columns, stored.id, findings.rows, digests, unfinished, read)
        return PreflightResult(
            columns,
            stored,
            findings.rows,
            digests,
            plan,
            outcomes,
            findings.dropped,
            findings.context,
            findings.approved_plan_id,
        )

    def compare_with_crm(
        self,
        crm: CrmSnapshot,
        settings: ListSettings,
        snapshot: pd.DataFrame,
        record: ListRecord,
        inherited: str | None = None,
        *,
        remember: bool = True,
    ) -> CrmComparison:
        """Compare a snapshot with the CRM as it is now. Nothing is recorded without `remember`.

        Args:
            crm: the CRM at this moment.
            settings: the list.
            snapshot: the rows; columns `PEOPLE_COLUMNS` and `consent_at`.
            record: what is on record of the list.
            inherited: the run whose permission to replace the list by an implausible size holds as well.
            remember: whether the withdrawals that the CRM shows are remembered.

        Raises:
            OptimizelyError, CrmError, StateError: something can't be reached.
        """
        in_crm = live_crm_suppression(crm, self.state, settings, snapshot, self.now(), remember=remember)
        runs = (self.run_id, inherited)
        context = check_context(
            settings, self.vendor, crm, self.state, *runs, suppressed=in_crm.suppressed, record=record
        )
        return CrmComparison(in_crm, context, record)

    def examine(
        self,
        settings: ListSettings,
        snapshot: pd.DataFrame,
        compared: CrmComparison,
        frozen_at: datetime,
        not_utf8: int,
        *,
        snapshot_id: str | None = None,
        replaying: bool = False,
    ) -> Findings:
        """Compare a snapshot with the vendor as it is now, and check what may be sent of it. Records nothing.

        Args:
            settings: the list.
            snapshot: the rows.
            compared: how they compare with the CRM.
            frozen_at: when they were frozen.
            not_utf8: how many rows were left out because a text isn't UTF-8 in the CRM.
            snapshot_id: of the snapshot; None for one that isn't stored.
            replaying: whether they are replayed on demand, and may be of any age.

        Raises:
            OptimizelyError, StateError: something can't be reached.
        """
        in_crm, context = compared.in_crm, compared.context
        vendor_now = vendor_time(settings.feedback_by_files, self.vendor)

        on_rows = rows_of(settings, "look once more", len(snapshot))
        at_vendor = live_vendor_suppression(settings, self.vendor, snapshot, on_rows)
        reasons = at_vendor.where(at_vendor.notna(), in_crm.reasons)
        people, kept = snapshot[PEOPLE_COLUMNS], reasons.isna()
        dropped = rejections(people[~kept], Stage.GATE, reasons[~kept])
        rest = [snapshot]
        del snapshot  # a list of a million needs the room
        rows = filter_rows(rest.pop(), kept.to_numpy())
        outcomes = [
            *check_before_replacement(
                settings,
                frozen_at,
                rows,
                context,
                self.state.feedback_imports,
                self.now(),
                vendor_now,
                replaying=replaying,
            ),
            check_vanished_withdrawals(settings, in_crm.recall.vanished, in_crm.recall.known, self.state),
            *check_unsubscribe_lists(settings, self.vendor, at_vendor),
        ]
        encoding = check_encoding(not_utf8, len(rows))
        outcomes = [merge_outcomes(outcome, encoding) for outcome in outcomes]
        size = examine_size(settings, self.vendor, self.state, rows, context, outcomes, self.now())
        sizes = entity_counts(rows)
        leaps = bool(change_violations(sizes, settings.schema.limits, context.baselines))
        accepted = context.size_accepted if leaps else None
        approval, plan = check_list_approval(
            settings, self.vendor, self.state, compared.record, snapshot_id, accepted=accepted, replaying=replaying
        )
        approved_size = context.approved_size(sizes) if leaps and not accepted else None
        return Findings(people, at_vendor, vendor_now, rows, dropped, context, size, approval, plan, approved_size)

    def _check_applied(
        self,
        settings: ListSettings,
        applied: AppliedPlan,
        read: Callable[[], ListContents],
    ) -> CheckOutcome:
        """Check that the list holds what it did when the plan was made."""
        in_list = self.vendor.recipients.count(settings.recipient_list_id)
        planned = applied.plan.contents_digest
        is_unchanged: bool | None = True
        if planned is not None and in_list == applied.plan.in_list:
            is_unchanged = self.state.digests.are_equal(planned, fingerprint(read().digests))
        return check_contents(applied, in_list, is_unchanged=is_unchanged)

    def _not_utf8(self, settings: ListSettings, stored: StoredSnapshot) -> int:
        """Return how many rows the snapshot was left without for their encoding, even if it was materialized alone."""
        rejected = self.state.rejections.counts(stored.run_id, settings.mandator, settings.name)
        return rejected.get((Stage.SNAPSHOT, Reason.NOT_UTF8), 0)

    def steps(
        self,
        columns: ReadColumns,
        snapshot_id: str | None,
        rows: pd.DataFrame,
        digests: RowDigests,
        unfinished: Replacement | None,
        read: Callable[[], ListContents],
    ) -> Plan:
        """Return what has to be done to the list.

        Args:
            columns: by which the list can be read.
            snapshot_id: the snapshot that the rows are of; None for one that isn't stored.
            rows: those that may be sent.
            digests: theirs, by `columns.snapshot_columns`.
            unfinished: the replacement that left the list incomplete, if it is.
            read: reads the list.

        Raises:
            ReplacementRefusedError: the list doesn't allow the strategy.
            OptimizelyError: it can't be read.
        """
        if columns.settings.recipient_list.strategy == "differential":
            return difference(columns, rows, digests, read())
        if unfinished is None:
            return refill(rows)
        # Attributes don't show an address: without ids only a list that was filled from nothing by these rows goes on.
        same_rows = unfinished.snapshot_id == snapshot_id and self.state.replacements.cleared_for(unfinished)
        return (resume(digests, read()) if columns.id_attribute or same_rows else None) or refill(rows)


def _with_exclusions(
    crm: CrmSnapshot, settings: ListSettings, snapshot: pd.DataFrame, compared: CrmComparison
) -> CrmComparison:
    """Return the comparison with those who are excluded from the list by now, for rows that were selected earlier."""
    in_crm = compared.in_crm
    excluded = read_excluded(crm, settings.exclusions).among(snapshot, snapshot[ADDRESS])
    reasons = in_crm.reasons.mask(in_crm.reasons.isna() & excluded, Reason.EXCLUDED.value)
    return replace(compared, in_crm=replace(in_crm, reasons=reasons))


def find_columns(settings: ListSettings, vendor: Optimizely, rows: pd.DataFrame) -> ReadColumns:
    """Return the columns by which the list can be read back.

    Raises:
        ReplacementRefusedError: the vendor doesn't know the attribute that is configured for recipient ids.
    """
    _require_id_attribute(settings, vendor)
    return find_read_columns(settings, vendor, rows)


def read_list(columns: ReadColumns, vendor: Optimizely, expected: RowDigests) -> ListContents:
    """Read the list as it is; in one piece where pages don't add up."""
    count = vendor.recipients.count(columns.settings.recipient_list_id)
    for page_rows in (READ_BACK_ROWS, count + 1):
        on_page = rows_of(columns.settings, "read the list", count)
        contents = read_back(columns, vendor, count, expected, on_page, page_rows)
        if len(contents) == count:
            break
    return contents


def _require_id_attribute(settings: ListSettings, vendor: Optimizely) -> None:
    id_attribute = settings.recipient_list.id_attribute
    if not id_attribute:
        return
    page = vendor.recipients.page(settings.recipient_list_id, [id_attribute], None, 0, 1)
    if page and not page[0][0]:
        raise ReplacementRefusedError(
            not_touched(
                settings.reference,
                Message(
                    "The vendor gives out no recipient ids under the name {attribute}; correct {setting}",
                    attribute=id_attribute,
                    setting=f"mandators.{settings.mandator}.lists.{settings.name}.id_attribute",
                ),
            )
        )
