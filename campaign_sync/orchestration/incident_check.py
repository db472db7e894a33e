"""The check for incidents: of what Dagster knows and what the state database knows, one mandator after the other."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial

import dagster as dg

from campaign_sync.alerts.detection import (
    being_replaced,
    doubtful_lists,
    former_lists,
    incomplete_lists,
    known_from_runs,
    left_behind,
    not_as_proven,
    old_feedback,
    replaced_since,
    unsent_report,
)
from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.incident import CONFIGURATION, RUN, DetectedIncidents, Incident, IncidentKind, Subject
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.orchestration.asset_history import AssetHistory
from campaign_sync.orchestration.awaited_runs import awaited_run
from campaign_sync.orchestration.check_history import CheckHistory, CheckReader
from campaign_sync.orchestration.configuration_sensor import configuration_incidents
from campaign_sync.orchestration.deadlines import late_lists, planned_expectations, planned_pause
from campaign_sync.orchestration.mandator_days import MandatorDay, unfinished_days
from campaign_sync.orchestration.mandator_ticks import outcome
from campaign_sync.orchestration.repair_hindrances import RepairHindrances
from campaign_sync.orchestration.repair_sensor import is_given_up
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.orchestration.run_failures import MonitoredAssets, NewestRuns, failed_checks, failed_steps
from campaign_sync.orchestration.run_logs import RunLogs, read_step_failures
from campaign_sync.storage.incidents import UnsentNotices
from campaign_sync.storage.report_mails import ReportMail
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView


@dataclass(frozen=True)
class KnownToDagster:
    """What Dagster knows of the assets and checks of all mandators, read at once."""

    instance: dg.DagsterInstance
    history: AssetHistory
    checks: CheckHistory
    step_failures: Callable[[dg.RunRecord], Mapping[str, dg.EventLogEntry]]


class DagsterReader:
    """Reads that again and again, and what can't have changed only once."""

    def __init__(self, monitored: Iterable[MonitoredAssets]) -> None:
        """Begin without anything read; `monitored` are the assets and checks of all mandators."""
        of_mandators = list(monitored)
        self._assets = [key for of_mandator in of_mandators for key in of_mandator.assets]
        self._checks = [key for of_mandator in of_mandators for key in of_mandator.checks]
        self._check_reader, self._logs = CheckReader(), RunLogs(read_step_failures)

    def read(self, instance: dg.DagsterInstance, now: datetime) -> KnownToDagster:
        """Return what Dagster knows now."""
        history = AssetHistory.read(instance, self._assets)
        checks = self._check_reader.read(instance, self._checks, history, now)
        return KnownToDagster(instance, history, checks, partial(self._logs.of, instance))


@dataclass(frozen=True)
class CheckedIncidents:
    """The result of a check of all mandators."""

    open: Mapping[str, Collection[Incident] | Exception]
    """The incidents of each mandator that are open now, or why its incidents couldn't be detected."""
    unsent: UnsentNotices
    view: StateView
    """The state that they were detected from."""


def check_incidents(
    configuration: Configuration,
    monitored: Mapping[str, MonitoredAssets],
    dagster: KnownToDagster,
    state: State,
    now: datetime,
) -> CheckedIncidents:
    """Record what is wrong with each mandator now.

    Raises:
        StateError: the state database can't be used.
    """
    view = state.view()  # after Dagster's runs: see `StateView`
    results = detect_incidents(configuration, monitored, dagster, state, view, now)
    errors = {mandator: error for mandator, error in results.items() if isinstance(error, Exception)}
    detected = {mandator: result for mandator, result in results.items() if not isinstance(result, Exception)}
    open_now = {
        mandator: list(incidents.values()) for mandator, incidents in state.incidents.reconcile(detected, now).items()
    }
    return CheckedIncidents({**open_now, **errors}, state.incidents.unsent(now), view)


