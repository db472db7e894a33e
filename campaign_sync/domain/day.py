"""The day of a mandator: the lists that a planned run was to replace, what became of each, and what completes them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class DayOutcome(StrEnum):
    """What has become of a list on its day."""

    PROVEN = "proven"
    """Replaced and proven since the day began."""
    INCOMPLETE = "incomplete"
    """Cleared and not full again. Its repair isn't the day's affair: it goes on beyond the day."""
    IN_PROGRESS = "in progress"
    """A run that is to replace it is queued or under way."""
    REFUSED = "refused"
    """A check refused it, or a step of it or of the feedback failed, for a reason that another run wouldn't change."""
    FAILED = "failed"
    """A step of it or of the feedback failed for a reason that may pass."""
    DIED = "died"
    """The process of a run ended while it worked on the list."""
    NOT_REACHED = "not reached"
    """Runs ended before they came to it."""
    AWAITS_GROUP = "awaits its group"
    """The feedback was imported, and the run of its group isn't started yet."""


class RunEnd(StrEnum):
    """How a run ended, as far as its day is concerned."""

    IN_PROGRESS = "in progress"
    """It hasn't: it is queued or under way, or Dagster is about to retry it."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True)
class StepFailure:
    """A step that failed, or whose check did."""

    recipient_list: str | None
    """The list that it belongs to; None for the feedback, which every list needs."""
    may_pass: bool
    """Whether the same work, begun again later, may well succeed."""


@dataclass(frozen=True)
class DayRun:
    """A run of a day: the planned one, a retry by Dagster, or one that completes the day."""

    run_id: str
    created_at: datetime
    end: RunEnd
    lists: frozenset[str]
    """The lists that it was to replace."""
    failures: tuple[StepFailure, ...] = ()
    interrupted: frozenset[str] = frozenset()
    """The lists on which it worked when its process ended."""
    ended_at: datetime | None = None
    completes: bool = False
    """Whether it was started to complete the day; False also for Dagster's retry of such a run."""
    groups: int = 0
    """Into how many groups the lists are divided after it, if it imports the feedback alone; else 0."""
    group: int | None = None
    """The number of the group that it replaces; None for all other runs."""


@dataclass(frozen=True)
class ListProof:
    """The newest proof of a list: the run that replaced it, and when that replacement began."""

    run_id: str
    started_at: datetime


@dataclass(frozen=True)
class Day:
    """A day of a mandator, with the outcome of each of its lists in their order."""

    runs: tuple[DayRun, ...]
    """All its runs, oldest first; at least the planned one."""
    outcomes: Mapping[str, DayOutcome]
    proven_at: datetime | None
    """When the newest replacement that was proven on this day began."""

    @property
    def missing(self) -> dict[str, DayOutcome]:
        """The lists that aren't proven on this day."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome is not DayOutcome.PROVEN}

    @property
    def free_groups(self) -> tuple[int, ...]:
        """The numbers of the groups that no run was started for yet."""
        started = {run.group for run in self.runs}
        numbers = range(1, max(run.groups for run in self.runs) + 1)
        return tuple(number for number in numbers if number not in started)

    @property
    def has_groups_only(self) -> bool:
        """Whether all its runs so far imported the feedback alone, for groups of which none has begun."""
        return all(run.groups for run in self.runs)

    @property
    def feedback_at(self) -> datetime | None:
        """When the feedback was last imported for groups; None if it wasn't."""
        imported = (run for run in self.runs if run.groups and run.end is RunEnd.SUCCEEDED)
        return max((run.ended_at for run in imported if run.ended_at), default=None)


def assess_day(
    lists: Sequence[str], runs: Sequence[DayRun], proofs: Mapping[str, ListProof], incomplete: Collection[str]
) -> Day:
    """Return the day that these runs make.

    Args:
        lists: the mandator's lists, in their order.
        runs: all runs of the day, in any order; at least the planned one.
        proofs: the newest proof of each list that has any.
        incomplete: the lists that were cleared and aren't full again.
    """
    ordered = tuple(sorted(runs, key=lambda run: run.created_at))
    of_day = {run.run_id for run in ordered}
    proven = {
        name: proof
        for name, proof in proofs.items()
        if proof.run_id in of_day or proof.started_at >= ordered[0].created_at
    }
    planned = [name for name in lists if any(name in run.lists for run in ordered)]
    outcomes = {
        name: DayOutcome.INCOMPLETE
        if name in incomplete
        else DayOutcome.PROVEN
        if name in proven
        else _outcome(name, [run for run in reversed(ordered) if name in run.lists])
        for name in planned
    }
    return Day(ordered, outcomes, max((proven[name].started_at for name in planned if name in proven), default=None))


