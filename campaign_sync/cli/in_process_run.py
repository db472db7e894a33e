"""A run that this process executes, where no daemon is up: it is the only one of its mandator."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.next_steps import NextSteps, incomplete_lists
from campaign_sync.cli.progress_bar import live_progress
from campaign_sync.config import Configuration, ConfigurationError, unavailable_secrets
from campaign_sync.garbage import kept_for_ever
from campaign_sync.orchestration.assets.mandator import mandator_assets
from campaign_sync.orchestration.daily_replacement import daily_job, daily_job_name
from campaign_sync.orchestration.dead_runs import end_dead_runs
from campaign_sync.orchestration.names import mandator_tags
from campaign_sync.orchestration.resources import all_resources
from campaign_sync.sqlite import remedy
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

_ACTIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def execute_in_process(
    instance: dg.DagsterInstance,
    configuration: Configuration,
    mandator: str,
    assets: Sequence[dg.AssetKey],
    console: Console,
    next_steps: NextSteps,
    *,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute a run of these assets of a mandator, and show its progress.

    Raises:
        CommandError: another run replaces lists of this mandator.
        ConfigurationError: a secret of the mandator can't be read.
    """
    if missing := unavailable_secrets(configuration.mandators[mandator]):
        raise ConfigurationError(missing)
    with kept_for_ever():
        job = mandator_job(configuration, mandator, datetime.now(UTC))
    with (
        State(configuration.storage.state_url.get_secret_value()) as state,
        _only_run(configuration, instance, state, mandator, run_id, next_steps),
        live_progress(console),
    ):
        return job.execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            run_id=run_id,
            asset_selection=list(assets),
            raise_on_error=False,
            tags=tags,
        )


def mandator_job(configuration: Configuration, mandator: str, now: datetime) -> dg.JobDefinition:
    """Return the daily job of a mandator as the code location has it, made without the others and all sensors.

    Args:
        configuration: all mandators.
        mandator: a key of the configuration.
        now: the moment from which freshness policies look at the schedules.
    """
    definitions = dg.Definitions(
        assets=mandator_assets(configuration, mandator, now),
        jobs=[daily_job(mandator, configuration.mandators[mandator])],
        resources=all_resources(configuration),
    )
    return definitions.resolve_job_def(daily_job_name(mandator, prefix=configuration.prefix))


@contextmanager
def _only_run(
    configuration: Configuration,
    instance: dg.DagsterInstance,
    state: State,
    mandator: str,
    run_id: str,
    next_steps: NextSteps,
) -> Iterator[None]:
    """Record heartbeats of a run that is about to begin; raise CommandError unless it is the mandator's only one.

    They begin before the run: if this process is killed, a run without heartbeats would be waited for.
    """
    end_dead_runs(instance, state, configuration)
    _require_no_other_run(instance, mandator, configuration.prefix, next_steps)
    with state.heartbeats.keep_alive(run_id):
        yield


def _require_no_other_run(instance: dg.DagsterInstance, mandator: str, prefix: str, next_steps: NextSteps) -> None:
    """Raise CommandError if a run of the mandator is active: runs in this process don't pass Dagster's queue."""
    active_runs = dg.RunsFilter(tags=mandator_tags(mandator, prefix=prefix), statuses=_ACTIVE)
    for record in instance.get_run_records(active_runs, limit=1):
        raise CommandError(
            f"{mandator} is being replaced already, by run {record.dagster_run.run_id}, "
            f"started {record.create_timestamp:%Y-%m-%d %H:%M} UTC; wait until it has ended, "
            f"or if it is dead, {next_steps.if_dead}",
            SOMETHING_FAILED,
        )


@contextmanager
def instance_errors(
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
            ids = configuration.mandators[mandator].recipient_list_ids
            newest = (state.replacements.incomplete(mandator, name, ids.get(name)) for name in names)
            incomplete = [replacement for replacement in newest if replacement]
        raise CommandError("; ".join([problem, *incomplete_lists(incomplete, next_steps)]), SOMETHING_FAILED) from None
