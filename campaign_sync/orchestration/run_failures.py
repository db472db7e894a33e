"""A mandator's incidents that Dagster knows of: steps that failed, runs that died, checks that failed."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus

from campaign_sync.alerts.detection import MANUAL, accepting_options
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.incident import FEEDBACK, RUN, Incident, IncidentKind, Subject
from campaign_sync.domain.message import Message, and_joined, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.orchestration.asset_history import AssetHistory
from campaign_sync.orchestration.asset_keys import FEEDBACK_KINDS, asset_name
from campaign_sync.orchestration.check_names import CHECKS_WITH_INCIDENTS
from campaign_sync.orchestration.dagster_internals import (
    RUN_FAILURE_REASON_TAG,
    AssetCheckExecutionRecord,
    RunFailureReason,
)
from campaign_sync.orchestration.daily_replacement import BUSY
from campaign_sync.orchestration.errors import AWAITED_PLAN
from campaign_sync.storage.state import Acceptances

RETRY_GRACE = timedelta(minutes=3)
"""How long after a run died Dagster may still start it again by itself."""

_INTERMEDIATE = frozenset({AssetKind.SELECTION, AssetKind.SNAPSHOT, AssetKind.BOUNCES, AssetKind.UNSUBSCRIBES})
"""Assets that only serve the last asset of their subject."""

_RESPONSES = frozenset({AssetKind.OPENS, AssetKind.CLICKS, AssetKind.RESPONSES})


@dataclass(frozen=True)
class MonitoredAssets:
    """The assets and checks of a mandator that can be the cause of an incident."""

    mandator: str
    assets: tuple[dg.AssetKey, ...]
    checks: tuple[dg.AssetCheckKey, ...]

    @classmethod
    def of(cls, mandator: str, assets: Sequence[dg.AssetsDefinition]) -> "MonitoredAssets":
        """Return the keys of these definitions, without checks whose incidents come from elsewhere, and plans.

        A plan is of a list, and says nothing of whether that is replaced.
        """
        keys = (key for asset in assets for key in asset.keys)
        return cls(
            mandator,
            tuple(key for key in keys if asset_name(key).kind is not AssetKind.PLAN),
            tuple(key for asset in assets for key in asset.check_keys if key.name not in CHECKS_WITH_INCIDENTS),
        )

    def subject(self, key: dg.AssetKey) -> Subject:
        """Return the subject of an asset's incidents: its list, the feedback, or the asset itself."""
        if asset_name(key).kind in FEEDBACK_KINDS:
            return FEEDBACK
        name = asset_name(key)
        if name.recipient_list:
            return Subject.of_list(name.recipient_list)
        return Subject(f"the {'responses' if name.kind in _RESPONSES else name.kind}")


@dataclass(frozen=True)
class NewestRuns:
    """The newest run that was to materialize each asset of a mandator."""

    monitored: MonitoredAssets
    run_of: Mapping[dg.AssetKey, str]
    runs: Mapping[str, dg.RunRecord]
    materialized: Collection[dg.AssetKey]
    """Assets that their newest run has materialized."""

    @classmethod
    def of(cls, monitored: MonitoredAssets, history: AssetHistory) -> "NewestRuns":
        """Return those of the mandator out of the history of all assets."""
        run_of = {key: history.run_of[key] for key in monitored.assets if key in history.run_of}
        runs = {run_id: history.runs[run_id] for run_id in run_of.values() if run_id in history.runs}
        return cls(monitored, run_of, runs, {key for key in run_of if key in history.materialized})

    def in_progress(self) -> set[Subject]:
        """Return the subjects of which a run is queued or under way."""
        busy = {run_id for run_id, record in self.runs.items() if record.dagster_run.status in BUSY}
        return {self.monitored.subject(key) for key, run_id in self.run_of.items() if run_id in busy}

    def not_materialized(self) -> set[Subject]:
        """Return the subjects that their newest run didn't materialize: their earlier incidents aren't over by it.

        The run may not have come to them yet, was cancelled, or was stopped by something else.
        """
        ends = {
            key: self.runs[run_id].dagster_run.status
            for key, run_id in self.run_of.items()
            if self._is_final(key) and run_id in self.runs
        }
        subjects = {key: self.monitored.subject(key) for key in ends}
        daily = {ends[key] for key, subject in subjects.items() if subject.is_list or subject == FEEDBACK}
        run = {RUN} if daily & {*BUSY, DagsterRunStatus.CANCELED} else set()
        return run | {subject for key, subject in subjects.items() if key not in self.materialized}

    def without_run(self) -> set[Subject]:
        """Return the subjects that Dagster knows no run of: its history is gone, or their assets have new keys."""
        final = {key: self.monitored.subject(key) for key in self.monitored.assets if self._is_final(key)}
        subjects = {subject for key, subject in final.items() if key not in self.run_of}
        lists = {subject for subject in final.values() if subject.is_list}
        return subjects | {RUN} if lists and lists <= subjects else subjects

    @staticmethod
    def _is_final(key: dg.AssetKey) -> bool:
        return asset_name(key).kind not in _INTERMEDIATE


