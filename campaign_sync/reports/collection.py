"""Collection of a report's numbers from the state database and the snapshots."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import recipient_list_page
from campaign_sync.domain.checks import SIZE
from campaign_sync.domain.erasure import NO_ERASURES, Erased
from campaign_sync.domain.feedback_age import WARN_AFTER
from campaign_sync.domain.membership import absence_reason, list_members
from campaign_sync.domain.propagation import Delays
from campaign_sync.domain.readiness import Attempt
from campaign_sync.domain.rejection import ACCEPTED, ALREADY_STORED, GENERAL_ERROR
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.feedback.propagation_measurement import list_delays
from campaign_sync.replacement.list_readiness import Judged, judge_lists
from campaign_sync.replacement.scheduled_mailings import ScheduledMailing
from campaign_sync.reports.daily_report import (
    NOT_PICKED,
    FeedbackAgeLimits,
    ListDay,
    ListReport,
    Movement,
    OptOuts,
    ReaderAge,
    Report,
    ReportedProof,
    UnfinishedDay,
)
from campaign_sync.storage.errors import ErasureKeyError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.report_queries import Turned
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView

PERIOD = 30
"""How many days a report covers."""

_ENTITY = ("entity_type", "entity_id")

WAITS = tuple(timedelta(hours=hours) for hours in (1, 6, 12, 24, 48))
"""The upper bounds of the classes in which delays are counted."""


def gather(
    configuration: Configuration,
    mandator: str,
    state: State,
    frames: FileStorage,
    now: datetime,
    attempts: Mapping[str, Attempt] | None,
    unfinished_day: UnfinishedDay | None = None,
    mailings: tuple[ScheduledMailing, ...] | None = None,
) -> Report:
    """Return the report of a mandator as of now.

    `attempts` has the newest run that was to replace each list; None if Dagster couldn't be asked. `unfinished_day`
    is the newest planned day, if lists of it aren't there. `mailings` are those of the next days; None if they couldn't
    be read.
    """
    settings = configuration.mandators[mandator]
    zone = settings.zone
    limits, view = settings.feedback.age_limits, state.view()
    return Report(
        display_name=settings.display_name(mandator),
        day=now.astimezone(zone).date(),
        made_at=now,
        zone=zone,
        lists=tuple(
            _ListCollector(configuration, mandator, judged, state, view, frames, now).report()
            for judged in judge_lists(configuration, mandator, view, attempts, now)
        ),
        readers=_reader_ages(settings, view.feedback_until(mandator), now),
        limits=FeedbackAgeLimits(WARN_AFTER, limits.max_age, limits.alarm_after),
        opt_outs=_opt_outs(mandator, settings, state, now),
        check_language=configuration.language,
        unfinished_day=unfinished_day,
        mailings=mailings,
    )


def _reader_ages(settings: MandatorSettings, until: Mapping[str, datetime], now: datetime) -> tuple[ReaderAge, ...]:
    names = [str(reader) for reader in settings.feedback.readers]
    return tuple(ReaderAge(name, max(now - until[name], timedelta()) if name in until else None) for name in names)


def _opt_outs(mandator: str, settings: MandatorSettings, state: State, now: datetime) -> OptOuts | None:
    to_crm, to_absence = list_delays(mandator, settings.lists, state, now, timedelta(days=PERIOD))
    spread_to_crm, spread_to_absence = Delays.summarize(to_crm), Delays.summarize(to_absence)
    if spread_to_crm is None or spread_to_absence is None:
        return None
    waits = Counter(next((step for step in WAITS if delay <= step), None) for delay in to_absence)
    return OptOuts(spread_to_crm, spread_to_absence, {step: waits[step] for step in (*WAITS, None)})


class _ListCollector:
    """Collects the numbers of one list."""

    def __init__(
        self,
        configuration: Configuration,
        mandator: str,
        judged: Judged,
        state: State,
        view: StateView,
        frames: FileStorage,
        now: datetime,
    ) -> None:
        self._mandator, self._name, self._judged = mandator, judged.name, judged
        settings = configuration.mandators[mandator]
        section, ui_url = settings.lists[judged.name], configuration.alarms.ui_url
        self._display_name = section.display_name(judged.name)
        self._owners = section.owners or settings.owners
        page = recipient_list_page(mandator, judged.name, prefix=configuration.prefix)
        self._page = f"{ui_url.rstrip('/')}{page}" if ui_url else None
        self._list_id, self._zone = section.recipient_list_id, settings.zone
        self._state, self._view, self._frames, self._now = state, view, frames, now

    def report(self) -> ListReport:
        """Return everything about the list."""
        proven = self._state.replacement_history.proven(self._mandator, self._name, self._list_id)
        newest = proven[0] if proven else None
        before = self._last_of_an_earlier_day(proven)
        days = [self._day(self._now) - timedelta(days=ago) for ago in reversed(range(PERIOD))]
        # One more day, for replacements that began before midnight.
        replacements = self._state.report_queries.replacements(
            self._mandator, self._name, self._now - timedelta(days=PERIOD + 1)
        )
        last = self._view.of_list(self._mandator, self._name, self._list_id).proven
        rejected = self._state.report_queries.rejection_counts(last) if last else None
        return ListReport(
            name=self._name,
            display_name=self._display_name,
            owners=self._owners,
            page=self._page,
            status=self._judged.status.readiness,
            since=self._judged.status.since,
            drift=self._judged.drift,
            attempt=self._judged.attempt,
            refused_people=self._refused_people(),
            people=newest.in_list if newest else None,
            before=before.in_list if before else None,
            before_at=before.proven_at if before else None,
            proof=_reported_proof(newest, last) if newest and last else None,
            days=tuple(self._list_day(day, replacements) for day in days),
            movement=self._movement(before, newest) if before and newest else None,
            kept_out=None if rejected is None else _by_reason(rejected),
            newly_kept_out=self._newly_kept_out(proven, days),
            refused_now=self._refused_by_code([entry for entry in replacements if last and entry.id == last.id]),
            refused_lately=self._refused_by_code([entry for entry in replacements if self._ended(entry) in days]),
        )

    def _refused_people(self) -> int | None:
        attempt = self._judged.attempt
        if attempt is None or not any(finding.check == SIZE for finding in attempt.refusals):
            return None
        snapshot = self._state.snapshots.latest(self._mandator, self._name)
        return snapshot.rows if snapshot and snapshot.run_id == attempt.run_id else None

    def _last_of_an_earlier_day(self, proven: Sequence[ProvenList]) -> ProvenList | None:
        return next((entry for entry in proven if self._day(entry.proven_at) < self._day(proven[0].proven_at)), None)

    def _list_day(self, day: date, replacements: Sequence[Replacement]) -> ListDay:
        interrupted = any(
            entry.cleared_at
            and entry.state is not ReplacementState.PROVEN
            and self._day(entry.started_at) == day
            and not self._is_running(entry)
            for entry in replacements
        )
        of_day = [
            entry for entry in replacements if entry.state is ReplacementState.PROVEN and self._ended(entry) == day
        ]
        if not of_day:
            return ListDay(day, interrupted=interrupted)
        last = of_day[-1]
        return ListDay(
            day,
            people=last.in_list,
            dropped=last.dropped,
            refused=_refused(last),
            swept=last.swept,
            incomplete_for=_incomplete_for(last),
            interrupted=interrupted,
        )

    def _refused_by_code(self, replacements: Sequence[Replacement]) -> dict[int, int]:
        proven = {entry.id: entry for entry in replacements if entry.state is ReplacementState.PROVEN}
        total: Counter[int] = Counter()
        for replace_id, codes in self._state.report_queries.answers(list(proven)).items():
            total.update(refused_by_code(codes, _refused(proven[replace_id]) or 0))
        return dict(sorted(total.items()))

    def _newly_kept_out(self, proven: Sequence[ProvenList], days: Sequence[date]) -> dict[date, Mapping[str, int]]:
        if not proven:
            return {}
        by_day: defaultdict[date, Counter[str]] = defaultdict(Counter)
        since = max(proven[-1].proven_at, self._now - timedelta(days=PERIOD + 1))
        counts = self._state.report_queries.new_rejections(self._mandator, self._name, since)
        for (moment, reason), people in counts.items():
            by_day[self._day(moment)][reason] += people
        return {day: dict(by_day[day]) for day in days if day in by_day}

    def _movement(self, before: ProvenList, newest: ProvenList) -> Movement | None:
        history = self._state.replacement_history
        try:
            snapshots = [self._frames.read_frame(proven.file, proven.digest, _ENTITY) for proven in (before, newest)]
        except FileStorageError:
            return None
        old, new = (
            list_members(snapshot, proven, history.rejected_rows(proven))
            for snapshot, proven in zip(snapshots, (before, newest), strict=True)
        )
        old_keys, new_keys = set(entity_keys(old.rows)), set(entity_keys(new.rows))
        rejections, in_snapshot = history.explanations(newest), set(entity_keys(snapshots[1]))
        left: Counter[str] = Counter()
        erased = self._erased() if old_keys - new_keys - rejections.keys() else NO_ERASURES
        for key in old_keys - new_keys:
            own = [*rejections.get(key, []), *rejections.get(erased.rejected_record(key), [])]
            rejection = absence_reason(own, newest, in_snapshot=key in in_snapshot)
            left[rejection.reason if rejection else NOT_PICKED] += 1
        return Movement(before.proven_at, len(new_keys - old_keys), dict(left), old.uncertain + new.uncertain)

    def _erased(self) -> Erased:
        """Return the erased people. Without their key no list is replaced, so that there is nothing new to explain."""
        try:
            return self._state.erasures.erased()
        except (ErasureKeyError, FileStorageError):
            return NO_ERASURES

    def _is_running(self, entry: Replacement) -> bool:
        return not entry.state.has_ended and entry.recipient_list_id in self._view.locks.living

    def _ended(self, entry: Replacement) -> date:
        return self._day(entry.finished_at or entry.started_at)

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()


def refused_by_code(codes: Mapping[int, int], refused: int) -> dict[int, int]:
    """Return how many rows of a replacement the vendor rejected, by its code.

    Rows that failed at the vendor, or that it already had, are sent again or counted again: of these codes only what
    remains of the total is counted.

    Args:
        codes: the vendor's answers to all rows, including those that were sent again.
        refused: how many rows were rejected in the end.
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


def _reported_proof(newest: ProvenList, last: Replacement) -> ReportedProof:
    return ReportedProof(
        proven_at=newest.proven_at,
        frozen_at=newest.frozen_at,
        equal=newest.in_list or 0,
        snapshot_id=newest.snapshot_id,
        digest=newest.digest,
        incomplete_for=_incomplete_for(last),
        data_of=min((at for at in (newest.people_of, newest.consents_of) if at is not None), default=None),
    )


def _refused(entry: Replacement) -> int | None:
    return entry.sent - entry.accepted if entry.sent is not None and entry.accepted is not None else None


def _incomplete_for(entry: Replacement) -> timedelta | None:
    return entry.finished_at - entry.cleared_at if entry.finished_at and entry.cleared_at else None


def _by_reason(rejected: Mapping[Turned, int]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for (_, reason, _), people in rejected.items():
        total[reason] += people
    return dict(total.most_common())
