"""What Dagster knows of a mandator's incidents: steps that failed, runs that died, checks that don't hold."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.incident import FEEDBACK, RUN, Incident, IncidentKind, Subject
from campaign_sync.orchestration.asset_keys import asset_name, feedback_keys
from campaign_sync.orchestration.assets.list_drift import CHECK as UNCHANGED
from campaign_sync.orchestration.daily_replacement import BUSY

PATIENCE = timedelta(minutes=3)
"""So long after a run died, Dagster's own retry may still take it up."""

_BY_ITSELF = frozenset({"feedback_age", UNCHANGED})
"""Checks whose incident is found otherwise, and at once."""

_LEADS_ON = frozenset({AssetKind.SELECTION, AssetKind.SNAPSHOT, AssetKind.BOUNCES, AssetKind.UNSUBSCRIBES})
"""Assets that are good for nothing but the one at the end of their subject."""

_RESPONSES = frozenset({AssetKind.OPENS, AssetKind.CLICKS, AssetKind.RESPONSES})


@dataclass(frozen=True)
class Watched:
    """The assets and checks of a mandator."""

    mandator: str
    assets: tuple[dg.AssetKey, ...]
    checks: tuple[dg.AssetCheckKey, ...]

    @classmethod
    def of(cls, mandator: str, assets: Sequence[dg.AssetsDefinition]) -> "Watched":
        """All of these definitions."""
        return cls(
            mandator,
            tuple(key for one in assets for key in one.keys),
            tuple(key for one in assets for key in one.check_keys if key.name not in _BY_ITSELF),
        )

    def subject(self, key: dg.AssetKey) -> Subject:
        """What a incident of an asset is about: its list, the feedback, or the asset itself."""
        if key in feedback_keys(self.mandator):
            return FEEDBACK
        name = asset_name(key)
        if name.recipient_list:
            return Subject.of_list(name.recipient_list)
        return Subject(f"the {'responses' if name.kind in _RESPONSES else name.kind}")


@dataclass(frozen=True)
class Attempts:
    """The newest run that was to make each asset of a mandator."""

    watched: Watched
    run_of: Mapping[dg.AssetKey, str]
    runs: Mapping[str, dg.RunRecord]
    made: Collection[dg.AssetKey]
    """Assets that this run has made."""

    @classmethod
    def of(cls, watched: Watched, instance: DagsterInstance) -> "Attempts":
        """As of now."""
        records = instance.get_asset_records(list(watched.assets))
        run_of = {one.asset_entry.asset_key: one.asset_entry.last_run_id for one in records}
        known = {key: run_id for key, run_id in run_of.items() if run_id}
        runs = instance.get_run_records(dg.RunsFilter(run_ids=sorted(set(known.values())))) if known else []
        newest = {one.asset_entry.asset_key: one.asset_entry.last_materialization_record for one in records}
        made = {key for key, one in newest.items() if one and one.run_id == known.get(key)}
        return cls(watched, known, {record.dagster_run.run_id: record for record in runs}, made)

    def unsettled(self) -> set[Subject]:
        """Subjects that a run is working at, or will."""
        busy = {run_id for run_id, record in self.runs.items() if record.dagster_run.status in BUSY}
        return {self.watched.subject(key) for key, run_id in self.run_of.items() if run_id in busy}

    def undecided(self) -> set[Subject]:
        """Subjects that weren't made by the newest run that was to: what was wrong before isn't over by that.

        The run may not be there yet, or was cancelled, or something else has stopped it.
        """
        ends = {
            key: self.runs[run_id].dagster_run.status
            for key, run_id in self.run_of.items()
            if self._is_goal(key) and run_id in self.runs
        }
        subjects = {key: self.watched.subject(key) for key in ends}
        of_the_day = {ends[key] for key, subject in subjects.items() if subject.is_list or subject == FEEDBACK}
        run = {RUN} if of_the_day & {*BUSY, DagsterRunStatus.CANCELED} else set()
        return run | {subject for key, subject in subjects.items() if key not in self.made}

    def unknown(self) -> set[Subject]:
        """Return the subjects that Dagster knows no run of: its history is gone, or their assets have new keys."""
        goals = {key: self.watched.subject(key) for key in self.watched.assets if self._is_goal(key)}
        subjects = {subject for key, subject in goals.items() if key not in self.run_of}
        lists = {subject for subject in goals.values() if subject.is_list}
        return subjects | {RUN} if lists and lists <= subjects else subjects

    @staticmethod
    def _is_goal(key: dg.AssetKey) -> bool:
        return asset_name(key).kind not in _LEADS_ON


