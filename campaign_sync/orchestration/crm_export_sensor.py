"""The sensor that starts a mandator's daily run as soon as the CRM has finished its nightly export."""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import dagster as dg

from campaign_sync.config import Configuration, CrmExportSettings, MandatorSettings
from campaign_sync.crm.mirror.deferred_memory import DeferredMemory
from campaign_sync.crm.open import open_crm
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.errors import CampaignSyncError
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.cron import next_tick
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import (
    PLANNED_FOR,
    STALE_AFTER,
    daily_job_name,
    planned_for,
    planned_run,
)
from campaign_sync.orchestration.mandator_secrets import lacking_secrets
from campaign_sync.orchestration.mandator_threads import PatientThreads
from campaign_sync.orchestration.mandator_ticks import MandatorTick, evaluate_mandators
from campaign_sync.orchestration.names import mandator_tags, name_in_dagster
from campaign_sync.storage.state import State

SETTLED_AFTER = timedelta(seconds=30)
"""A younger export is left for the next tick: its file may still be being written."""

HANDOVER = timedelta(minutes=5)
"""This shortly before the planned time only the schedule starts the run, so that not both do so at once."""


class CrmExportError(CampaignSyncError):
    """It isn't known whether the export has arrived. The message names the place and the remedy."""


def crm_export_sensor(configuration: Configuration, jobs: Mapping[str, AssetJob]) -> dg.SensorDefinition | None:
    """Return the sensor that starts a mandator's daily run once when the CRM's export has arrived.

    Args:
        configuration: all mandators.
        jobs: the daily job of each mandator with a `crm_export`; without any there is no sensor.
    """
    exports = {mandator: export for mandator in jobs if (export := configuration.mandators[mandator].crm_export)}
    if not exports:
        return None
    sources = {_source(export): export for export in exports.values()}
    threads: PatientThreads[str, datetime | None] = PatientThreads()

    @dg.sensor(
        name=name_in_dagster("campaign_sync_crm_export", prefix=configuration.prefix),
        jobs=list(jobs.values()),
        minimum_interval_seconds=240,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_description(configuration, exports),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        arrivals = threads.run(sources, lambda source: _last_arrival(configuration, sources[source]))

        def evaluate(mandator: str, cursor: str | None) -> MandatorTick:
            arrived = arrivals[_source(exports[mandator])]
            if isinstance(arrived, Exception):
                raise arrived
            return _tick(context.instance, mandator, configuration.mandators[mandator], arrived, cursor)

        return evaluate_mandators(context, exports, evaluate)

    return sensor


def _tick(
    instance: dg.DagsterInstance,
    mandator: str,
    settings: MandatorSettings,
    arrived: datetime | None,
    cursor: str | None,
) -> MandatorTick:
    """Return the run that an export starts, if it does; `cursor` is when the last one that was seen had arrived."""
    now, export = datetime.now(UTC), settings.crm_export
    if export is None or arrived is None:
        return MandatorTick(f"{_source(export)} shows no finished export yet" if export else "not configured", cursor)
    at = f"the export of {arrived.astimezone(settings.zone):%Y-%m-%d %H:%M:%S}"
    if cursor and arrived <= datetime.fromisoformat(cursor):
        return MandatorTick(f"nothing new: {at} was seen before", cursor)
    if now - arrived < SETTLED_AFTER:
        return MandatorTick(f"{at} isn't {SETTLED_AFTER.seconds} s old yet; the next tick will use it", cursor)
    day, reason = _day_of(mandator, settings, export, arrived, now)
    if day and _was_started(instance, mandator, settings.prefix, day):
        again = "the schedule runs as usual" if settings.schedule else "start it by hand"
        day, reason = None, f"the day planned for {day} was started before; if that failed, {again}"
    if day is None:
        return MandatorTick(f"{at} starts nothing: {reason}", arrived.isoformat())
    if lacking := lacking_secrets(instance, mandator, settings):
        return MandatorTick(f"{at} starts nothing yet: {lacking}; the next tick will use it", cursor)
    request = planned_run(mandator, settings, day, f"{mandator}:{day}")
    return MandatorTick(cursor=arrived.isoformat(), requests=(request,))


def _day_of(
    mandator: str, settings: MandatorSettings, export: CrmExportSettings, arrived: datetime, now: datetime
) -> tuple[str | None, str]:
    """Return the planned day that an export starts; else None, and why it starts none."""
    by_hand = (
        f"start {daily_job_name(mandator, prefix=settings.prefix)} by hand if its data should be in the lists today"
    )
    if settings.schedule is None:
        if now - arrived > STALE_AFTER:
            return None, f"it was found more than 2 hours later, which is too late; {by_hand}"
        return arrived.astimezone(settings.zone).date().isoformat(), ""
    planned = next_tick(settings.schedule, settings.zone, arrived)
    at = f"{planned.astimezone(settings.zone):%Y-%m-%d %H:%M %Z}"
    if planned - arrived > export.earliest:
        return None, (
            f"it came after the last planned time, and too long before the next one, {at} "
            f"(mandators.{mandator}.crm_export.earliest); {by_hand}"
        )
    if planned - now < HANDOVER:
        return None, f"when it was found, its planned time, {at}, had come or was about to, and that is the schedule's"
    return planned_for(planned, settings.zone), ""


def _was_started(instance: dg.DagsterInstance, mandator: str, prefix: str, day: str) -> bool:
    tags = {**mandator_tags(mandator, prefix=prefix), PLANNED_FOR: day}
    return instance.get_runs_count(dg.RunsFilter(job_name=daily_job_name(mandator, prefix=prefix), tags=tags)) > 0


def _last_arrival(configuration: Configuration, export: CrmExportSettings) -> datetime | None:
    """Return when the newest finished export arrived; None for never.

    Raises:
        CrmExportError: the folder can't be read.
        CrmError, StateError: the CRM can't be asked.
    """
    if export.table:
        return _last_export(configuration, export.table)
    path = Path(export.marker or "")
    try:
        times = [
            file.stat().st_mtime
            for file in path.parent.iterdir()
            if (file.name == path.name or fnmatchcase(file.name, path.name)) and file.is_file()
        ]
    except OSError as error:
        raise CrmExportError(
            f"{path.parent} can't be read, so it isn't known whether the CRM's export has arrived ({error.strerror}); "
            "correct the folder, or crm_export.marker"
        ) from None
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _last_export(configuration: Configuration, table: str) -> datetime | None:
    url = configuration.storage.state_url.get_secret_value()
    with ExitStack() as opened:
        memory = DeferredMemory(lambda: opened.enter_context(State(url)).consent_memory(read_only=True))
        return open_crm(configuration, memory).last_export(table)


def _source(export: CrmExportSettings) -> str:
    return f"the file {export.marker}" if export.marker else f"the CRM's export {export.table!r}"


def _description(configuration: Configuration, exports: Mapping[str, CrmExportSettings]) -> str:
    sources = [
        Message("the file {marker} ({mandator})", marker=str(export.marker), mandator=called)
        if export.marker
        else Message("the CRM's export {table} ({mandator})", table=repr(export.table), mandator=called)
        for mandator, export in exports.items()
        for called in [configuration.mandators[mandator].display_name(mandator)]
    ]
    description = Message(
        "Starts the daily replacement of a mandator as soon as the CRM has finished its nightly export, some hours "
        "before the planned time (crm_export.earliest) or, without a schedule, once a day. It is shown by {sources}. "
        "The schedule then skips that day. An export that comes too late starts nothing, and the tick says what to do. "
        "If it is red, the folder or the CRM of the mandators that it names can't be read: correct that. Their "
        "schedules, if there are any, replace the lists all the same.",
        sources=join_messages("; ", sources),
    )
    return translate(description, configuration.language)
