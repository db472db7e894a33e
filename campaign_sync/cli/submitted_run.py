"""A run that is handed to Dagster's daemon, and followed."""

from collections.abc import Mapping, Sequence

import dagster as dg
from rich.console import Console

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.output import print_warning
from campaign_sync.cli.progress_bar import progress_lines
from campaign_sync.cli.run_follower import RunFollower
from campaign_sync.config import Configuration
from campaign_sync.orchestration.run_result import FollowedRun
from campaign_sync.orchestration.run_submission import SubmissionError, submit_daily_run
from campaign_sync.storage.state import State


def execute_by_daemon(
    instance: dg.DagsterInstance,
    configuration: Configuration,
    mandator: str,
    assets: Sequence[dg.AssetKey],
    console: Console,
    *,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> FollowedRun:
    """Queue a run of these assets of a mandator, and follow it to its end.

    Raises:
        CommandError: the daemon can't be given the run, or it can't be followed.
        KeyboardInterrupt: following was interrupted; that the run goes on has been printed.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        try:
            with console.status("Handing the run to Dagster's daemon"):
                submit_daily_run(instance, configuration, state, mandator, assets, run_id, tags or {})
        except SubmissionError as error:
            raise CommandError(str(error)) from None
        console.print(f"run {run_id} was handed to Dagster's daemon; Ctrl-C stops following it", soft_wrap=True)
        try:
            with progress_lines(console) as show:
                return RunFollower(instance, state, mandator, assets, console, show, configuration.prefix).follow(
                    run_id
                )
        except KeyboardInterrupt:
            ui = configuration.alarms.ui_url
            page = f"{ui.rstrip('/')}/runs/{run_id}" if ui else "its page in Dagster's UI"
            print_warning(console, f"run {run_id} goes on. To end it, press Terminate on {page}")
            raise
