"""What the section `retention` of the configuration limits, purged step by step."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.retention import PastRun, removable_runs
from campaign_sync.erasure.places import PlaceState
from campaign_sync.erasure.removal import Removal
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.dagster_history import (
    delete_run,
    remove_events,
    remove_events_without_run,
    remove_output,
    remove_ticks,
)
from campaign_sync.orchestration.expired_data import ExpiredData
from campaign_sync.orchestration.names import MANDATOR_TAG, mandators_by_value
from campaign_sync.orchestration.own_runs import OwnDefinitions, ended_runs, needed_runs, past_run
from campaign_sync.orchestration.repair_sensor import REPAIR_TAG
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State

RUNS_AT_ONCE = 100
"""How many runs lose their events in one transaction, and after how many progress is logged."""

_OVERLAP = timedelta(days=1)
"""How far the events of runs are purged again: a run may have been changed after it ended, or needed until now."""


@dataclass
class Purged:
    """What was purged, by kind, and what couldn't be."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, kind: str) -> Iterator[None]:
        """Turn an error within the context into a problem, so that the other kinds are purged nevertheless."""
        try:
            yield
        except CampaignSyncError as error:
            self.problems.append(f"{kind}: {error}")
        except Exception as error:  # noqa: BLE001 - plugins of Dagster's storage raise errors of any class
            self.problems.append(f"{kind}: {type(error).__name__} in Dagster's storage; the next day tries again")


@dataclass(frozen=True)
class Purge:
    """One purge of everything that is older than its limit.

    Args:
        configuration: of everything.
        own: the names of what is ours in Dagster.
        instance: the instance, which others may share.
        location: our code location, as Dagster labels runs with it; None where only runs of commands are purged.
        state: what the product remembers.
        frames: the file storage.
        now: the moment by which ages are counted, in UTC.
        log: takes what is done.
        own_run: the run that purges; None where none does.
    """

    configuration: Configuration
    own: OwnDefinitions
    instance: dg.DagsterInstance
    location: str | None
    state: State
    frames: FileStorage
    now: datetime
    log: Callable[[str], None] = logging.getLogger(__name__).info
    own_run: str | None = None

    def everything(self) -> Purged:
        """Purge all kinds. What can't be purged is among the problems."""
        purged, limits = Purged(), self.configuration.retention
        with purged.step("erasures"):
            self._erasures(purged)
        with purged.step("runs and events"):
            self._runs(purged)
        with purged.step("events without a run"):
            remove_events_without_run(self.instance, self.own.assets, self.now - limits.events)
        if self.location:
            with purged.step("ticks"):
                purged.counts["ticks"] += remove_ticks(
                    self.instance, self._own.automations, self.location, self.now - limits.ticks
                )
        data = ExpiredData(self.configuration, self.state, self.frames, self.now)
        mandators = list(self.configuration.mandators)
        with purged.step("removed mandators"):
            mandators += data.gone
        for mandator in mandators:
            with purged.step(f"files of {mandator}"):
                purged.counts.update(data.remove_files(mandator))
            with purged.step(f"rows of {mandator}"):
                purged.counts.update(data.remove_rows(mandator))
        with purged.step("unfinished files"):
            purged.counts.update(data.remove_unfinished())
        with purged.step("names"):
            purged.counts.update(data.remove_names())
        return purged

    def _erasures(self, purged: Purged) -> None:
        """Remove what erasures left pending. If it stays pending for too long, `retention_watch` alerts people."""
        reports = Removal(self.configuration, self.state, self.frames, self.own_run).attempt()
        purged.counts["erasures"] += sum(not report.is_pending for report in reports)
        for report in reports:
            if report.is_pending:
                places = ", ".join(place.place for place in report.places if place.state is PlaceState.PENDING)
                self.log(
                    f"erasure {report.erasure.id} of {report.erasure.erased_at:%Y-%m-%d} is pending ({places}); "
                    "`campaign-sync erase --list` says why"
                )

    def _runs(self, purged: Purged) -> None:
        limits = self.configuration.retention
        former_keys = {
            key for mandator in self._former for key in self.instance.get_asset_keys(self._path_of(mandator))
        }
        # Another code location may serve a mandator that was removed here.
        needed = needed_runs(self.instance, replace(self._own, assets=self._own.assets | former_keys))
        view = self.state.view()  # after Dagster's runs: see `StateView`
        mandators = self.configuration.mandators.items()
        incomplete = [
            mandator
            for mandator, settings in mandators
            if any(
                view.of_list(mandator, *name_and_id).incomplete for name_and_id in settings.recipient_list_ids.items()
            )
        ]
        repaired = mandators_by_value(incomplete, prefix=self.configuration.prefix)
        old, older = self.now - limits.events, self.now - limits.runs

        def removable(before: datetime, after: datetime | None) -> list[str]:
            ended: list[PastRun] = []
            for record in ended_runs(self.instance, self._own, self.location, before, after):
                tags = record.dagster_run.tags
                # How often an incomplete list was repaired is counted by these runs.
                if REPAIR_TAG not in tags or tags.get(MANDATOR_TAG) not in repaired:
                    ended.append(past_run(record))
            return removable_runs(ended, needed, before)

        last = self._purged_until()
        doomed = removable(older, None)
        without_events = list(dict.fromkeys([*doomed, *removable(old, max(last - _OVERLAP, older) if last else None)]))
        self._events(without_events, purged)
        for number, run_id in enumerate(doomed, start=1):
            delete_run(self.instance, run_id)
            self._progress(number, len(doomed), "runs are deleted")
        purged.counts["runs"] += len(doomed)
        self.instance.daemon_cursor_storage.set_cursor_values({self._cursor: old.isoformat()})

    def _events(self, run_ids: list[str], purged: Purged) -> None:
        for start in range(0, len(run_ids), RUNS_AT_ONCE):
            batch = run_ids[start : start + RUNS_AT_ONCE]
            remove_events(self.instance, batch)
            with purged.step("output of runs"):
                for run_id in batch:
                    remove_output(self.instance, run_id)
            self._progress(start + len(batch), len(run_ids), "runs have lost their events")
        purged.counts["runs without events"] += len(run_ids)

    @cached_property
    def _own(self) -> OwnDefinitions:
        """What is ours, also of mandators and settings that were removed from the configuration."""
        mandators = {*self.configuration.mandators, *self._former}
        return self.own.with_mandators(mandators, prefix=self.configuration.prefix)

    @cached_property
    def _former(self) -> set[str]:
        """The mandators that have replaced a list and aren't in the configuration any more, not even broken."""
        known = {mandator for mandator, _, _ in self.state.view().lists}
        return known - self.configuration.mandators.keys() - self.configuration.broken_mandators.keys()

    def _path_of(self, mandator: str) -> list[str]:
        return [part for part in (self.configuration.prefix, mandator) if part]

    @property
    def _cursor(self) -> str:
        return f"campaign_sync_retention {self.location or ''}".strip()

    def _purged_until(self) -> datetime | None:
        """Return up to which moment runs have lost their events."""
        value = self.instance.daemon_cursor_storage.get_cursor_values({self._cursor}).get(self._cursor)
        return datetime.fromisoformat(value) if value else None

    def _progress(self, done: int, total: int, what: str) -> None:
        if done == total or done % RUNS_AT_ONCE == 0:
            self.log(f"{done} of {total} {what}")
