"""The newest day of each mandator, derived from Dagster's runs of it and from the journal."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from campaign_sync.config import MAX_GROUPS, Configuration, MandatorSettings
from campaign_sync.domain.day import (
    Completion,
    CompletionLimits,
    Day,
    DayOutcome,
    DayRun,
    ListProof,
    RunEnd,
    StepFailure,
    assess_day,
    next_completion,
)
from campaign_sync.domain.groups import divide_lists
from campaign_sync.orchestration.asset_keys import asset_name, feedback_keys, list_keys, replacement_keys
from campaign_sync.orchestration.cron import next_tick
from campaign_sync.orchestration.daily_replacement import (
    BUSY,
    GROUP,
    GROUP_OF,
    GROUPS,
    PLANNED_FOR,
    STALE_AFTER,
    daily_job_name,
)
from campaign_sync.orchestration.dead_runs import awaits_retry
from campaign_sync.orchestration.errors import RETRYABLE
from campaign_sync.orchestration.names import MANDATOR_TAG, lane_tags, mandators_by_value
from campaign_sync.orchestration.repair_hindrances import RepairHindrances
from campaign_sync.orchestration.run_limits import MAX_FRUITLESS, MAX_RUNS, RETRY_INTERVAL
from campaign_sync.orchestration.turns import turns_of
from campaign_sync.reports.daily_report import UnfinishedDay
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView

COMPLETES = "campaign_sync/completes"
"""Tag of the runs that complete a day: the value of `PLANNED_FOR` of its planned run."""

FEEDBACK_AGE = timedelta(hours=1)
"""How long after the feedback the runs of groups may be started that rely on it. Later, it is imported again."""

_REACH = timedelta(hours=27)
"""How far back runs are read: no day is completed later."""

_ROOT_RUN = "dagster/root_run_id"

_STEP_BEGINS = {DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED, DagsterEventType.STEP_UP_FOR_RETRY}
_STEP_ENDS = {DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE}


@dataclass(frozen=True)
class MandatorDay:
    """The newest day of a mandator."""

    mandator: str
    planned_for: str
    """The value of `PLANNED_FOR` of its planned run."""
    planned_at: datetime
    """That time, or when the day began where none was planned."""
    day: Day
    completion: Completion
    """What completes it, as of now."""
    sizes: Mapping[str, int]
    """How many recipients its lists had at their last proof."""
    prefix: str = ""
    """Of its names in Dagster."""
    hindrance: str | None = None
    """Why what is ahead isn't done, and what to do, from `RepairHindrances`."""

    @property
    def is_completed_later(self) -> bool:
        """Whether a further run will be started without a person."""
        return self.completion.stage.is_ahead and self.hindrance is None


def unfinished_days(
    configuration: Configuration,
    instance: DagsterInstance,
    state: State,
    mandators: Collection[str],
    now: datetime,
    hindrances: RepairHindrances | None = None,
) -> dict[str, MandatorDay]:
    """Return the newest day of each of these mandators of which a run has failed or was cancelled, or that has groups.

    Other days have no list that further runs would complete; they cost one statement in all.

    Args:
        configuration: has the mandators.
        instance: has their runs.
        state: has what these did.
        mandators: keys of the configuration.
        now: the current time.
        hindrances: of the completion of days; None for what does that itself.
    """
    if not mandators:
        return {}
    by_value = mandators_by_value(mandators, prefix=configuration.prefix)
    stopped = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
    since = now - _REACH
    tags = {MANDATOR_TAG: sorted(by_value)}
    failed = instance.get_run_records(dg.RunsFilter(tags=tags, statuses=stopped, created_after=since))
    grouped = _with_groups(configuration, instance, by_value, since)
    candidates = {
        run.tags[MANDATOR_TAG] for run in (*(record.dagster_run for record in failed), *grouped) if _day_of(run)
    }
    if not candidates:
        return {}
    tags = {MANDATOR_TAG: sorted(candidates)}
    records = instance.get_run_records(dg.RunsFilter(tags=tags, created_after=since))
    days, view = {}, state.view()  # after Dagster's runs: see `StateView`
    for value in sorted(candidates):
        mandator = by_value[value]
        of_mandator = [record for record in records if record.dagster_run.tags[MANDATOR_TAG] == value]
        planned_for = _newest_day(of_mandator)
        if planned_for is not None:
            of_day = [record for record in of_mandator if _day_of(record.dagster_run) == planned_for]
            today = _mandator_day(configuration, instance, view, mandator, planned_for, of_day, now)
            if hindrances and today.completion.stage.is_ahead:
                today = replace(today, hindrance=hindrances.of(mandator))
            days[mandator] = today
    return days


def _with_groups(
    configuration: Configuration, instance: DagsterInstance, by_value: Mapping[str, str], since: datetime
) -> Sequence[DagsterRun]:
    """Return the runs that have imported the feedback for groups."""
    values = sorted(value for value, mandator in by_value.items() if configuration.mandators[mandator].groups > 1)
    if not values:
        return ()
    tags = {MANDATOR_TAG: values, GROUPS: [str(number) for number in range(2, MAX_GROUPS + 1)]}
    imported = dg.RunsFilter(tags=tags, statuses=[DagsterRunStatus.SUCCESS], created_after=since)
    return instance.get_runs(imported)


