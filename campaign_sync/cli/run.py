"""Executes a mandator's daily replace in this process, shows how far it is, and tells how it ended."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from socket import gethostname
from uuid import uuid4

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.progress_bar import live_progress
from campaign_sync.cli.report import report_after_run
from campaign_sync.cli.run_outcomes import ListOutcome, list_outcome, outcome_table
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
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class NextSteps:
    """What to do next, as one would type it."""

    again: str
    """Begins the replace once more."""
    look: str = "`campaign-sync dev`"
    """What shows the runs in Dagster's UI."""
    if_dead: str = "terminate it on its page in Dagster's UI (`campaign-sync dev`)"
    """Lets go of a run whose process is gone."""

    @classmethod
    def here(cls, again: str) -> "NextSteps":
        """As is right for the instance in use. One that `DAGSTER_HOME` names has its own UI, and a daemon already."""
        if os.environ.get("DAGSTER_HOME"):
            return cls(again, "Dagster's UI", "terminate it on its page in Dagster's UI")
        return cls(again)


def run_daily_replace(
    configuration: Configuration,
    mandator: str,
    lists: Sequence[str] | None,
    console: Console,
    advice: NextSteps,
    *,
    accept_size: str | None = None,
    accept_withdrawals: str | None = None,
) -> bool:
    """Run the daily job of `mandator`, restricted to `lists` if given. Returns whether every list was proven.

    `accept_size` is the reason why these lists may have an implausible size, this once. `accept_withdrawals` is the
    reason why withdrawals of their opt-ins that were reported as vanished don't count any more.

    Raises:
        CommandError: another run is at this mandator.
        KeyboardInterrupt: it was interrupted; what that left incomplete has been told.
    """
    names = list(dict.fromkeys(lists or configuration.mandators[mandator].lists))
    run_id = str(uuid4())
    _accept(configuration, run_id, mandator, names, accept_size, accept_withdrawals)
    return _run(configuration, mandator, names, replacement_keys(mandator, names), console, advice, run_id=run_id)


def _accept(
    configuration: Configuration,
    run_id: str,
    mandator: str,
    names: Sequence[str],
    size: str | None,
    withdrawals: str | None = None,
) -> None:
    """Note for a run why the size of these lists is accepted, and why vanished withdrawals are."""
    if size is None and withdrawals is None:
        return
    who, now = f"{getuser()}@{gethostname()}", datetime.now(UTC)
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
    advice: NextSteps,
    *,
    accept_size: str | None = None,
) -> bool:
    """Refill a list from a proven snapshot, the last one unless told otherwise. Returns whether the list was proven.

    Raises:
        CommandError: there is no such snapshot, or another run is at this mandator.
        KeyboardInterrupt: it was interrupted; what that left incomplete has been told.
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
    return _run(configuration, mandator, [name], [asset], console, advice, run_id=run_id, tags={REPLAY_TAG: chosen})


def _run(
    configuration: Configuration,
    mandator: str,
    names: Sequence[str],
    assets: Sequence[dg.AssetKey],
    console: Console,
    advice: NextSteps,
    *,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> bool:
    job = build_definitions(configuration).resolve_job_def(daily_job_name(mandator))
    with (
        _instance_errors(configuration, mandator, names, advice),
        dg.DagsterInstance.get() as instance,
        State(configuration.storage.state_url.get_secret_value()) as state,
        _alone(instance, state, mandator, run_id, advice),
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
    told = problems(result, advice.look)
    _tell(console, told)
    try:
        with State(configuration.storage.state_url.get_secret_value()) as state:
            outcomes = [list_outcome(result, state.replacements, mandator, name) for name in names]
    except StateError as error:
        if not any(str(error) in sentence for sentence in told):
            _tell(console, [str(error)])
        outcomes = []
    else:
        console.print(outcome_table(mandator, outcomes))
    if was_interrupted(result):
        _tell(console, ["interrupted", *_left_incomplete(outcomes, advice)])
        raise KeyboardInterrupt
    if outcomes:  # else the state can't be read, which has been told
        report_after_run(configuration, mandator, run_id, console)
    proven = result.success and not told and bool(outcomes) and all(outcome.proven for outcome in outcomes)
    if not proven and not told:
        _tell(console, [f"the run failed, and none of its steps says why; {advice.look} shows the run's page"])
    return proven


def problems(result: dg.ExecuteInProcessResult, look: str = NextSteps.look) -> list[str]:
    """What went wrong, failed checks first; assets that failed for one and the same reason share a sentence."""
    told: dict[str, list[str]] = {}
    failures = [
        ((event.step_key or "run").replace("__", "/"), reason)
        for event in result.get_step_failure_events()
        if (reason := _reason(event, look))
    ]
    for check in result.get_asset_check_evaluations():
        asset = "/".join(check.asset_key.path)
        speaks_for_itself = any(place == asset for place, _ in failures)
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR and not speaks_for_itself:
            told.setdefault(f"{check.check_name} – {check.description}", []).append(asset)
    for place, reason in failures:
        told.setdefault(reason, []).append(place)
    return [f"{', '.join(places)}: {reason}" for reason, places in told.items()]


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C or SIGTERM ended the run; Dagster makes a failure of it."""
    return any(error.cls_name in _INTERRUPTS for error in _errors(result))


