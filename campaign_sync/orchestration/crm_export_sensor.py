"""The sensor that starts a mandator's daily run as soon as the CRM has finished its nightly export."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import dagster as dg

from campaign_sync.config import Configuration, CrmExportSettings, MandatorSettings
from campaign_sync.crm.mirror.deferred_memory import DeferredMemory
from campaign_sync.crm.open import open_crm
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.cron import next_tick
from campaign_sync.orchestration.daily_replacement import (
    MANDATOR_TAG,
    PLANNED_FOR,
    STALE_AFTER,
    daily_job_name,
    planned_for,
)
from campaign_sync.storage.state import State

SETTLED_AFTER = timedelta(seconds=30)
"""A younger export is left for the next tick: its file may still be being written."""

HANDOVER = timedelta(minutes=5)
"""This shortly before the planned time only the schedule starts the run, so that not both do so at once."""


class CrmExportError(CampaignSyncError):
    """It isn't known whether the export has arrived. The message names the place and the remedy."""


def crm_export_sensor(configuration: Configuration, mandator: str) -> dg.SensorDefinition | None:
    """Return the sensor that starts the daily run once when the CRM's export has arrived; None if not configured."""
    settings = configuration.mandators[mandator]
    export = settings.crm_export
    if export is None:
        return None

    @dg.sensor(
        name=f"{mandator}_crm_export_arrived",
        job_name=daily_job_name(mandator),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_description(mandator, settings, export),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        arrived = _last_arrival(configuration, mandator, export)
        if arrived is None:
            return dg.SkipReason(f"{_source(export)} shows no finished export yet")
        at = f"the export of {arrived.astimezone(settings.zone):%Y-%m-%d %H:%M:%S}"
        if context.cursor and arrived <= datetime.fromisoformat(context.cursor):
            return dg.SkipReason(f"nothing new: {at} was seen before")
        if now - arrived < SETTLED_AFTER:
            return dg.SkipReason(f"{at} isn't {SETTLED_AFTER.seconds} s old yet; the next tick will use it")
        day, reason = _day_of(mandator, settings, export, arrived, now)
        if day and _was_started(context.instance, mandator, day):
            again = "the schedule runs as usual" if settings.schedule else "start it by hand"
            day, reason = None, f"the day planned for {day} was started before; if that failed, {again}"
        if day is None:
            return dg.SensorResult(skip_reason=f"{at} starts nothing: {reason}", cursor=arrived.isoformat())
        request = dg.RunRequest(run_key=f"{mandator}:{day}", tags={PLANNED_FOR: day})
        return dg.SensorResult(run_requests=[request], cursor=arrived.isoformat())

    return sensor


def _day_of(
    mandator: str, settings: MandatorSettings, export: CrmExportSettings, arrived: datetime, now: datetime
) -> tuple[str | None, str]:
    """Return the planned day that an export starts; else None, and why it starts none."""
    by_hand = f"start {daily_job_name(mandator)} by hand if its data should be in the lists today"
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


def _was_started(instance: dg.DagsterInstance, mandator: str, day: str) -> bool:
    tags = {MANDATOR_TAG: mandator, PLANNED_FOR: day}
    return instance.get_runs_count(dg.RunsFilter(job_name=daily_job_name(mandator), tags=tags)) > 0


def _last_arrival(configuration: Configuration, mandator: str, export: CrmExportSettings) -> datetime | None:
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
            f"correct the folder, or mandators.{mandator}.crm_export.marker"
        ) from None
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _last_export(configuration: Configuration, table: str) -> datetime | None:
    url = configuration.storage.state_url.get_secret_value()
    with ExitStack() as opened:
        memory = DeferredMemory(lambda: opened.enter_context(State(url)).consent_memory(read_only=True))
        return open_crm(configuration, memory).last_export(table)


def _source(export: CrmExportSettings) -> str:
    return f"the file {export.marker}" if export.marker else f"the CRM's export {export.table!r}"


def _description(mandator: str, settings: MandatorSettings, export: CrmExportSettings) -> str:
    hours = export.earliest.total_seconds() / 3600
    when = f"up to {hours:g} hours before the planned time" if settings.schedule else "once a day"
    return (
        f"Starts the daily replacement of {settings.display_name(mandator)} as soon as {_source(export)} shows that "
        f"the CRM has finished its nightly export, {when}. The schedule then skips that day. An export that comes "
        "too late starts nothing, and the tick says what to do. If it is red, the folder or the CRM can't be read: "
        "correct that. The schedule, if there is one, replaces the lists all the same."
    )
