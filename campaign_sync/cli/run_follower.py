"""Following a run that the daemon launches: what it waits for, its progress, and by which run Dagster retries it."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.output import print_warning
from campaign_sync.domain.progress import Progress
from campaign_sync.orchestration.daily_replacement import BUSY
from campaign_sync.orchestration.dead_runs import RETRIED_BY, RETRY_WITHIN, WILL_RETRY
from campaign_sync.orchestration.names import mandator_tags
from campaign_sync.orchestration.run_progress import RunProgress
from campaign_sync.orchestration.run_result import FollowedRun
from campaign_sync.orchestration.run_submission import is_daemon_up
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.state import State

POLL_SECONDS = 1.0
_POLLS_BETWEEN_DAEMON_CHECKS = 10
_UNTAGGED_FOR = timedelta(seconds=5)
"""How long after its end a failed run may lack Dagster's tag that says whether it is retried."""
PATIENCE = timedelta(seconds=60)
"""How long the instance's database may fail before the run isn't followed any more."""

Answer = TypeVar("Answer")


@dataclass
class RunFollower:
    """Follows a run of a mandator to its last attempt."""

    instance: dg.DagsterInstance
    state: State
    mandator: str
    assets: Sequence[dg.AssetKey]
    console: Console
    show: Callable[[Progress], None]
    prefix: str = ""
    _last_message: str = field(default="", init=False)
    _polls: int = field(default=0, init=False)
    _daemon_is_up: bool = field(default=True, init=False)

    def follow(self, run_id: str) -> FollowedRun:
        """Return how the run ended, or the last run by which Dagster retried it.

        Raises:
            CommandError: it can't be followed to its end.
        """
        attempts = [run_id]
        while retry := self._retry_of(self._wait_for_end(attempts[-1])):
            print_warning(self.console, f"run {attempts[-1]} died, and Dagster tries again with run {retry}")
            attempts.append(retry)
        return self._query(lambda: FollowedRun.of(self.instance, attempts))

    def _wait_for_end(self, run_id: str) -> dg.DagsterRun:
        """Show a run's progress until it has ended."""
        progress = RunProgress(self.instance, self.state, run_id, self.assets, self.show)
        while True:
            run = self._read(run_id)
            self._query(progress.show_events)
            if run.is_finished:
                return run
            if run.status is dg.DagsterRunStatus.QUEUED:
                self._query(lambda: self._print_queue(run_id))
            with suppress(StateError):  # the run itself reports it
                progress.show_fills()
            self._pause(run)

    def _read(self, run_id: str) -> dg.DagsterRun:
        run = self._query(lambda: self.instance.get_run_by_id(run_id))
        if run is None:
            raise CommandError(f"run {run_id} was deleted while it was followed", SOMETHING_FAILED)
        return run

    def _retry_of(self, run: dg.DagsterRun) -> str | None:
        """Wait for the run by which Dagster retries a failed one; None if it doesn't."""
        ended = time.monotonic()
        while run.status is dg.DagsterRunStatus.FAILURE and RETRIED_BY not in run.tags:
            patience = {None: _UNTAGGED_FOR, "true": RETRY_WITHIN}.get(run.tags.get(WILL_RETRY), timedelta())
            if time.monotonic() - ended >= patience.total_seconds() or not self._daemon_is_up:
                return None
            self._pause(run)
            run = self._read(run.run_id)
        return run.tags.get(RETRIED_BY)

    def _print_queue(self, run_id: str) -> None:
        """Print which run of the mandator a queued run waits for."""
        of_mandator = dg.RunsFilter(tags=mandator_tags(self.mandator, prefix=self.prefix), statuses=BUSY)
        for record in self.instance.get_run_records(of_mandator, order_by="id", ascending=True):
            run = record.dagster_run
            if run.run_id == run_id:
                return
            waits = "is queued as well" if run.status is dg.DagsterRunStatus.QUEUED else "is in progress"
            began = f"{record.create_timestamp:%Y-%m-%d %H:%M} UTC"
            self._print_once(f"queued behind run {run.run_id} of {self.mandator}, which {waits}; it is of {began}")
            return

    def _pause(self, run: dg.DagsterRun) -> None:
        """Wait for the next poll; print if no daemon is up any more, or one is again."""
        time.sleep(POLL_SECONDS)
        self._polls += 1
        if self._polls % _POLLS_BETWEEN_DAEMON_CHECKS:
            return
        was_up, self._daemon_is_up = self._daemon_is_up, self._query(lambda: is_daemon_up(self.instance))
        if was_up and not self._daemon_is_up:
            queued = run.status is dg.DagsterRunStatus.QUEUED
            print_warning(
                self.console,
                "Dagster's daemon has given no heartbeat for 60 seconds; start it again. "
                + ("The run stays queued until then" if queued else "Until then nothing continues this run if it dies"),
            )
        elif self._daemon_is_up and not was_up:
            print_warning(self.console, "Dagster's daemon is up again")

    def _print_once(self, message: str) -> None:
        if message != self._last_message:
            self._last_message = message
            print_warning(self.console, message)

    def _query(self, query: Callable[[], Answer]) -> Answer:
        """Return what the instance answers, which may fail for `PATIENCE`.

        Raises:
            CommandError: it fails for longer.
        """
        begun = time.monotonic()
        while True:
            try:
                return query()
            except SQLAlchemyError as error:
                if time.monotonic() - begun > PATIENCE.total_seconds():
                    raise CommandError(
                        f"the run goes on, but can't be followed: the database of Dagster's instance failed for "
                        f"{PATIENCE.seconds} seconds ({type(error).__name__}). Make sure that it can be reached; "
                        "Dagster's UI shows how the run ends",
                        SOMETHING_FAILED,
                    ) from None
                time.sleep(POLL_SECONDS)
