"""What the next replacement of a list would do: the same selection, snapshot and checks, with nothing changed."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal
from uuid import uuid4

import pandas as pd

from campaign_sync.crm.port import Crm, CrmError
from campaign_sync.domain.approval import CHECK_NAME as APPROVAL
from campaign_sync.domain.approval import with_other_remedy
from campaign_sync.domain.checks import SIZE, CheckContext, CheckOutcome, entity_counts
from campaign_sync.domain.erasure import Erased
from campaign_sync.domain.membership import Rejection, list_members
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.rejection import Stage, describe_reason
from campaign_sync.domain.row_changes import NO_RECORD, compare_rows
from campaign_sync.domain.row_digests import KnownRows, RowDigests, fingerprint, row_digests
from campaign_sync.domain.size_limits import limit_violations
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.withdrawal_history import compare_withdrawals, concat_suppressions
from campaign_sync.inquiry.plan_store import PlannedRows, PlanStore
from campaign_sync.inquiry.proof_comparison import NOT_SELECTED
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.replacement.errors import ReplacementRefusedError
from campaign_sync.replacement.frozen_rows import freeze_rows
from campaign_sync.replacement.list_approval import read_list_record
from campaign_sync.replacement.list_kind_probe import expected_list_kind, known_opt_in_list
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.mailing_interlock import mailings_now
from campaign_sync.replacement.preflight import Preflight, find_columns, read_list
from campaign_sync.replacement.preflight_checks import FEEDBACK
from campaign_sync.replacement.proof import people
from campaign_sync.replacement.read_back import ListContents
from campaign_sync.replacement.selected_people import select_people
from campaign_sync.storage.errors import ErasureKeyError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

OF_OTHERS = Message("names no record of the CRM: others than us filled it in")
"""Why a row leaves that isn't ours."""

TWICE = Message("is in the list twice")
"""Why a second row of a person leaves who stays."""


Verdict = Literal["passed", "warning", "condition", "refuses"]
"""What a check means for a replacement. `condition`: it fails now, and a run sees to it before."""


@dataclass(frozen=True)
class PlannedCheck:
    """A check that the replacement would make, and the step that makes it."""

    stage: Stage
    outcome: CheckOutcome

    @property
    def is_condition(self) -> bool:
        """Whether it fails now, and the run sees to it before: it imports feedback first."""
        return self.outcome.stops and self.outcome.name == FEEDBACK

    @property
    def refuses(self) -> bool:
        """Whether the replacement would be refused because of it."""
        return self.outcome.stops and not self.is_condition

    @property
    def verdict(self) -> Verdict:
        """What it means for the replacement."""
        if self.outcome.passed:
            return "passed"
        return "refuses" if self.refuses else "condition" if self.is_condition else "warning"