def detect_incidents(
    configuration: Configuration,
    monitored: Mapping[str, MonitoredAssets],
    dagster: KnownToDagster,
    state: State,
    view: StateView,
    now: datetime,
    *,
    in_service: bool = True,
) -> dict[str, DetectedIncidents | Exception]:
    """Return what is wrong with each mandator now, or why that can't be detected. Records nothing.

    `in_service` says whether this process has the secrets that runs have; a command need not have them.

    Raises:
        StateError: the state database can't be used.
    """
    # Rarely needed, and then once for all mandators.
    hindrances = RepairHindrances(configuration, dagster.instance, in_service=in_service)
    days = cache(lambda: unfinished_days(configuration, dagster.instance, state, monitored.keys(), now, hindrances))
    mails = cache(state.report_mails.last)
    detect = partial(_detect, configuration, dagster, state, view, days, hindrances, mails, now, in_service=in_service)
    return {mandator: outcome(partial(detect, of_mandator)) for mandator, of_mandator in monitored.items()}


def _detect(
    configuration: Configuration,
    dagster: KnownToDagster,
    state: State,
    view: StateView,
    days: Callable[[], Mapping[str, MandatorDay]],
    hindrances: RepairHindrances,
    mails: Callable[[], Mapping[str, ReportMail]],
    now: datetime,
    monitored: MonitoredAssets,
    *,
    in_service: bool,
) -> DetectedIncidents:
    """Return what is wrong with a mandator now.

    `days` returns the newest days of all mandators, `mails` the last mails of their reports.
    """
    mandator, settings = monitored.mandator, configuration.mandators[monitored.mandator]
    newest_runs = NewestRuns.of(monitored, dagster.history)
    in_progress = newest_runs.in_progress() | being_replaced(configuration, mandator, view)
    # A run that hangs, or waits in the queue for days, must not delay the notice.
    waiting = partial(awaited_run, newest_runs, settings, lambda: days().get(mandator))
    late = list(late_lists(configuration, mandator, view, now, waiting))
    attempts = newest_attempts(
        dagster.instance,
        mandator,
        list(settings.lists),
        dagster.history,
        dagster.checks.planned_in,
        prefix=settings.prefix,
    )
    passing = [
        *failed_steps(
            newest_runs,
            dagster.step_failures,
            partial(_incomplete, mandator, settings, view),
            lambda run: state.acceptances_of(mandator, {run.run_id, run.parent_run_id or "", run.root_run_id or ""}),
        ),
        *failed_checks(monitored, dagster.checks.latest),
        *not_as_proven(configuration, mandator, view, attempts, now, planned_expectations(settings, now)),
    ]
    incidents = [
        *incomplete_lists(
            configuration,
            mandator,
            view,
            {incident.subject.name for incident in late},
            lambda name, unfinished: is_given_up(dagster.instance, view, name, unfinished, settings.prefix),
            lambda: hindrances.of(mandator),
            partial(state.acceptances_of, mandator),
        ),
        *former_lists(configuration, mandator, view),
        *(unsent_report(configuration, mandator, mails().get(mandator)) if settings.report_to else ()),
        *doubtful_lists(configuration, mandator, view),
        *old_feedback(configuration, mandator, view, now, planned_pause(settings, now)),
        *(configuration_incidents(configuration, mandator, dagster.instance, now) if in_service else ()),
        *late,
        # A run may be repairing the others just now.
        *(incident for incident in passing if incident.subject not in in_progress),
    ]
    if any(incident.kind is IncidentKind.DIED for incident in incidents) and (today := days().get(mandator)):
        if today.is_completed_later:
            incidents = [incident for incident in incidents if incident.kind is not IncidentKind.DIED]
            in_progress.add(RUN)
        elif today.hindrance:
            incidents = [_with_hindrance(incident, today.hindrance) for incident in incidents]
    unsettled = (in_progress | newest_runs.not_materialized()) - replaced_since(configuration, mandator, view)
    unsettled |= left_behind(configuration, mandator, view)
    unsettled |= set() if in_service else {CONFIGURATION}
    unsettled |= newest_runs.without_run() & known_from_runs(mandator, view)
    return DetectedIncidents(incidents, unsettled)


def _incomplete(mandator: str, settings: MandatorSettings, view: StateView) -> set[Subject]:
    ids = settings.recipient_list_ids.items()
    return {Subject.of_list(name) for name, list_id in ids if view.of_list(mandator, name, list_id).incomplete}


def _with_hindrance(incident: Incident, hindrance: str) -> Incident:
    """Return the incident of a run that died with why nothing completes the day; others as they are."""
    if incident.kind is not IncidentKind.DIED:
        return incident
    beginning = Message("Nothing follows automatically, because {hindrance}.", hindrance=hindrance)
    return replace(incident, remedy=join_messages(" ", [beginning, incident.remedy]))
