"""`campaign-sync run` and `replay`: a mandator's daily replacement in this process, with its progress and outcome."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.output import print_problem
from campaign_sync.cli.progress_bar import live_progress
from campaign_sync.cli.report import report_after_run
from campaign_sync.cli.run_outcomes import ListOutcome, list_outcome, outcome_table
from campaign_sync.cli.user import user_and_host
from campaign_sync.config import Configuration
from campaign_sync.definitions import build_definitions
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_key, replacement_keys
from campaign_sync.orchestration.assets.recipient_list import REPLAY_TAG
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG, daily_job_name
from campaign_sync.orchestration.dead_runs import end_dead_runs
from campaign_sync.sqlite import remedy
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
_ACTIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class NextSteps:
    """What error messages advise to do next."""

    again: str
    """The command that starts the replacement again."""
    ui: str = "`campaign-sync dev`"
    """What shows the runs in Dagster's UI."""
    if_dead: str = "terminate it on its page in Dagster's UI (`campaign-sync dev`)"
    """What ends a run whose process doesn't exist any more."""

    @classmethod
    def for_instance(cls, again: str) -> "NextSteps":
        """Return the advice for the instance in use. One that `DAGSTER_HOME` names has its own UI and daemon."""
        if os.environ.get("DAGSTER_HOME"):
            return cls(again, "Dagster's UI", "terminate it on its page in Dagster's UI")
        return cls(again)


def run_daily_replacement(
    configuration: Configuration,
    mandator: str,
    lists: Sequence[str] | None,
    console: Console,
    next_steps: NextSteps,
    *,
    accept_size: str | None = None,
    accept_withdrawals: str | None = None,
) -> bool:
    """Run the daily job of `mandator`, restricted to `lists` if given. Returns whether every list was proven.

    `accept_size` is the reason why these lists may have an implausible size, this once. `accept_withdrawals` is the
    reason why withdrawals of their opt-ins that were reported as vanished don't count any more.

    Raises:
        CommandError: another run replaces lists of this mandator.
        KeyboardInterrupt: it was interrupted; the lists that it left incomplete have been printed.
    """
    names = list(dict.fromkeys(lists or configuration.mandators[mandator].lists))
    run_id = str(uuid4())
    _accept(configuration, run_id, mandator, names, accept_size, accept_withdrawals)
    return _run(configuration, mandator, names, replacement_keys(mandator, names), console, next_steps, run_id=run_id)


def _accept(
    configuration: Configuration,
    run_id: str,
    mandator: str,
    names: Sequence[str],
    size: str | None,
    withdrawals: str | None = None,
) -> None:
    """Record for a run why the size of these lists is accepted, and why vanished withdrawals are."""
    if size is None and withdrawals is None:
        return
    who, now = user_and_host(), datetime.now(UTC)
    with State(configuration.storage.state_url.get_secret_value()) as state:
        for name in names:
            if size is not None:
                state.recipient_lists.accept_size(SizeAcceptance(run_id, mandator, name, who, size, now))
            if withdrawals is not None:
                state.known_withdrawals.accept(WithdrawalAcceptance(run_id, mandator, name, who, withdrawals, now))


def replay(
    configuration: Configuration,
    mandator: str,
    name: str,
    snapshot_id: str | None,
    console: Console,
    next_steps: NextSteps,
    *,
    accept_size: str | None = None,
) -> bool:
    """Refill a list from a proven snapshot, by default the last one. Returns whether the list was proven.

    Raises:
        CommandError: there is no such snapshot, or another run replaces lists of this mandator.
        KeyboardInterrupt: it was interrupted; the list that it left incomplete has been printed.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        proven = state.replacements.proven_snapshots(mandator, name)
    if not proven:
        raise CommandError(f"{mandator}/{name} has no proven snapshot; only those can be replayed", SOMETHING_FAILED)
    chosen = snapshot_id or proven[0]
    if chosen not in proven:
        raise CommandError(
            f"{mandator}/{name} has no proven snapshot {chosen}; the newest are {', '.join(proven[:5])}",
            SOMETHING_FAILED,
        )
    asset = asset_key(mandator, AssetKind.RECIPIENT_LIST, name)
    run_id = str(uuid4())
    _accept(configuration, run_id, mandator, [name], accept_size)
    return _run(configuration, mandator, [name], [asset], console, next_steps, run_id=run_id, tags={REPLAY_TAG: chosen})


def _run(
    configuration: Configuration,
    mandator: str,
    names: Sequence[str],
    assets: Sequence[dg.AssetKey],
    console: Console,
    next_steps: NextSteps,
    *,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> bool:
    job = build_definitions(configuration, datetime.now(UTC)).resolve_job_def(daily_job_name(mandator))
    with (
        _instance_errors(configuration, mandator, names, next_steps),
        dg.DagsterInstance.get() as instance,
        State(configuration.storage.state_url.get_secret_value()) as state,
        _only_run(instance, state, mandator, run_id, next_steps),
        live_progress(console, mandator),
    ):
        result = job.execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            run_id=run_id,
            asset_selection=list(assets),
            raise_on_error=False,
            tags=tags,
        )
    found_problems = problems(result, next_steps.ui)
    _print_problems(console, found_problems)
    try:
        with State(configuration.storage.state_url.get_secret_value()) as state:
            outcomes = [list_outcome(result, state.replacements, mandator, name) for name in names]
    except StateError as error:
        if not any(str(error) in sentence for sentence in found_problems):
            print_problem(console, str(error))
        outcomes = []
    else:
        console.print(outcome_table(mandator, outcomes))
    if was_interrupted(result):
        _print_problems(console, ["interrupted", *_left_incomplete(outcomes, next_steps)])
        raise KeyboardInterrupt
    if outcomes:  # else the state can't be read, which has been printed
        report_after_run(configuration, mandator, run_id, console)
    proven = result.success and not found_problems and bool(outcomes) and all(outcome.proven for outcome in outcomes)
    if not proven and not found_problems:
        print_problem(console, f"the run failed, and none of its steps says why; {next_steps.ui} shows the run's page")
    return proven


def problems(result: dg.ExecuteInProcessResult, ui: str = NextSteps.ui) -> list[str]:
    """Return what went wrong, failed checks first; assets that failed for the same reason share a sentence."""
    places_by_reason: dict[str, list[str]] = {}
    failures = [
        ((event.step_key or "run").replace("__", "/"), reason)
        for event in result.get_step_failure_events()
        if (reason := _reason(event, ui))
    ]
    for check in result.get_asset_check_evaluations():
        asset = "/".join(check.asset_key.path)
        asset_failed = any(place == asset for place, _ in failures)
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR and not asset_failed:
            places_by_reason.setdefault(f"{check.check_name} – {check.description}", []).append(asset)
    for place, reason in failures:
        places_by_reason.setdefault(reason, []).append(place)
    return [f"{', '.join(places)}: {reason}" for reason, places in places_by_reason.items()]


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Return whether Ctrl-C or SIGTERM ended the run, which Dagster records as a failure."""
    return any(error.cls_name in _INTERRUPTS for error in _errors(result))


