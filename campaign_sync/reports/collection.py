"""Gathers the numbers of a report from what the product remembers."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.feedback_age import WARN_AFTER
from campaign_sync.domain.membership import absence_reason, list_members
from campaign_sync.domain.propagation import Delays
from campaign_sync.domain.readiness import Attempt
from campaign_sync.domain.rejection import ACCEPTED, ALREADY_STORED, GENERAL_ERROR
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.feedback.propagation_measurement import list_delays
from campaign_sync.replacement.list_readiness import Judged, judge_lists
from campaign_sync.reports.daily_report import (
    NOT_PICKED,
    Day,
    FeedbackLimits,
    FeedbackReader,
    ListReport,
    Movement,
    OptOuts,
    Report,
    ReportedProof,
)
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.report_queries import Turned
from campaign_sync.storage.state import State

PERIOD = 30
"""How many days a report looks back."""

_ENTITY = ("entity_type", "entity_id")

WAITS = tuple(timedelta(hours=hours) for hours in (1, 6, 12, 24, 48))
"""The steps by which waits are counted."""


def gather(
    configuration: Configuration,
    mandator: str,
    state: State,
    frames: FileStorage,
    now: datetime,
    attempts: Mapping[str, Attempt] | None,
) -> Report:
    """The report of a mandator as of now.

    `attempts` has the newest run that was to replace each list; None where nobody could be asked for it.
    """
    settings = configuration.mandators[mandator]
    zone = settings.zone
    feedback = settings.feedback
    until = state.feedback_imports.committed_until(mandator)
    readers = [str(reader) for reader in feedback.readers]
    return Report(
        called=settings.display_name(mandator),
        day=now.astimezone(zone).date(),
        made_at=now,
        zone=zone,
        lists=tuple(
            _ListGatherer(
                mandator, one.name, settings.lists[one.name].display_name(one.name), zone, state, frames, now
            ).gather(one)
            for one in judge_lists(configuration, mandator, state, attempts, now)
        ),
        readers=tuple(
            FeedbackReader(one, max(now - until[one], timedelta()) if one in until else None) for one in readers
        ),
        limits=FeedbackLimits(WARN_AFTER, feedback.age_limits.max_age, feedback.age_limits.alarm_after),
        opt_outs=_opt_outs(mandator, settings, state, now),
    )


def _opt_outs(mandator: str, settings: MandatorSettings, state: State, now: datetime) -> OptOuts | None:
    to_crm, to_absence = list_delays(mandator, settings.lists, state, now, timedelta(days=PERIOD))
    spread_to_crm, spread_to_absence = Delays.of(to_crm), Delays.of(to_absence)
    if spread_to_crm is None or spread_to_absence is None:
        return None
    waits: Counter[timedelta | None] = Counter(
        next((step for step in WAITS if one <= step), None) for one in to_absence
    )
    return OptOuts(spread_to_crm, spread_to_absence, {step: waits[step] for step in (*WAITS, None)})


class _ListGatherer:
    """Gathers what there is on one list."""

    def __init__(
        self, mandator: str, name: str, called: str, zone: ZoneInfo, state: State, frames: FileStorage, now: datetime
    ) -> None:
        self._mandator, self._name, self._called, self._zone = mandator, name, called, zone
        self._state, self._frames, self._now = state, frames, now

    def gather(self, judged: Judged) -> ListReport:
        """Everything about the list."""
        proven = self._state.replacement_history.proven(self._mandator, self._name)
        newest = proven[0] if proven else None
        before = next(
            (one for one in proven if newest and self._day(one.proven_at) < self._day(newest.proven_at)), None
        )
        days = [self._day(self._now) - timedelta(days=ago) for ago in reversed(range(PERIOD))]
        # A day more, for what began before midnight.
        replaces = self._state.report_queries.replacements(
            self._mandator, self._name, self._now - timedelta(days=PERIOD + 1)
        )
        last = self._state.replacements.last_proven(self._mandator, self._name)
        turned_away = self._state.report_queries.rejection_counts(last) if last else None
        return ListReport(
            name=self._name,
            called=self._called,
            status=judged.status.readiness,
            since=judged.status.since,
            drift=judged.drift,
            people=newest.in_list if newest else None,
            before=before.in_list if before else None,
            before_at=before.proven_at if before else None,
            proof=_proof(newest, last) if newest and last else None,
            days=tuple(self._of_day(day, replaces) for day in days),
            movement=self._movement(before, newest) if before and newest else None,
            kept_out=None if turned_away is None else _by_reason(turned_away),
            newly_kept_out=self._newly_kept_out(proven, days),
            refused_now=self._refused([one for one in replaces if last and one.id == last.id]),
            refused_lately=self._refused([one for one in replaces if self._ended(one) in days]),
        )

    def _of_day(self, day: date, replaces: Sequence[Replacement]) -> Day:
        broke_off = any(
            one.cleared_at
            and one.state is not ReplacementState.PROVEN
            and self._day(one.started_at) == day
            and not self._under_way(one)
            for one in replaces
        )
        of_day = [one for one in replaces if one.state is ReplacementState.PROVEN and self._ended(one) == day]
        if not of_day:
            return Day(day, broke_off=broke_off)
        last = of_day[-1]
        return Day(
            day,
            people=last.in_list,
            dropped=last.dropped,
            refused=_refused(last),
            swept=last.swept,
            incomplete_for=_incomplete_for(last),
            broke_off=broke_off,
        )

    def _refused(self, replaces: Sequence[Replacement]) -> dict[int, int]:
        proven = {one.id: one for one in replaces if one.state is ReplacementState.PROVEN}
        total: Counter[int] = Counter()
        for replace_id, codes in self._state.report_queries.answers(list(proven)).items():
            total.update(refused_by_code(codes, _refused(proven[replace_id]) or 0))
        return dict(sorted(total.items()))

    def _newly_kept_out(self, proven: Sequence[ProvenList], days: Sequence[date]) -> dict[date, Mapping[str, int]]:
        if not proven:
            return {}
        found: defaultdict[date, Counter[str]] = defaultdict(Counter)
        since = max(proven[-1].proven_at, self._now - timedelta(days=PERIOD + 1))
        counts = self._state.report_queries.new_rejections(self._mandator, self._name, since)
        for (moment, reason), people in counts.items():
            found[self._day(moment)][reason] += people
        return {day: dict(found[day]) for day in days if day in found}

    def _movement(self, before: ProvenList, newest: ProvenList) -> Movement | None:
        history = self._state.replacement_history
        try:
            snapshots = [self._frames.read_frame(one.file, one.digest, _ENTITY) for one in (before, newest)]
        except FileStorageError:
            return None
        old, new = (
            list_members(snapshot, one, history.rejected_rows(one))
            for snapshot, one in zip(snapshots, (before, newest), strict=True)
        )
        were, are = set(entity_keys(old.rows)), set(entity_keys(new.rows))
        ledger, in_snapshot = history.explanations(newest), set(entity_keys(snapshots[1]))
        left: Counter[str] = Counter()
        for key in were - are:
            entry = absence_reason(ledger.get(key, []), newest, in_snapshot=key in in_snapshot)
            left[entry.reason if entry else NOT_PICKED] += 1
        return Movement(before.proven_at, len(are - were), dict(left), old.uncertain + new.uncertain)

    def _under_way(self, one: Replacement) -> bool:
        """Whether somebody is at this replace just now."""
        return one.state is not ReplacementState.FAILED and self._state.locks.holder(one.recipient_list_id) is not None

    def _ended(self, one: Replacement) -> date:
        return self._day(one.finished_at or one.started_at)

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()


def refused_by_code(codes: Mapping[int, int], refused: int) -> dict[int, int]:
    """How many rows a replace was refused, by the vendor's code.

    The journal knows how many there were in all. Rows that the vendor failed on, or said to have already, are sent or
    counted anew, so of these codes no more remain than that number leaves.

    Args:
        codes: what the vendor answered to all rows, those that were sent again among them.
        refused: how many rows were turned away in the end.
    """
    final = {
        code: rows for code, rows in codes.items() if code not in (ACCEPTED, ALREADY_STORED, GENERAL_ERROR) and rows
    }
    rest = max(refused - sum(final.values()), 0)
    for code in (GENERAL_ERROR, ALREADY_STORED):
        share = min(codes.get(code, 0), rest)
        if share:
            final[code] = share
        rest -= share
    return final


def _proof(newest: ProvenList, last: Replacement) -> ReportedProof:
    return ReportedProof(
        proven_at=newest.proven_at,
        frozen_at=newest.frozen_at,
        equal=newest.in_list or 0,
        snapshot_id=newest.snapshot_id,
        digest=newest.digest,
        incomplete_for=_incomplete_for(last),
    )


def _refused(one: Replacement) -> int | None:
    return one.sent - one.accepted if one.sent is not None and one.accepted is not None else None


def _incomplete_for(one: Replacement) -> timedelta | None:
    return one.finished_at - one.cleared_at if one.finished_at and one.cleared_at else None


def _by_reason(turned_away: Mapping[Turned, int]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for (_, reason, _), people in turned_away.items():
        total[reason] += people
    return dict(total.most_common())
