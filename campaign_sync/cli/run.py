"""`campaign-sync run`, `replay` and `apply`: a mandator's replacements, with their progress and outcome.

The daemon of the instance executes it. Where none is up, this process does.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import dagster as dg
from rich.console import Console

from campaign_sync.cli.documents import RunDocument
from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.in_process_run import execute_in_process, instance_errors
from campaign_sync.cli.next_steps import NextSteps, incomplete_lists
from campaign_sync.cli.output import LocalTime, print_problem
from campaign_sync.cli.report import report_after_run
from campaign_sync.cli.run_outcomes import ListOutcome, list_outcome, outcome_table, result_of
from campaign_sync.cli.submitted_run import execute_by_daemon
from campaign_sync.cli.user import user_and_host
from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_key, feedback_keys, replacement_keys
from campaign_sync.orchestration.assets.recipient_list import APPLY_TAG, REPLAY_TAG
from campaign_sync.orchestration.run_result import FollowedRun, RunResult
from campaign_sync.orchestration.run_submission import is_daemon_up
from campaign_sync.replacement.applied_plan import check_recorded_changes, find_plan
from campaign_sync.replacement.errors import ReplacementRefusedError, not_touched
from campaign_sync.replacement.list_approval import read_list_record
from campaign_sync.replacement.list_replacer import still_incomplete
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync.storage.state import State

_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


def run_daily_replacement(
    configuration: Configuration,
    mandator: str,
    lists: Sequence[str] | None,
    console: Console,
    next_steps: NextSteps,
    *,
    accept_size: str | None = None,
    accept_withdrawals: str | None = None,
    in_process: bool = False,
) -> RunDocument:
    """Run the daily job of `mandator`, restricted to `lists` if given. Returns what it printed.

    Args:
        configuration: has the mandator.
        mandator: its key.
        lists: keys of its lists; None for all.
        console: shows progress and outcome.
        next_steps: what messages advise.
        accept_size: the reason why these lists may have an implausible size, this once.
        accept_withdrawals: the reason why withdrawals of their opt-ins that were reported as vanished don't count any
            more.
        in_process: whether this process executes the run even if a daemon is up.

    Raises:
        CommandError: another run replaces lists of this mandator, or the daemon can't be given this one.
        KeyboardInterrupt: it was interrupted; what that means for the run and its lists has been printed.
    """
    names = list(dict.fromkeys(lists or configuration.mandators[mandator].lists))
    run_id = str(uuid4())
    _accept(configuration, run_id, mandator, names, accept_size, accept_withdrawals)
    return _run(
        configuration,
        mandator,
        names,
        replacement_keys(mandator, names, prefix=configuration.prefix),
        console,
        next_steps,
        run_id=run_id,
        in_process=in_process,
    )


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
) -> RunDocument:
    """Refill a list from a proven snapshot, by default the last one. Returns what it printed.

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
    asset = asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=configuration.prefix)
    run_id = str(uuid4())
    _accept(configuration, run_id, mandator, [name], accept_size)
    return _run(configuration, mandator, [name], [asset], console, next_steps, run_id=run_id, tags={REPLAY_TAG: chosen})