@dataclass(frozen=True)
class Changes:
    """What would be different in the list. Counts are of recipients."""

    proven_at: datetime | None
    """The proof that was compared; None where the list was read back instead."""
    joined: int
    refused_before: Mapping[str, int]
    """Those among them whom the vendor refused or took out at the last proof, by reason; it may do so again."""
    left: Mapping[str, int]
    """By reason."""
    changed: int
    changed_attributes: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be different, but for those whom the vendor refused before."""
        return not self.left and not self.changed and self.joined == sum(self.refused_before.values())


@dataclass(frozen=True)
class LastFill:
    """How long the last proven replacement took, from its first change to its proof."""

    proven_at: datetime
    rows: int
    took: timedelta


@dataclass(frozen=True)
class ListPlan:
    """What the next replacement of a list would do. Counts are of people, or of recipients in the list."""

    settings: ListSettings
    planned_at: datetime
    id: str | None = None
    """Its id where it is stored."""
    problem: str | None = None
    """Why it couldn't be planned to the end, and would fail."""
    checks: Sequence[PlannedCheck] = ()
    picked: int | None = None
    selected: int | None = None
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Picked people who aren't sent, by stage and reason."""
    rows: int | None = None
    """Rows to send."""
    context: CheckContext | None = None
    in_list: int | None = None
    changes: Changes | None = None
    not_compared: str | None = None
    """Why there are no `changes`."""
    last_fill: LastFill | None = None
    incomplete_since: datetime | None = None
    """Since when an earlier replacement has left the list incomplete."""

    @property
    def is_refused(self) -> bool:
        """Whether the replacement would be refused, or fail."""
        return self.problem is not None or any(check.refuses for check in self.checks)

    @property
    def can_be_approved(self) -> bool:
        """Whether nothing refuses it but what a person may approve: the list, and a size within its absolute limits."""
        if self.rows is None or self.in_list is None or self.problem is not None:
            return False
        refusing = {check.outcome.name for check in self.checks if check.refuses}
        return refusing <= {SIZE, APPROVAL} and not limit_violations(self.rows, self.settings.schema.limits)

    @property
    def needs_approval(self) -> bool:
        """Whether it would run once it is approved."""
        return self.is_refused and self.can_be_approved

    @property
    def has_changes(self) -> bool:
        """Whether the list would be different, as far as it could be compared."""
        return self.incomplete_since is not None or (self.changes is not None and not self.changes.is_empty)

    @property
    def expected_time(self) -> timedelta | None:
        """How long filling and proof may take, by the last time; None if there was none."""
        last = self.last_fill
        return last.took * (self.rows / last.rows) if last and last.rows and self.rows is not None else None