def _errors(result: dg.ExecuteInProcessResult) -> Iterator["dg.SerializableErrorInfo"]:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            yield event.step_failure_data.error
        elif event.is_job_failure and event.job_failure_data.error:
            yield event.job_failure_data.error


@contextmanager
def _alone(instance: dg.DagsterInstance, state: State, mandator: str, run_id: str, advice: NextSteps) -> Iterator[None]:
    """Give signs of life for a run that is about to begin; it has to be the only one of the mandator.

    They come first: a run that Dagster knows and that gave none would be waited for, should this process be killed.
    """
    end_dead_runs(instance, state)
    _require_alone(instance, mandator, advice)
    with state.heartbeats.keep_alive(run_id):
        yield


def _require_alone(instance: dg.DagsterInstance, mandator: str, advice: NextSteps) -> None:
    """Runs in this process don't go through Dagster's queue, where two of one mandator would wait for each other."""
    at_it = dg.RunsFilter(tags={MANDATOR_TAG: mandator}, statuses=_UNDER_WAY)
    for record in instance.get_run_records(at_it, limit=1):
        raise CommandError(
            f"{mandator} is being replaced already, by run {record.dagster_run.run_id}, "
            f"begun {record.create_timestamp:%Y-%m-%d %H:%M} UTC; wait until it has ended, "
            f"or if it is dead, {advice.if_dead}",
            SOMETHING_FAILED,
        )


@contextmanager
def _instance_errors(
    configuration: Configuration, mandator: str, names: Sequence[str], advice: NextSteps
) -> Iterator[None]:
    """Turn what Dagster's storage raises, as on a full disk, into a sentence that also names incomplete lists."""
    try:
        yield
    except SQLAlchemyError as error:
        home = os.environ.get("DAGSTER_HOME")
        original = getattr(error, "orig", None) or error
        helps = remedy(original) or "see that its database runs and can be reached, then try again"
        told = f"the run ended because Dagster's instance in {home} failed: {type(original).__name__}; {helps}"
        incomplete: list[Replacement] = []
        with suppress(StateError), State(configuration.storage.state_url.get_secret_value()) as state:
            incomplete = [broken for name in names if (broken := state.replacements.incomplete(mandator, name))]
        raise CommandError("; ".join([told, *_incomplete(incomplete, advice)]), SOMETHING_FAILED) from None


def _incomplete(broken: Sequence[Replacement], advice: NextSteps) -> list[str]:
    return [
        f"{one.mandator}/{one.list} is INCOMPLETE since {one.cleared_at:%Y-%m-%d %H:%M:%S} UTC; "
        f"send nothing to it and run `{advice.again}` again"
        for one in broken
    ]


def _left_incomplete(outcomes: Sequence[ListOutcome], advice: NextSteps) -> list[str]:
    return _incomplete([outcome.replace for outcome in outcomes if outcome.incomplete and outcome.replace], advice)


def _tell(console: Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(f"✗ {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)


def _reason(event: dg.DagsterEvent, look: str) -> str | None:
    """The sentence of a failed step; None where it is told elsewhere: by a failed check, or as an interrupt."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    if error is None or error.cls_name in ("DagsterAssetCheckFailedError", *_INTERRUPTS):
        return None
    return f"{(error.cause or error).cls_name}; {look} shows the run's page, with the details"
