"""The current values of the metrics, read from the state database: the same for every process at any time."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine, desc, func, select

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.storage.feedback_imports import FeedbackImports
from campaign_sync.storage.list_drifts import ListDrifts
from campaign_sync.storage.replacement_steps import ADD_ALL, CLEAR
from campaign_sync.storage.replacements import Rejections, Replacement, Replacements, ReplacementState
from campaign_sync.storage.tables import feedback_import, replace, replace_step, snapshot, unmatched_feedback
from campaign_sync.telemetry import metrics
from campaign_sync.telemetry.metrics import GaugeValue

_FILLING_STEPS = (CLEAR, "setAttributes", ADD_ALL)


class Gauges:
    """Gauges of all configured mandators, lists and readers. Changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._drifts, self._feedback = ListDrifts(engine), FeedbackImports(engine)
        self._replacements, self._rejections = Replacements(engine), Rejections(engine)

    def all(self, configuration: Configuration, now: datetime) -> list[GaugeValue]:
        """Return every gauge as of now. There is none for what never happened."""
        samples = [GaugeValue(metrics.WRITTEN, now.timestamp(), {})]
        for mandator, settings in configuration.mandators.items():
            samples += self._of_feedback(mandator, settings, now)
            samples += self._of_run(mandator)
            for name in settings.lists:
                samples += self._of_list(mandator, name)
        return samples

    def _of_feedback(self, mandator: str, settings: MandatorSettings, now: datetime) -> Iterator[GaugeValue]:
        until = self._feedback.committed_until(mandator)
        for reader in settings.feedback.readers:
            if reader in until:
                age = (now - until[reader]).total_seconds()
                yield GaugeValue(metrics.FEEDBACK_AGE, age, {"mandator": mandator, "reader": reader})
        query = select(func.count()).where(unmatched_feedback.c.mandator == mandator)
        with self._engine.connect() as connection:
            unmatched = connection.execute(query).scalar_one()
        yield GaugeValue(metrics.FEEDBACK_UNMATCHED, unmatched, {"mandator": mandator})

    def _of_run(self, mandator: str) -> Iterator[GaugeValue]:
        """Yield the duration of the run whose replacement ended last, by what it wrote to the state database."""
        last = (
            select(replace.c.run_id, replace.c.finished_at)
            .where(replace.c.mandator == mandator, replace.c.finished_at.is_not(None))
            .order_by(desc(replace.c.finished_at))
            .limit(1)
        )
        with self._engine.connect() as connection:
            ended = connection.execute(last).first()
            if ended is None:
                return
            begun = [
                connection.execute(select(func.min(moment, type_=moment.type)).where(run_id == ended.run_id)).scalar()
                for moment, run_id in (
                    (feedback_import.c.imported_at, feedback_import.c.run_id),
                    (snapshot.c.created_at, snapshot.c.run_id),
                    (replace.c.started_at, replace.c.run_id),
                )
            ]
        seconds = (ended.finished_at - min(moment for moment in begun if moment)).total_seconds()
        yield GaugeValue(metrics.RUN_DURATION, seconds, {"mandator": mandator})

    def _of_list(self, mandator: str, name: str) -> Iterator[GaugeValue]:
        labels = {"mandator": mandator, "list": name}
        unfinished = self._replacements.incomplete(mandator, name)
        proven = self._replacements.last_proven(mandator, name)
        yield GaugeValue(metrics.LIST_INCOMPLETE, int(unfinished is not None), labels)
        if unfinished and unfinished.cleared_at:
            yield GaugeValue(metrics.LIST_INCOMPLETE_SINCE, unfinished.cleared_at.timestamp(), labels)
        drift = self._drifts.of(mandator, name, proven.id) if proven else None
        if drift and drift.checked_at:
            yield GaugeValue(metrics.LIST_DRIFTED, int(drift.drifted_since is not None), labels)
        if proven and proven.finished_at:
            yield GaugeValue(metrics.LIST_PROVEN, proven.finished_at.timestamp(), labels)
            yield GaugeValue(metrics.LIST_ROWS, proven.in_list or 0, labels)
            yield GaugeValue(metrics.LIST_INCOMPLETE_DURATION, self._incomplete_for(proven), labels)
        yield GaugeValue(metrics.LIST_FAILED_REPLACES, self._failed_since(mandator, name, proven), labels)
        last = (
            select(*replace.c["run_id", "started_at", "finished_at"])
            .where(replace.c.mandator == mandator, replace.c.list == name, replace.c.finished_at.is_not(None))
            .order_by(desc(replace.c.started_at))
            .limit(1)
        )
        with self._engine.connect() as connection:
            ended = connection.execute(last).first()
        if ended:
            yield GaugeValue(
                metrics.LIST_REPLACE_DURATION, (ended.finished_at - ended.started_at).total_seconds(), labels
            )
            for (stage, reason), rows in sorted(self._rejections.counts(ended.run_id, mandator, name).items()):
                yield GaugeValue(metrics.LIST_REJECTED, rows, {**labels, "stage": stage, "reason": reason})

    def _incomplete_for(self, proven: Replacement) -> float:
        """Return the seconds from the first change to the end of the fill, including earlier, unfinished attempts."""
        query = select(func.max(replace_step.c.ended_at, type_=replace_step.c.ended_at.type)).where(
            replace_step.c.replace_id == proven.id, replace_step.c.step.in_(_FILLING_STEPS)
        )
        with self._engine.connect() as connection:
            ended: datetime | None = connection.execute(query).scalar()
        return (ended - proven.cleared_at).total_seconds() if ended and proven.cleared_at else 0.0

    def _failed_since(self, mandator: str, name: str, proven: Replacement | None) -> int:
        query = select(func.count()).where(
            replace.c.mandator == mandator, replace.c.list == name, replace.c.state == ReplacementState.FAILED
        )
        if proven:
            query = query.where(replace.c.started_at > proven.started_at)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()
