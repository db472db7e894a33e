"""What a late list waits for: a run in the queue or under way, its group, a further run of the day, or a person."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import dagster as dg
from dagster import DagsterRunStatus

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.day import CompletionStage, DayOutcome
from campaign_sync.domain.incident import FEEDBACK, Subject
from campaign_sync.domain.message import Message
from campaign_sync.domain.moment import moment
from campaign_sync.orchestration.daily_replacement import BUSY, GROUPS
from campaign_sync.orchestration.mandator_days import MandatorDay
from campaign_sync.orchestration.run_failures import NewestRuns

_QUEUED = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED)

_NOT_STARTED: Final = {
    CompletionStage.TOO_LATE: Message("it is too late to begin it now"),
    CompletionStage.CANCELED: Message("a run of the day was cancelled"),
    CompletionStage.GIVEN_UP: Message("further runs of the day have failed"),
}
"""Why the rest of a day isn't replaced any more."""


def awaited_run(
    newest: NewestRuns, settings: MandatorSettings, today: Callable[[], MandatorDay | None], name: str
) -> str | None:
    """Return what a list waits for and what to do, in sentences; None if its newest run has succeeded or there is none.

    Args:
        newest: the newest runs of the mandator's assets.
        settings: of the mandator.
        today: returns the mandator's newest day, if it isn't complete.
        name: of the list.
    """
    command = f"`campaign-sync run {newest.monitored.mandator} --list {name}`"
    return (
        _busy_run(newest, settings, name, command)
        or _rest_of_the_day(today(), name, command)
        or _ended_run(newest, settings, name, command)
    )


def _busy_run(newest: NewestRuns, settings: MandatorSettings, name: str, command: str) -> str | None:
    run = Message("A run that replaces it")
    busy = [record for record in _runs(newest, Subject.of_list(name)) if record.dagster_run.status in BUSY]
    if not busy:
        run = Message("The run that imports the feedback before its group")
        feedback = (record for record in _runs(newest, FEEDBACK) if GROUPS in record.dagster_run.tags)
        busy = [record for record in feedback if record.dagster_run.status in BUSY]
    if not busy:
        return None
    record = busy[0]
    began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
    since = moment(began, settings.zone)
    if record.dagster_run.status in _QUEUED:
        return Message(
            "{run} waits in Dagster's queue since {moment}: its page says for what. A further run would wait behind "
            "it.",
            run=run,
            moment=since,
        )
    return Message(
        "{run} was started at {moment} and hasn't ended: its page shows at what it works. If it hangs, terminate it "
        "there, and run {command}.",
        run=run,
        moment=since,
        command=command,
    )


def _rest_of_the_day(today: MandatorDay | None, name: str, command: str) -> str | None:
    if today is None or name not in today.completion.lists:
        return None
    waits_for_group = today.day.outcomes[name] is DayOutcome.AWAITS_GROUP
    run = Message("The run of its group of lists") if waits_for_group else Message("A further run of the day")
    if today.hindrance:
        return Message(
            "{run} isn't started, because {hindrance}. To replace it at once, run {command}.",
            run=run,
            hindrance=today.hindrance,
            command=command,
        )
    if today.completion.stage is CompletionStage.WAITS:
        return Message(
            "{run} is started automatically when others of the day have ended; if that doesn't happen, run {command}.",
            run=run,
            command=command,
        )
    if today.is_completed_later:
        return Message(
            "{run} is started automatically within minutes; if that doesn't happen, run {command}.",
            run=run,
            command=command,
        )
    reason = _NOT_STARTED.get(today.completion.stage)
    return reason and Message(
        "{run} isn't started any more, because {reason}: run {command}.", run=run, reason=reason, command=command
    )


def _ended_run(newest: NewestRuns, settings: MandatorSettings, name: str, command: str) -> str | None:
    record = next(iter(_runs(newest, Subject.of_list(name))), None)
    if record is None:
        return None
    ended = moment(record.update_timestamp, settings.zone)
    if record.dagster_run.status is DagsterRunStatus.FAILURE:
        return Message(
            "Its newest run has failed, at {moment}: its page says why. When that is corrected, run {command}.",
            moment=ended,
            command=command,
        )
    if record.dagster_run.status is DagsterRunStatus.CANCELED:
        return Message(
            "Its newest run was cancelled, at {moment}; to replace it, run {command}.", moment=ended, command=command
        )
    return None


def _runs(newest: NewestRuns, subject: Subject) -> list[dg.RunRecord]:
    """Return the newest runs of a subject's assets, the newest first."""
    run_ids = {run_id for key, run_id in newest.run_of.items() if newest.monitored.subject(key) == subject}
    records = [newest.runs[run_id] for run_id in run_ids & newest.runs.keys()]
    return sorted(records, key=lambda record: record.create_timestamp, reverse=True)