def apply_plan(configuration: Configuration, plan: StoredPlan, console: Console, next_steps: NextSteps) -> RunDocument:
    """Import the feedback, then replace a list by the snapshot of a plan. Returns what it printed.

    Raises:
        CommandError: the list isn't what it was when the plan was made, or another run replaces lists of this mandator.
        KeyboardInterrupt: it was interrupted; the list that it left incomplete has been printed.
    """
    mandator, name = plan.mandator, plan.list
    settings = list_settings(configuration, mandator, name)
    with State(configuration.storage.state_url.get_secret_value()) as state:
        applied = find_plan(state, plan.id)
        if applied is None:
            raise CommandError(f"the snapshot of plan {plan.id} isn't stored any more; plan again", SOMETHING_FAILED)
        unfinished = state.replacements.incomplete(mandator, name, settings.recipient_list_id)
        record = read_list_record(settings, state)
        outcome = check_recorded_changes(settings, applied, unfinished, record, state, datetime.now(UTC))
    if not outcome.passed:
        refused = ReplacementRefusedError(not_touched(str(settings), outcome.summary))
        raise CommandError(
            str(still_incomplete(settings, unfinished, refused) if unfinished else refused), SOMETHING_FAILED
        )
    made = LocalTime(configuration.mandators[mandator].zone)(plan.planned_at)
    console.print(f"{settings}: plan {plan.id} of {made}, {plan.rows:,} rows", soft_wrap=True)
    list_key = asset_key(mandator, AssetKind.RECIPIENT_LIST, name, prefix=configuration.prefix)
    assets = [*feedback_keys(mandator, prefix=configuration.prefix), list_key]
    tags = {APPLY_TAG: plan.id}
    return _run(configuration, mandator, [name], assets, console, next_steps, run_id=str(uuid4()), tags=tags)


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
    in_process: bool = False,
) -> RunDocument:
    """Have the daemon execute a run, or execute it here if none is up; print its outcome, and return it."""
    with instance_errors(configuration, mandator, names, next_steps), dg.DagsterInstance.get() as instance:
        result: RunResult
        if in_process or not is_daemon_up(instance):
            result = execute_in_process(
                instance, configuration, mandator, assets, console, next_steps, run_id=run_id, tags=tags
            )
            attempts: Sequence[str] = [run_id]
        else:
            result = execute_by_daemon(instance, configuration, mandator, assets, console, run_id=run_id, tags=tags)
            attempts = result.attempts
        return _print_outcome(instance, configuration, mandator, names, console, next_steps, result, attempts)


def _print_outcome(
    instance: dg.DagsterInstance,
    configuration: Configuration,
    mandator: str,
    names: Sequence[str],
    console: Console,
    next_steps: NextSteps,
    result: RunResult,
    attempts: Sequence[str],
) -> RunDocument:
    found_problems = problems(result, next_steps.ui)
    _print_problems(console, found_problems)
    try:
        with State(configuration.storage.state_url.get_secret_value()) as state:
            outcomes = [
                list_outcome(result, attempts, state.replacements, mandator, name, configuration.prefix)
                for name in names
            ]
    except StateError as error:
        if not any(str(error) in sentence for sentence in found_problems):
            _print_problems(console, [str(error)])
            found_problems.append(str(error))
        outcomes = []
    else:
        console.print(outcome_table(mandator, outcomes))
    if isinstance(result, FollowedRun):
        if result.terminated or was_interrupted(result):
            terminated = ["the run was terminated", *_left_incomplete(outcomes, next_steps)]
            _print_problems(console, terminated)
            return _document(mandator, attempts, outcomes, [*found_problems, *terminated], report=None)
    elif was_interrupted(result):
        _print_problems(console, ["interrupted", *_left_incomplete(outcomes, next_steps)])
        raise KeyboardInterrupt
    report = None
    if outcomes:  # else the state can't be read, which has been printed
        report = report_after_run(configuration, mandator, attempts[-1], console, instance)
    proven = result.success and bool(outcomes) and all(outcome.proven for outcome in outcomes)
    if not proven and not found_problems:
        found_problems.append(f"the run failed, and none of its steps says why; {next_steps.ui} shows the run's page")
        _print_problems(console, found_problems)
    return _document(mandator, attempts, outcomes, found_problems, report=report)


def _document(
    mandator: str,
    attempts: Sequence[str],
    outcomes: Sequence[ListOutcome],
    found_problems: Sequence[str],
    *,
    report: str | None,
) -> RunDocument:
    return RunDocument(
        mandator=mandator,
        proven=not found_problems,
        run_ids=tuple(attempts),
        lists=tuple(map(result_of, outcomes)),
        problems=tuple(found_problems),
        report=report,
    )


def problems(result: RunResult, ui: str = NextSteps.ui) -> list[str]:
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


def was_interrupted(result: RunResult) -> bool:
    """Return whether Ctrl-C or SIGTERM ended the run, which Dagster records as a failure."""
    return any(error.cls_name in _INTERRUPTS for error in _errors(result))


def _errors(result: RunResult) -> Iterator["dg.SerializableErrorInfo"]:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            yield event.step_failure_data.error
        elif event.is_job_failure and event.job_failure_data.error:
            yield event.job_failure_data.error


def _left_incomplete(outcomes: Sequence[ListOutcome], next_steps: NextSteps) -> list[str]:
    return incomplete_lists(
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