def failed_steps(
    newest: NewestRuns,
    step_failures: Callable[[dg.RunRecord], Mapping[str, dg.EventLogEntry]],
    incomplete: Callable[[], Collection[Subject]] = tuple,
    accepted: Callable[[DagsterRun], Acceptances] = lambda _: Acceptances(),
) -> Iterator[Incident]:
    """Yield incidents of assets that failed in their newest run, and of runs that ended without a failed step.

    Args:
        newest: the runs of a mandator.
        step_failures: returns the failure of each failed step of a run.
        incomplete: returns the lists that have an incident of their own, which says more than that of a dead run.
        accepted: returns what people had accepted for a run that died.
    """
    for record in newest.runs.values():
        run = record.dagster_run
        if run.status not in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED):
            continue
        steps = step_failures(record)
        assets = [key for key, run_id in newest.run_of.items() if run_id == run.run_id]
        # What a dead run has made isn't missing; Dagster's retry plans only the rest, so that is the retry's now.
        missing = [key for key in assets if key not in newest.materialized]
        for key in assets:
            entry = steps.get(key.to_python_identifier())
            reason = _reason(entry) if entry else None
            if entry and reason:
                failure = _step_failure(newest.monitored, key, run, _utc(entry.timestamp), reason)
                yield _waiting(newest.monitored, key, failure) if _awaits_approval(entry) else failure
        ended = _utc(record.end_time) if record.end_time else record.update_timestamp
        died = not steps or run.tags.get(RUN_FAILURE_REASON_TAG) != RunFailureReason.STEP_FAILURE.value
        died &= run.status is DagsterRunStatus.FAILURE
        if missing and died and datetime.now(UTC) - ended.astimezone(UTC) > RETRY_GRACE:
            covered = incomplete()
            if left := [key for key in missing if newest.monitored.subject(key) not in covered]:
                yield _dead_run(newest.monitored, left, run, ended, accepted(run))


def failed_checks(
    monitored: MonitoredAssets, latest: Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]
) -> Iterator[Incident]:
    """Yield incidents of checks whose newest result is an error; a check without a result has none here.

    Args:
        monitored: of a mandator.
        latest: the newest execution of each check, of all mandators.
    """
    for key in monitored.checks:
        record = latest.get(key)
        if record is None:
            continue
        evaluation = record.evaluation if record.event and record.event.dagster_event else None
        if record.event is None or not isinstance(evaluation, dg.AssetCheckEvaluation) or evaluation.passed:
            continue
        if evaluation.severity is dg.AssetCheckSeverity.ERROR:
            result = evaluation.description or Message("its page shows the result")
            yield Incident(
                monitored.mandator,
                monitored.subject(key.asset_key),
                IncidentKind.CHECK,
                _utc(record.event.timestamp),
                Message(
                    "The check {check} of {asset} failed: {result:inline}.",
                    check=key.name,
                    asset=key.asset_key.to_user_string(),
                    result=result,
                ),
                _check_consequence(monitored, monitored.subject(key.asset_key)),
                f"/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
            )