@dataclass(frozen=True)
class ListPlanner:
    """Plans replacements of lists of one mandator. Changes nothing at the vendor, in the CRM or in the state database.

    `state` must be one that remembers nothing.
    """

    vendor: Optimizely
    crm: Crm
    state: State
    files: FileStorage
    store: PlanStore | None = None
    """Where plans are stored that can be approved or applied; nowhere if it is None."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def plan(self, settings: ListSettings) -> ListPlan:
        """Return what a replacement of the list would do if it began now.

        Raises:
            StateError: the state database can't be read.
        """
        now = self.now()
        try:
            return self._plan(settings, now)
        except (CrmError, OptimizelyError, FileStorageError, ErasureKeyError, ReplacementRefusedError) as error:
            return ListPlan(settings, now, problem=_reason(error))

    def _plan(self, settings: ListSettings, now: datetime) -> ListPlan:
        state, mandator, opt_in_id = self.state, settings.mandator, settings.schema.opt_in_id
        run_id = str(uuid4())  # of no run, so nothing was accepted for it
        record = read_list_record(settings, state)
        last = record.proven
        preflight = Preflight(self.vendor, self.crm, state, self.files, run_id, self.now, lambda _: None)
        checks = [PlannedCheck(Stage.GATE, outcome) for outcome in self._checks_beforehand(settings)]
        with self.crm.snapshot([opt_in_id]) as crm:
            known = current_suppression(crm, state, mandator)
            withdrawals = compare_withdrawals(crm, state, mandator, opt_in_id, known, now, remember=False)
            suppressed = concat_suppressions([known, withdrawals.vanished])
            selected = select_people(crm, state, settings, suppressed, withdrawals.known)
            frozen = freeze_rows(crm, self.vendor, state, settings, selected.rows, now, run_id)
            in_crm = preflight.compare_with_crm(crm, settings, frozen.split.rows, record, remember=False)
            copy_times = crm.copy_times
        findings = preflight.examine(settings, frozen.split.rows, in_crm, now, frozen.not_utf8)
        checks += [PlannedCheck(Stage.SELECTION, outcome) for outcome in selected.outcomes]
        checks += [PlannedCheck(Stage.SNAPSHOT, outcome) for outcome in frozen.outcomes]
        checks += [PlannedCheck(Stage.GATE, outcome) for outcome in findings.outcomes]
        rejected = pd.concat([selected.rejections, frozen.split.rejections, findings.dropped])
        unfinished = state.replacements.incomplete(mandator, settings.name, settings.recipient_list_id)
        in_list = self.vendor.recipients.count(settings.recipient_list_id)
        problem, changes, not_compared, contents_digest, clears = None, None, None, None, True
        try:
            columns = find_columns(settings, self.vendor, findings.rows)
            digests = row_digests(findings.rows, columns.snapshot_columns)
            read = cache(lambda: read_list(columns, self.vendor, digests))
            proof = self._proof(settings, last)
            members = self._undrifted(proof, in_list) if proof and not unfinished else None
            changes = self._changes(settings, findings.rows, digests, rejected, proof, members, read)
            clears = preflight.steps(columns, None, findings.rows, digests, unfinished, read).clear
            contents_digest = fingerprint(read().digests) if read.cache_info().currsize else None
        except ReplacementRefusedError as error:
            refusal = _reason(error)
            checks.append(PlannedCheck(Stage.GATE, CheckOutcome("strategy", False, refusal)))
            not_compared = None if changes else refusal
        except OptimizelyError as error:
            not_compared = error.message
            if not any(check.refuses for check in checks):  # else that may be the reason for this as well
                problem = not_compared
        try:
            if clears:
                checks.append(PlannedCheck(Stage.GATE, mailings_now(settings, self.vendor)))
        except OptimizelyError as error:
            problem = problem or error.message
        plan = ListPlan(
            settings,
            now,
            problem=problem,
            checks=tuple(checks),
            picked=selected.picked,
            selected=len(selected.rows),
            rejected=_counts(rejected),
            rows=len(findings.rows),
            context=findings.context,
            in_list=in_list,
            changes=changes,
            not_compared=not_compared,
            last_fill=_last_fill(last),
            incomplete_since=(unfinished.cleared_at or unfinished.started_at) if unfinished else None,
        )
        if self.store is None or not plan.can_be_approved:
            return plan
        before_the_gate = [selected.rejections, frozen.split.rejections]
        plan_id = self.store.save(
            settings,
            PlannedRows(
                frozen.split.rows,
                pd.concat(before_the_gate),
                frozen.not_utf8,
                entity_counts(findings.rows),
                in_list,
                contents_digest,
                last.id if last else None,
                copy_times,
            ),
            now,
        )
        checks = [replace(check, outcome=with_other_remedy(check.outcome, None)) for check in checks]
        return replace(plan, id=plan_id, checks=tuple(checks))  # who reads a stored plan needn't be sent for one

    def _checks_beforehand(self, settings: ListSettings) -> Iterator[CheckOutcome]:
        """Yield the checks that need no snapshot: of the list's kind, and that no other run replaces it."""
        lists = self.state.recipient_lists
        yield known_opt_in_list(settings, lists) or expected_list_kind(settings, lists)
        if holder := self.state.locks.holder(settings.recipient_list_id):
            yield CheckOutcome(
                "lock", False, Message("run {run} is replacing it now; plan again when that is through", run=holder)
            )

    def _changes(
        self,
        settings: ListSettings,
        rows: pd.DataFrame,
        digests: RowDigests,
        rejected: pd.DataFrame,
        proof: "_Proof | None",
        members: pd.DataFrame | None,
        read: Callable[[], ListContents],
    ) -> Changes:
        """Compare the rows with the last proof if the list still is what was proven, else with what it holds now.

        Args:
            settings: the list.
            rows: those that would be sent.
            digests: theirs.
            rejected: the people who wouldn't be sent.
            proof: the last one.
            members: the rows that were proven; None if the list may hold others by now.
            read: reads the list.
        """
        if members is not None:
            names = [RECIPIENT_ID, ADDRESS, *settings.schema.list_columns]
            lacking = {name: "" for name in names if name not in members}
            keys, members = entity_keys(members), members.assign(**lacking)[names]
            before, after = row_digests(members, names), row_digests(rows, names)
            differs = ~KnownRows(after).contains(before)
            now, keys_now = members[differs], keys[differs]
            planned = rows[~KnownRows(before).contains(after)]
            keys_planned = entity_keys(planned)
        else:
            contents = read()
            now, keys_now = contents.others, people(contents.others, settings.schema)
            planned = rows[~KnownRows(contents.digests).contains(digests)]
            keys_planned = people(planned, settings.schema)
        different = compare_rows(now, keys_now, planned, keys_planned)
        return Changes(
            proven_at=proof.proven.proven_at if proof and members is not None else None,
            joined=len(different.joined),
            refused_before=_refused_before(proof, different.joined) if proof else {},
            left=_departures(
                different.left, rejected, rows, self.state.erasures.erased(), was_proven=proof is not None
            ),
            changed=different.changed,
            changed_attributes=different.changed_columns,
        )

    def _proof(self, settings: ListSettings, last: Replacement | None) -> "_Proof | None":
        """Return the last proof of this list at the vendor."""
        history = self.state.replacement_history
        proofs = history.proven(settings.mandator, settings.name) if last else []
        proven = next((proven for proven in proofs if last and proven.snapshot_id == last.snapshot_id), None)
        return _Proof(proven, last, history.rejected_rows(proven)) if proven and last else None

    def _undrifted(self, proof: "_Proof", in_list: int) -> pd.DataFrame | None:
        """Return the rows that were proven; None if the list may hold others by now, or they can't be known exactly."""
        last = proof.replacement
        if last.in_list != in_list:
            return None
        drift = self.state.list_drifts.of(last.mandator, last.list, last.id)
        if drift.read_back or drift.drifted_since or drift.not_checked_since:
            return None
        try:
            snapshot = self.files.read_frame(proof.proven.file, proof.proven.digest)
        except FileStorageError:  # such as one that was purged
            return None
        members = list_members(snapshot, proof.proven, proof.rejections)
        return None if members.uncertain or len(members.rows) != in_list else members.rows