def completing_run(today: MandatorDay) -> dg.RunRequest:
    """Return the run that completes a day: a daily run, with the feedback first, of the lists that are left.

    While no group of its lists has begun, it imports the feedback alone, and the groups follow.
    """
    job_name = daily_job_name(today.mandator, prefix=today.prefix)
    run_key = f"{today.mandator}:{today.planned_for}:{today.completion.number}"
    tags = {COMPLETES: today.planned_for}
    if today.day.has_groups_only:
        return dg.RunRequest(
            job_name=job_name,
            run_key=run_key,
            asset_selection=feedback_keys(today.mandator, prefix=today.prefix),
            tags={**tags, GROUPS: str(len(today.day.free_groups))},
        )
    return dg.RunRequest(
        job_name=job_name,
        run_key=run_key,
        asset_selection=replacement_keys(today.mandator, today.completion.lists, prefix=today.prefix),
        tags=tags,
    )


def group_runs(today: MandatorDay, settings: MandatorSettings) -> list[dg.RunRequest]:
    """Return the runs of the groups of a day that no run was started for yet.

    What is started stays as it is: the selection of a run says which lists its group has. A tick that is interrupted
    between two of them is repeated for the others, by their run keys at most once.
    """
    prefix, groups = today.prefix, today.day.free_groups
    turns = turns_of({name: settings.lists[name].priority for name in today.completion.lists})
    in_order = sorted(turns, key=lambda name: -turns[name].number)
    return [
        dg.RunRequest(
            job_name=daily_job_name(today.mandator, prefix=prefix),
            run_key=f"{today.mandator}:{today.planned_for}:group:{group}",
            asset_selection=[key for name in lists for key in list_keys(today.mandator, name, prefix=prefix)],
            tags={
                GROUP_OF: today.planned_for,
                GROUP: str(group),
                **lane_tags(today.mandator, max(settings.parallel_runs, *groups), group=group, prefix=prefix),
            },
        )
        for group, lists in divide_lists(in_order, today.sizes, groups).items()
    ]


def given_up(today: MandatorDay) -> str:
    """Return that no further run completes a day, and what helps."""
    lists = today.completion.lists
    return (
        f"{', '.join(lists)} of {today.mandator} weren't replaced on the day planned for {today.planned_for}, though "
        f"{today.completion.number} runs were started to complete it. Read why the last one failed, then run "
        f"`{' '.join(['campaign-sync run', today.mandator, *(f'--list {name}' for name in lists)])}`"
    )


def too_late(today: MandatorDay) -> str:
    """Return that lists wait for their groups, which aren't started any more, and what helps."""
    lists = today.completion.lists
    again = " ".join(["campaign-sync run", today.mandator, *(f"--list {name}" for name in lists)])
    return (
        f"{', '.join(lists)} of {today.mandator} weren't replaced on the day planned for {today.planned_for}, and it "
        f"is too late to begin now; if they should still be replaced, run `{again}`"
    )


def reported_day(today: MandatorDay | None) -> UnfinishedDay | None:
    """Return what the report says of a day; None if all its lists are there."""
    if today is None or not today.day.missing:
        return None
    incomplete = DayOutcome.INCOMPLETE
    missing = [name for name, outcome in today.day.missing.items() if outcome is not incomplete]
    ahead = today.is_completed_later
    refused = [name for name in missing if not ahead or today.day.outcomes[name] is DayOutcome.REFUSED]
    return UnfinishedDay(today.planned_at, tuple(name for name in missing if name not in refused), tuple(refused))


def _mandator_day(
    configuration: Configuration,
    instance: DagsterInstance,
    view: StateView,
    mandator: str,
    planned_for: str,
    records: Sequence[dg.RunRecord],
    now: datetime,
) -> MandatorDay:
    settings = configuration.mandators[mandator]
    lists = list(settings.lists)
    subjects = _subjects(mandator, lists, settings.prefix)
    states = {name: view.of_list(mandator, name, list_id) for name, list_id in settings.recipient_list_ids.items()}
    proofs = {name: state.proven for name, state in states.items()}
    day = assess_day(
        lists,
        [_day_run(instance, record, subjects, now) for record in records],
        {name: ListProof(proof.run_id, proof.started_at) for name, proof in proofs.items() if proof},
        [name for name, state in states.items() if state.incomplete],
    )
    planned = _moment(planned_for) or day.runs[0].created_at
    latest = latest_completion(settings, planned)
    limits = CompletionLimits(MAX_RUNS, MAX_FRUITLESS, RETRY_INTERVAL, latest, FEEDBACK_AGE)
    sizes = {name: proof.in_list for name, proof in proofs.items() if proof and proof.in_list is not None}
    return MandatorDay(mandator, planned_for, planned, day, next_completion(day, limits, now), sizes, settings.prefix)


