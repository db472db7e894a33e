"""The check for incidents: of what Dagster knows and what the state database knows, one mandator after the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Self

import dagster as dg

from campaign_sync.alerts.detection import (
    being_replaced,
    doubtful_lists,
    incomplete_lists,
    known_from_runs,
    left_behind,
    not_as_proven,
    old_feedback,
    replaced_since,
)
from campaign_sync.config import Configuration
from campaign_sync.domain.incident import RUN, Incident, IncidentKind, Subject
from campaign_sync.orchestration.asset_history import AssetHistory
from campaign_sync.orchestration.dagster_internals import AssetCheckExecutionRecord
from campaign_sync.orchestration.deadlines import late_lists, planned_expectations, planned_pause
from campaign_sync.orchestration.mandator_days import unfinished_days
from campaign_sync.orchestration.repair_sensor import is_given_up
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.orchestration.run_failures import MonitoredAssets, NewestRuns, failed_checks, failed_steps
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class KnownToDagster:
    """What Dagster knows of the assets and checks of all mandators, read at once."""

    instance: dg.DagsterInstance
    history: AssetHistory
    checks: Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]
    """The newest execution of each check."""

    @classmethod
    def read(cls, instance: dg.DagsterInstance, monitored: Sequence[MonitoredAssets]) -> Self:
        """Return that as of now."""
        assets = [key for of_mandator in monitored for key in of_mandator.assets]
        checks = [key for of_mandator in monitored for key in of_mandator.checks]
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        return cls(instance, AssetHistory.read(instance, assets), latest)


def check_incidents(
    configuration: Configuration, monitored: MonitoredAssets, dagster: KnownToDagster, state: State, now: datetime
) -> list[Incident]:
    """Record what is wrong with a mandator now, and return its open incidents."""
    mandator, settings = monitored.mandator, configuration.mandators[monitored.mandator]
    newest_runs = NewestRuns.of(monitored, dagster.history)
    in_progress = newest_runs.in_progress() | being_replaced(configuration, mandator, state)
    # A run that hangs, or waits in the queue for days, must not delay the notice.
    late = list(late_lists(configuration, mandator, state, now))
    attempts = newest_attempts(
        dagster.instance, mandator, list(settings.lists), dagster.history, prefix=settings.prefix
    )
    passing = [
        *failed_steps(newest_runs, dagster.instance, partial(_incomplete, mandator, settings.lists, state)),
        *failed_checks(monitored, dagster.checks),
        *not_as_proven(configuration, mandator, state, attempts, now, planned_expectations(settings, now)),
    ]
    incidents = [
        *incomplete_lists(
            configuration,
            mandator,
            state,
            {incident.subject.name for incident in late},
            lambda name, unfinished: is_given_up(dagster.instance, state, name, unfinished, settings.prefix),
        ),
        *doubtful_lists(configuration, mandator, state),
        *old_feedback(configuration, mandator, state, now, planned_pause(settings, now)),
        *late,
        # A run may be repairing the others just now.
        *(incident for incident in passing if incident.subject not in in_progress),
    ]
    if any(incident.kind is IncidentKind.DIED for incident in incidents) and _is_completed_later(
        configuration, mandator, dagster.instance, state, now
    ):
        incidents = [incident for incident in incidents if incident.kind is not IncidentKind.DIED]
        in_progress.add(RUN)
    unsettled = (in_progress | newest_runs.not_materialized()) - replaced_since(mandator, state)
    unsettled |= left_behind(configuration, mandator, state)
    unsettled |= newest_runs.without_run() & known_from_runs(mandator, state)
    state.incidents.reconcile(mandator, incidents, unsettled, now)
    return list(state.incidents.open(mandator).values())


def _incomplete(mandator: str, lists: Iterable[str], state: State) -> set[Subject]:
    return {Subject.of_list(name) for name in lists if state.replacements.incomplete(mandator, name)}


def _is_completed_later(
    configuration: Configuration, mandator: str, instance: dg.DagsterInstance, state: State, now: datetime
) -> bool:
    """Return whether a further run makes what a run has left that died, so that people needn't do anything."""
    if not configuration.mandators[mandator].automation.repair:
        return False
    today = unfinished_days(configuration, instance, state, [mandator], now).get(mandator)
    return today is not None and today.completion.stage.is_ahead
