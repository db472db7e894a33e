"""All that a code location has: a configuration in, definitions out."""

from datetime import datetime

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.orchestration.approval_job import approval_job
from campaign_sync.orchestration.assets.configuration import configuration_assets
from campaign_sync.orchestration.assets.mandator import mandator_assets
from campaign_sync.orchestration.broken_mandators import broken_daily_job, broken_daily_schedule
from campaign_sync.orchestration.configuration_sensor import configuration_sensor
from campaign_sync.orchestration.daily_replacement import daily_schedule
from campaign_sync.orchestration.feedback_schedules import feedback_schedules
from campaign_sync.orchestration.mandator_jobs import MandatorJobs
from campaign_sync.orchestration.resources import all_resources
from campaign_sync.orchestration.responses_schedule import responses_schedule
from campaign_sync.orchestration.retention_job import retention_job
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.orchestration.sensors import all_sensors


def build_definitions(
    configuration: Configuration, now: datetime, retry_policy: RetryPolicy | None = None
) -> dg.Definitions:
    """Return all definitions for the mandators of the configuration. Opens no connection.

    They can be merged with others: jobs bring their executor, and names of resources are our own.

    Args:
        configuration: all mandators.
        now: the moment from which freshness policies look at the schedules.
        retry_policy: how failed work is retried; None for the default.
    """
    mandators, broken = configuration.mandators.items(), configuration.broken_mandators.items()
    schedules = [schedule for name, settings in mandators if (schedule := daily_schedule(name, settings))]
    schedules += [schedule for name, settings in mandators for schedule in feedback_schedules(name, settings)]
    schedules += [schedule for name, settings in mandators if (schedule := responses_schedule(name, settings))]
    prefix = configuration.prefix
    broken_schedules = (
        broken_daily_schedule(name, settings, configuration.language, prefix=prefix) for name, settings in broken
    )
    schedules += [schedule for schedule in broken_schedules if schedule]
    assets = {name: mandator_assets(configuration, name, now) for name, _ in mandators}
    jobs = {name: MandatorJobs.of(configuration, name) for name in assets}
    sensors = [*all_sensors(configuration, assets, jobs), configuration_sensor(configuration)]
    all_assets = [asset for name in assets for asset in assets[name]]
    all_jobs = [job for of_mandator in jobs.values() for job in of_mandator]
    approvals = [approval_job(configuration, name) for name in assets]
    # Without what is left of broken mandators: their runs aren't purged, for it isn't known which are needed.
    purge, purge_schedule = retention_job(configuration, all_assets, [*all_jobs, *approvals], [*schedules, *sensors])
    return dg.Definitions(
        assets=[
            *all_assets,
            *(asset for name, _ in (*mandators, *broken) for asset in configuration_assets(configuration, name)),
        ],
        jobs=[
            *all_jobs,
            *approvals,
            *(broken_daily_job(name, settings, configuration.language, prefix=prefix) for name, settings in broken),
            purge,
        ],
        schedules=[*schedules, purge_schedule],
        sensors=sensors,
        resources=all_resources(configuration, retry_policy),
    )