def failed_steps(attempts: Attempts, instance: DagsterInstance) -> Iterator[Incident]:
    """Assets whose newest run failed at them; and runs that ended without any step that says why."""
    for record in attempts.runs.values():
        run = record.dagster_run
        if run.status not in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED):
            continue
        events = instance.all_logs(run.run_id, of_type={DagsterEventType.STEP_FAILURE})
        steps = {entry.step_key: entry for entry in events}
        concerned = [key for key, run_id in attempts.run_of.items() if run_id == run.run_id]
        for key in concerned:
            entry = steps.get(key.to_python_identifier())
            sentence = _sentence(entry) if entry else None
            if entry and sentence:
                yield _failed(attempts.watched, key, run, _moment(entry.timestamp), sentence)
        ended = _moment(record.end_time) if record.end_time else record.update_timestamp
        died = not steps or run.tags.get(RUN_FAILURE_REASON_TAG) != RunFailureReason.STEP_FAILURE.value
        died &= run.status is DagsterRunStatus.FAILURE
        if concerned and died and datetime.now(UTC) - ended.astimezone(UTC) > PATIENCE:
            yield _died(attempts.watched, concerned, run, ended)


def failed_checks(watched: Watched, instance: DagsterInstance) -> Iterator[Incident]:
    """Checks whose newest result is an error. One that never came to a result says nothing."""
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(watched.checks))
    for key, record in latest.items():
        evaluation = record.evaluation if record.event and record.event.dagster_event else None
        if record.event is None or not isinstance(evaluation, dg.AssetCheckEvaluation) or evaluation.passed:
            continue
        if evaluation.severity is dg.AssetCheckSeverity.ERROR:
            found = evaluation.description or "its page tells what it found"
            yield Incident(
                watched.mandator,
                watched.subject(key.asset_key),
                IncidentKind.CHECK,
                _moment(record.event.timestamp),
                f"The check {key.name} of {_called(key.asset_key)} failed: {found.rstrip('.')}.",
                _of_a_check(watched, watched.subject(key.asset_key)),
                f"/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
            )


def _failed(watched: Watched, key: dg.AssetKey, run: DagsterRun, since: datetime, sentence: str) -> Incident:
    return Incident(
        watched.mandator,
        watched.subject(key),
        IncidentKind.FAILED,
        since,
        f"{_called(key)} failed: {sentence.rstrip('.')}.",
        _consequence(watched, {watched.subject(key)}),
        f"/runs/{run.run_id}",
    )


def _died(watched: Watched, concerned: Sequence[dg.AssetKey], run: DagsterRun, ended: datetime) -> Incident:
    return Incident(
        watched.mandator,
        RUN,
        IncidentKind.DIED,
        ended,
        f"A run of {watched.mandator} ended without saying why, at {ended.astimezone(UTC):%Y-%m-%d %H:%M} UTC: its "
        "process was killed, took too long, or the machine was restarted.",
        _consequence(watched, {watched.subject(key) for key in concerned}),
        f"/runs/{run.run_id}",
    )


def _consequence(watched: Watched, subjects: Collection[Subject]) -> str:
    lists = sorted(subject.name for subject in subjects if subject.is_list)
    again = " ".join(["campaign-sync run", watched.mandator, *(f"--list {name}" for name in lists)])
    withdrawn = "whoever withdrew a consent in the CRM since then would still be mailed"
    if FEEDBACK in subjects:
        return (
            "No list of the mandator is replaced until this is mended: lists keep the people of their last proof, and "
            f"{withdrawn}. When it is mended, run `campaign-sync run {watched.mandator}`."
        )
    if lists:
        return (
            f"Unless told otherwise {' and '.join(lists)} still holds the people of its last proof, so {withdrawn}. "
            f"When it is mended, run `{again}`."
        )
    return "Lists aren't concerned; the run's page has the details."


def _of_a_check(watched: Watched, subject: Subject) -> str:
    if subject == FEEDBACK:
        return (
            "Until it is mended, somebody who left may still be mailed: its page shows what it found, and "
            "docs/operations.md, “What an alarm means”, what to do."
        )
    if not subject.is_list:
        return "Its page shows what it found; docs/operations.md, “What an alarm means”, tells what to do."
    return _consequence(watched, {subject})


def _sentence(entry: dg.EventLogEntry) -> str | None:
    """Why a step failed, where we said so ourselves. Texts of other errors may quote anything."""
    failure = entry.get_dagster_event().step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    if failure.error is None:
        return "its page has the details"
    kind = (failure.error.cause or failure.error).cls_name
    if failure.error.cls_name == "DagsterAssetCheckFailedError" or kind == "DagsterExecutionInterruptedError":
        return None  # told as a failed check, or as a run that died unless somebody has cancelled it
    return f"{kind}; the run's page has the details"


def _called(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