def _outcome(name: str, newest_first: Sequence[DayRun]) -> DayOutcome:
    newest, *earlier = newest_first
    if newest.end is RunEnd.IN_PROGRESS:
        return DayOutcome.IN_PROGRESS
    if newest.end is RunEnd.SUCCEEDED and newest.groups:
        return DayOutcome.AWAITS_GROUP
    if newest.end is RunEnd.SUCCEEDED:
        return DayOutcome.PROVEN  # else one of its steps had failed
    if failures := list(_failures(newest, name)):
        return DayOutcome.FAILED if all(failure.may_pass for failure in failures) else DayOutcome.REFUSED
    # A run that ended before it came to the list doesn't change what the list itself came to before.
    own = [failure for run in earlier for failure in run.failures if failure.recipient_list == name]
    if not all(failure.may_pass for failure in own):
        return DayOutcome.REFUSED
    return DayOutcome.DIED if any(name in run.interrupted for run in newest_first) else DayOutcome.NOT_REACHED


def _failures(run: DayRun, name: str) -> Iterator[StepFailure]:
    return (failure for failure in run.failures if failure.recipient_list in (name, None))


@dataclass(frozen=True)
class CompletionLimits:
    """How often a day is completed by further runs, and until when."""

    max_runs: int
    """The number of runs for one day."""
    max_fruitless: int
    """The number of runs in a row after which no list more was proven."""
    interval: timedelta
    """The time between the beginnings of two such runs, and after a run whose failure may pass."""
    latest: datetime
    """No run begins later: lists planned for the night must not meet the morning's mailing."""
    feedback_age: timedelta
    """How long after the feedback groups may begin that rely on it."""


class CompletionStage(StrEnum):
    """Whether a further run completes a day."""

    COMPLETE = "complete"
    """No list is left that a further run would complete."""
    WAITS = "waits"
    """It will: a run of the day is still under way, or the next one isn't due yet."""
    DUE = "due"
    GROUPS_DUE = "groups due"
    """The runs of the groups are to be started that no run was started for yet."""
    GIVEN_UP = "given up"
    """The limits are reached."""
    TOO_LATE = "too late"
    CANCELED = "canceled"
    """A person cancelled a run of the day."""

    @property
    def is_ahead(self) -> bool:
        """Whether a further run will be started without a person."""
        return self in (CompletionStage.WAITS, CompletionStage.DUE, CompletionStage.GROUPS_DUE)


@dataclass(frozen=True)
class Completion:
    """Whether a further run completes a day, and the lists that are left for it."""

    stage: CompletionStage
    lists: tuple[str, ...] = ()
    number: int = 0
    """How many runs were started before to complete the day."""


_REPEATED = (DayOutcome.FAILED, DayOutcome.NOT_REACHED)


def next_completion(day: Day, limits: CompletionLimits, now: datetime) -> Completion:
    """Return whether a further run is to complete the day now, and with which lists.

    A list during which a process died comes last and apart: if it is what kills runs, it takes no other list with it.
    """
    waiting = _with(day, DayOutcome.AWAITS_GROUP) if day.free_groups and _relies(day, limits, now) else ()
    ready = _with(day, *_REPEATED, DayOutcome.AWAITS_GROUP)
    lists = waiting or ready or _with(day, DayOutcome.DIED)
    completions = [run for run in day.runs if run.completes]

    def completion(stage: CompletionStage) -> Completion:
        return Completion(stage, lists, len(completions))

    if any(run.end is RunEnd.CANCELED for run in day.runs):
        return completion(CompletionStage.CANCELED)
    if any(run.end is RunEnd.IN_PROGRESS for run in day.runs):
        return completion(CompletionStage.WAITS)
    if not lists:
        return completion(CompletionStage.COMPLETE)
    if now > limits.latest:
        return completion(CompletionStage.TOO_LATE)
    if waiting:
        return completion(CompletionStage.GROUPS_DUE)
    fruitless = [run for run in completions if day.proven_at is None or run.created_at >= day.proven_at]
    if len(completions) >= limits.max_runs or len(fruitless) >= limits.max_fruitless:
        return completion(CompletionStage.GIVEN_UP)
    due = now >= _earliest(day, completions, limits.interval)
    return completion(CompletionStage.DUE if due else CompletionStage.WAITS)


def _relies(day: Day, limits: CompletionLimits, now: datetime) -> bool:
    """Return whether groups that begin now may rely on the feedback that was imported for them."""
    return day.feedback_at is not None and now <= day.feedback_at + limits.feedback_age


def _with(day: Day, *outcomes: DayOutcome) -> tuple[str, ...]:
    return tuple(name for name, outcome in day.outcomes.items() if outcome in outcomes)


def _earliest(day: Day, completions: Sequence[DayRun], interval: timedelta) -> datetime:
    """Return when the next run may begin: at once after a process died, later after a failure that may pass."""
    moments = [day.runs[0].created_at]
    if completions:
        moments.append(completions[-1].created_at + interval)
    newest = day.runs[-1:] if day.runs[-1].group is None else [run for run in day.runs if run.group is not None]
    moments += [run.ended_at + interval for run in newest if run.failures and run.ended_at]
    return max(moments)