@dataclass(frozen=True)
class _Proof:
    """The last proof of a list, of which replacement it is, and whom the vendor didn't take."""

    proven: ProvenList
    replacement: Replacement
    rejections: Mapping[str, Sequence[Rejection]]


def _refused_before(proof: _Proof, joined: Collection[str]) -> dict[str, int]:
    """Return by reason how many of those who join the vendor refused or took out at the last proof."""
    by_vendor = {
        key: rejection.reason
        for key in joined
        for rejection in proof.rejections.get(key, ())
        if rejection.made_by(proof.proven) and rejection.stage in (Stage.VENDOR, Stage.SWEEP)
    }
    return dict(Counter(map(describe_reason, by_vendor.values())).most_common())


def _departures(
    left: Sequence[str], rejected: pd.DataFrame, rows: pd.DataFrame, erased: Erased, *, was_proven: bool
) -> dict[str, int]:
    """Return how many leave, by reason."""
    if not left:
        return {}
    keys = entity_keys(rejected)
    hidden = {erased.rejected_record(key): key for key in left}
    concerned = keys.isin({*left, *hidden})
    of_leavers = zip(keys[concerned], rejected["stage"][concerned], rejected["reason"][concerned], strict=True)
    why: dict[str, str] = {
        hidden.get(key, key): join_messages(": ", [stage, describe_reason(reason)]) for key, stage, reason in of_leavers
    }
    staying = entity_keys(rows)
    why |= dict.fromkeys(staying[staying.isin(set(left))], TWICE)
    why[NO_RECORD] = OF_OTHERS
    otherwise = NOT_SELECTED if was_proven else Message("not selected")
    return dict(Counter(why.get(key, otherwise) for key in left).most_common())


def _counts(rejected: pd.DataFrame) -> dict[tuple[str, str], int]:
    counts = Counter(zip(rejected["stage"], rejected["reason"], strict=True))
    order = [stage.value for stage in Stage]
    return dict(sorted(counts.items(), key=lambda entry: (order.index(entry[0][0]), -entry[1], entry[0][1])))


def _last_fill(last: Replacement | None) -> LastFill | None:
    if last is None or last.finished_at is None or last.sent is None:
        return None
    return LastFill(last.finished_at, last.sent, last.finished_at - last.started_at)


def _reason(error: CampaignSyncError) -> str:
    """Return what an error says, without the beginning of a refused replacement."""
    message = error.message
    reasons = message.values.get("reasons") if isinstance(message, Message) else None
    return reasons if isinstance(reasons, str) else message