def _step_failure(
    monitored: MonitoredAssets, key: dg.AssetKey, run: DagsterRun, since: datetime, reason: str
) -> Incident:
    return Incident(
        monitored.mandator,
        monitored.subject(key),
        IncidentKind.FAILED,
        since,
        Message("{asset} failed: {reason:inline}.", asset=key.to_user_string(), reason=reason),
        _consequence(monitored, {monitored.subject(key)}),
        f"/runs/{run.run_id}",
    )


def _awaits_approval(entry: dg.EventLogEntry) -> bool:
    failure = entry.get_dagster_event().step_failure_data.user_failure_data
    return failure is not None and AWAITED_PLAN in failure.metadata


def _waiting(monitored: MonitoredAssets, key: dg.AssetKey, failure: Incident) -> Incident:
    """Return the incident of a list that waits for the approval of a plan, with the page of the plan."""
    name = asset_name(key)
    remedy = Message(
        "Until the plan is approved, nothing is changed in {list}: people who have withdrawn a consent in the CRM "
        "since it was filled would still be mailed. A plan older than max_snapshot_age can't be approved any more; "
        "{command} makes a new one.",
        list=failure.subject.name,
        command=f"`campaign-sync run {monitored.mandator} --list {failure.subject}`",
    )
    return replace(failure, remedy=remedy, page=replace(name, kind=AssetKind.PLAN).page)


def _dead_run(
    monitored: MonitoredAssets,
    assets: Sequence[dg.AssetKey],
    run: DagsterRun,
    ended: datetime,
    accepted: Acceptances,
) -> Incident:
    subjects = {monitored.subject(key) for key in assets}
    return Incident(
        monitored.mandator,
        RUN,
        IncidentKind.DIED,
        ended,
        Message(
            "A run of {mandator} ended without saying why, at {moment}: its process was killed, took too long, or the "
            "machine was restarted.",
            mandator=monitored.mandator,
            moment=moment(ended, UTC),
        ),
        _consequence(monitored, subjects, accepting_options(accepted, {subject.name for subject in subjects})),
        f"/runs/{run.run_id}",
    )


def _consequence(monitored: MonitoredAssets, subjects: Collection[Subject], options: Sequence[str] = ()) -> str:
    lists = sorted(subject.name for subject in subjects if subject.is_list)
    again = " ".join(["campaign-sync run", monitored.mandator, *(f"--list {name}" for name in lists), *options])
    whole_day = f"campaign-sync run {monitored.mandator}"
    if FEEDBACK in subjects:
        consequence = Message(
            "No list of the mandator is replaced until this is corrected: lists keep the people of their last proof, "
            "and people who withdrew a consent in the CRM since then would still be mailed. When it is corrected, run "
            "{command}.",
            command=f"`{again if options else whole_day}`",
        )
    elif lists:
        consequence = Message(
            "Unless another notice says otherwise, {lists} still holds the people whom it held before, so people who "
            "withdrew a consent in the CRM since then would still be mailed. When the cause is corrected, run "
            "{command}.",
            lists=and_joined(lists),
            command=f"`{again}`",
        )
    else:
        return Message("Lists aren't concerned; the run's page has the details.")
    if not options:
        return consequence
    held = Message("What was accepted for the run that died holds for no other run than Dagster's retry.")
    return join_messages(" ", [consequence, held])


def _check_consequence(monitored: MonitoredAssets, subject: Subject) -> str:
    if subject == FEEDBACK:
        return Message(
            "Until it is corrected, people who unsubscribed may still be mailed: its page shows the details, and "
            "{manual}, “What an alarm means”, what to do.",
            manual=MANUAL,
        )
    if not subject.is_list:
        return Message("Its page shows the details; {manual}, “What an alarm means”, says what to do.", manual=MANUAL)
    return _consequence(monitored, {subject})


def _reason(entry: dg.EventLogEntry) -> str | None:
    """Return why a step failed, by its kind alone if the text isn't ours: other errors may quote personal data.

    None if that is an incident of its own: a failed check, or a run that died unless it was cancelled.
    """
    failure = entry.get_dagster_event().step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    if failure.error is None:
        return Message("its page has the details")
    kind = (failure.error.cause or failure.error).cls_name
    if failure.error.cls_name == "DagsterAssetCheckFailedError" or kind == "DagsterExecutionInterruptedError":
        return None
    return Message("{kind}; the run's page has the details", kind=kind)


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