def latest_completion(settings: MandatorSettings, planned: datetime) -> datetime:
    """Return until when a further run may begin that completes the day planned for a moment.

    That is as late as the schedule begins a day, or as long after the day's deadline; never after the next planned day.
    """
    due = next_tick(settings.deadline, settings.zone, planned) if settings.deadline else planned
    latest = due + STALE_AFTER
    return min(latest, next_tick(settings.schedule, settings.zone, planned)) if settings.schedule else latest


def completed_day(settings: MandatorSettings, record: dg.RunRecord, now: datetime) -> str | None:
    """Return the day of a run if none may begin any more that completes it, else None.

    It is the value of `PLANNED_FOR` of its planned run; of a run without a day its id.
    """
    day = _day_of(record.dagster_run) or record.dagster_run.run_id
    planned = _moment(day) or record.create_timestamp.astimezone(UTC)
    return day if now > latest_completion(settings, planned) else None


def _day_of(run: DagsterRun) -> str | None:
    return run.tags.get(PLANNED_FOR) or run.tags.get(COMPLETES) or run.tags.get(GROUP_OF)


def _newest_day(records: Sequence[dg.RunRecord]) -> str | None:
    planned = [record for record in records if PLANNED_FOR in record.dagster_run.tags]
    newest = max(planned, key=lambda record: record.create_timestamp, default=None)
    return newest.dagster_run.tags[PLANNED_FOR] if newest else None


def _moment(planned_for: str) -> datetime | None:
    """Return the planned time; None where a day has none, because the CRM's export alone starts it."""
    try:
        moment = datetime.fromisoformat(planned_for)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _subjects(mandator: str, lists: Iterable[str], prefix: str) -> dict[str, str | None]:
    """Return the list of each step that leads to one, by the step's key; None for the steps of the feedback."""
    keys: dict[dg.AssetKey, str | None] = dict.fromkeys(feedback_keys(mandator, prefix=prefix))
    keys |= {key: name for name in lists for key in list_keys(mandator, name, prefix=prefix)}
    return {key.to_python_identifier(): name for key, name in keys.items()}


def _day_run(
    instance: DagsterInstance, record: dg.RunRecord, subjects: Mapping[str, str | None], now: datetime
) -> DayRun:
    run = record.dagster_run
    groups = _number(run.tags.get(GROUPS)) or 0  # after this run, which has none itself, all lists follow
    selected = [asset_name(key).recipient_list for key in run.asset_selection or ()]  # of the whole job: nothing
    lists = {name for name in (not groups and selected) or subjects.values() if name}
    end = _end(record, now)
    failures, interrupted = _stopped_steps(instance, run.run_id, subjects) if end is RunEnd.FAILED else ((), ())
    return DayRun(
        run_id=run.run_id,
        created_at=record.create_timestamp.astimezone(UTC),
        end=end,
        lists=frozenset(lists),
        failures=tuple(failures),
        interrupted=frozenset(interrupted),
        ended_at=datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
        completes=COMPLETES in run.tags and _ROOT_RUN not in run.tags,
        groups=groups,
        group=_number(run.tags.get(GROUP)),
    )


def _number(tag: str | None) -> int | None:
    """Return the number that a tag has; None for any other text, which a person may have written."""
    return int(tag) if tag and tag.isdecimal() else None


def _end(record: dg.RunRecord, now: datetime) -> RunEnd:
    run = record.dagster_run
    if run.status in BUSY or awaits_retry(record, now):
        return RunEnd.IN_PROGRESS
    if run.status is DagsterRunStatus.CANCELED:
        return RunEnd.CANCELED
    return RunEnd.SUCCEEDED if run.status is DagsterRunStatus.SUCCESS else RunEnd.FAILED


def _stopped_steps(
    instance: DagsterInstance, run_id: str, subjects: Mapping[str, str | None]
) -> tuple[list[StepFailure], set[str]]:
    """Return the steps of a run that failed, and the lists on which it worked when its process ended."""
    newest: dict[str, dg.EventLogEntry] = {}
    for entry in instance.all_logs(run_id, of_type=_STEP_BEGINS | _STEP_ENDS):
        if (step := entry.step_key or "") in subjects:
            newest[step] = entry
    failures, interrupted = [], set()
    for step, entry in newest.items():
        event, name = entry.get_dagster_event(), subjects[step]
        if event.event_type is DagsterEventType.STEP_FAILURE and not _is_interrupted(event):
            failures.append(StepFailure(name, _may_pass(event)))
        elif event.event_type in _STEP_BEGINS and name:
            interrupted.add(name)
    return failures, interrupted


def _is_interrupted(event: dg.DagsterEvent) -> bool:
    """Return whether a step ended because its process was asked to end, as when a machine is shut down."""
    error = event.step_failure_data.error
    kinds = {error.cls_name, error.cause.cls_name if error.cause else None} if error else set()
    return "DagsterExecutionInterruptedError" in kinds


def _may_pass(event: dg.DagsterEvent) -> bool:
    """Return whether a step failed for a reason that may pass. Of errors that aren't ours that isn't known."""
    failure = event.step_failure_data.user_failure_data
    value = failure.metadata.get(RETRYABLE) if failure else None
    return value is not None and value.value is True
