"""The current values of the metrics, read from the state database: the same for every process at any time."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, Engine, func, select, union_all

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.storage.database import reading
from campaign_sync.storage.feedback_imports import read_watermarks
from campaign_sync.storage.list_states import ListState, VendorListKey, read_list_states
from campaign_sync.storage.replacement_steps import ADD_ALL, CLEAR
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.tables import feedback_import, rejection, replace, replace_step, snapshot, unmatched_feedback
from campaign_sync.telemetry import metrics
from campaign_sync.telemetry.metrics import GaugeValue

_FILLING_STEPS = (CLEAR, "setAttributes", ADD_ALL)

_Rejected = Mapping[tuple[str, str], int]
"""Counts of people by stage and reason."""


@dataclass(frozen=True)
class _Reading:
    """What all gauges are computed from, of one moment."""

    lists: Mapping[VendorListKey, ListState]
    watermarks: Mapping[str, Mapping[str, datetime]]
    unmatched: Mapping[str, int]
    """Addresses that the CRM doesn't know, by mandator."""
    begun: Mapping[str, datetime]
    """When a run wrote to the state database first, by run."""
    filled: Mapping[str, datetime]
    """When the last call that filled a list ended, by proven replacement."""
    rejected: Mapping[tuple[str, str, str], _Rejected]
    """By run, mandator and list."""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """Read everything; the number of statements doesn't depend on how much there is."""
        lists = read_list_states(connection)
        ended = {state.ended.run_id for state in lists.values() if state.ended}
        proven = {state.proven.id for state in lists.values() if state.proven}
        return cls(
            lists,
            read_watermarks(connection),
            _unmatched(connection),
            _begun(connection, ended),
            _filled(connection, proven),
            _rejected(connection, ended),
        )


class Gauges:
    """Gauges of all configured mandators, lists and readers. Changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, configuration: Configuration, now: datetime) -> list[GaugeValue]:
        """Return every gauge as of now. There is none for what never happened."""
        with reading(self._engine) as connection:
            read = _Reading.of(connection)
        samples = [GaugeValue(metrics.WRITTEN, now.timestamp(), {})]
        for mandator, settings in configuration.mandators.items():
            samples += _of_feedback(read, mandator, settings, now)
            samples += _of_run(read, mandator)
            for name, list_id in settings.recipient_list_ids.items():
                samples += _of_list(read, mandator, name, list_id)
        return samples


def _of_feedback(read: _Reading, mandator: str, settings: MandatorSettings, now: datetime) -> Iterator[GaugeValue]:
    until = read.watermarks.get(mandator, {})
    for reader in settings.feedback.readers:
        if reader in until:
            age = (now - until[reader]).total_seconds()
            yield GaugeValue(metrics.FEEDBACK_AGE, age, {"mandator": mandator, "reader": reader})
    yield GaugeValue(metrics.FEEDBACK_UNMATCHED, read.unmatched.get(mandator, 0), {"mandator": mandator})


def _of_run(read: _Reading, mandator: str) -> Iterator[GaugeValue]:
    """Yield the duration of the run whose replacement ended last, by what it wrote to the state database."""
    ended = [
        state.ended for (of_mandator, _, _), state in read.lists.items() if of_mandator == mandator and state.ended
    ]
    finished = [(entry.finished_at, entry.run_id) for entry in ended if entry.finished_at]
    if finished:
        finished_at, run_id = max(finished)
        seconds = (finished_at - read.begun[run_id]).total_seconds()
        yield GaugeValue(metrics.RUN_DURATION, seconds, {"mandator": mandator})


def _of_list(read: _Reading, mandator: str, name: str, list_id: int) -> Iterator[GaugeValue]:
    labels, state = {"mandator": mandator, "list": name}, read.lists.get((mandator, name, list_id), ListState())
    yield GaugeValue(metrics.LIST_INCOMPLETE, int(state.incomplete is not None), labels)
    if state.incomplete_since:
        yield GaugeValue(metrics.LIST_INCOMPLETE_SINCE, state.incomplete_since.timestamp(), labels)
    if state.drift and state.drift.checked_at:
        yield GaugeValue(metrics.LIST_DRIFTED, int(state.drift.drifted_since is not None), labels)
    proven, ended = state.proven, state.ended
    if proven and proven.finished_at:
        yield GaugeValue(metrics.LIST_PROVEN, proven.finished_at.timestamp(), labels)
        yield GaugeValue(metrics.LIST_ROWS, proven.in_list or 0, labels)
        yield GaugeValue(metrics.LIST_INCOMPLETE_DURATION, _incomplete_for(proven, read.filled.get(proven.id)), labels)
    yield GaugeValue(metrics.LIST_FAILED_REPLACES, state.failures, labels)
    if ended and ended.finished_at:
        yield GaugeValue(metrics.LIST_REPLACE_DURATION, (ended.finished_at - ended.started_at).total_seconds(), labels)
        for (stage, reason), rows in sorted(read.rejected.get((ended.run_id, mandator, name), {}).items()):
            yield GaugeValue(metrics.LIST_REJECTED, rows, {**labels, "stage": stage, "reason": reason})


def _incomplete_for(proven: Replacement, filled: datetime | None) -> float:
    """Return the seconds from the first change to the end of the fill, including earlier, unfinished attempts."""
    return (filled - proven.cleared_at).total_seconds() if filled and proven.cleared_at else 0.0


def _unmatched(connection: Connection) -> dict[str, int]:
    query = select(unmatched_feedback.c.mandator, func.count()).group_by(unmatched_feedback.c.mandator)
    return dict(connection.execute(query).all())


def _begun(connection: Connection, run_ids: Collection[str]) -> dict[str, datetime]:
    written = ((feedback_import, "imported_at"), (snapshot, "created_at"), (replace, "started_at"))
    queries = (
        select(table.c.run_id, func.min(table.c[moment], type_=table.c[moment].type).label("moment"))
        .where(table.c.run_id.in_(run_ids))
        .group_by(table.c.run_id)
        for table, moment in written
    )
    begun: dict[str, datetime] = {}
    for run_id, moment in connection.execute(union_all(*queries)):
        begun[run_id] = min(moment, begun.get(run_id, moment))
    return begun


def _filled(connection: Connection, replace_ids: Collection[str]) -> dict[str, datetime]:
    query = (
        select(replace_step.c.replace_id, func.max(replace_step.c.ended_at, type_=replace_step.c.ended_at.type))
        .where(
            replace_step.c.replace_id.in_(replace_ids),
            replace_step.c.step.in_(_FILLING_STEPS),
            replace_step.c.ended_at.is_not(None),
        )
        .group_by(replace_step.c.replace_id)
    )
    return dict(connection.execute(query).all())


def _rejected(connection: Connection, run_ids: Collection[str]) -> dict[tuple[str, str, str], _Rejected]:
    by = rejection.c["run_id", "mandator", "list", "stage", "reason"]
    rejected: defaultdict[tuple[str, str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    query = select(*by, func.count().label("people")).where(rejection.c.run_id.in_(run_ids)).group_by(*by)
    for row in connection.execute(query):
        rejected[row.run_id, row.mandator, row.list][row.stage, row.reason] = row.people
    return dict(rejected)