def _errors(result: dg.ExecuteInProcessResult) -> Iterator["dg.SerializableErrorInfo"]:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            yield event.step_failure_data.error
        elif event.is_job_failure and event.job_failure_data.error:
            yield event.job_failure_data.error


@contextmanager
def _only_run(
    instance: dg.DagsterInstance, state: State, mandator: str, run_id: str, next_steps: NextSteps
) -> Iterator[None]:
    """Record heartbeats of a run that is about to begin; raise CommandError unless it is the mandator's only one.

    They begin before the run: if this process is killed, a run without heartbeats would be waited for.
    """
    end_dead_runs(instance, state)
    _require_no_other_run(instance, mandator, next_steps)
    with state.heartbeats.keep_alive(run_id):
        yield


def _require_no_other_run(instance: dg.DagsterInstance, mandator: str, next_steps: NextSteps) -> None:
    """Raise CommandError if a run of the mandator is active: runs in this process don't pass Dagster's queue."""
    active_runs = dg.RunsFilter(tags={MANDATOR_TAG: mandator}, statuses=_ACTIVE)
    for record in instance.get_run_records(active_runs, limit=1):
        raise CommandError(
            f"{mandator} is being replaced already, by run {record.dagster_run.run_id}, "
            f"started {record.create_timestamp:%Y-%m-%d %H:%M} UTC; wait until it has ended, "
            f"or if it is dead, {next_steps.if_dead}",
            SOMETHING_FAILED,
        )


@contextmanager
def _instance_errors(
    configuration: Configuration, mandator: str, names: Sequence[str], next_steps: NextSteps
) -> Iterator[None]:
    """Raise CommandError for errors of Dagster's storage, as on a full disk; the message names incomplete lists."""
    try:
        yield
    except SQLAlchemyError as error:
        home = os.environ.get("DAGSTER_HOME")
        original = getattr(error, "orig", None) or error
        advice = remedy(original) or "make sure that its database runs and can be reached, then try again"
        problem = f"the run ended because Dagster's instance in {home} failed: {type(original).__name__}; {advice}"
        incomplete: list[Replacement] = []
        with suppress(StateError), State(configuration.storage.state_url.get_secret_value()) as state:
            newest = (state.replacements.incomplete(mandator, name) for name in names)
            incomplete = [replacement for replacement in newest if replacement]
        raise CommandError("; ".join([problem, *_incomplete(incomplete, next_steps)]), SOMETHING_FAILED) from None


def _incomplete(replacements: Sequence[Replacement], next_steps: NextSteps) -> list[str]:
    return [
        f"{replacement.mandator}/{replacement.list} is INCOMPLETE since "
        f"{replacement.cleared_at:%Y-%m-%d %H:%M:%S} UTC; send nothing to it and run `{next_steps.again}` again"
        for replacement in replacements
    ]


def _left_incomplete(outcomes: Sequence[ListOutcome], next_steps: NextSteps) -> list[str]:
    return _incomplete(
        [outcome.replacement for outcome in outcomes if outcome.incomplete and outcome.replacement], next_steps
    )


def _print_problems(console: Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print_problem(console, sentence)


def _reason(event: dg.DagsterEvent, ui: str) -> str | None:
    """Return why a step failed; None if a failed check says it, or if it was interrupted."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    if error is None or error.cls_name in ("DagsterAssetCheckFailedError", *_INTERRUPTS):
        return None
    return f"{(error.cause or error).cls_name}; {ui} shows the run's page, with the details"
