"""The front door: configuration in, Definitions out."""

import dagster as dg

from campaign_sync.assets.mandator import mandator_assets
from campaign_sync.assets.parquet import ParquetIOManager
from campaign_sync.assets.ports import ports_resource
from campaign_sync.automation.daily import daily_job, daily_schedule
from campaign_sync.automation.unfinished import unfinished_replace_sensor
from campaign_sync.configuration import Configuration, load_configuration


def build_definitions(configuration: Configuration) -> dg.Definitions:
    """Everything Dagster needs to know, for all mandators of the configuration. Reaches for nothing yet."""
    mandators = configuration.mandators.items()
    schedules = [daily_schedule(name, settings) for name, settings in mandators]
    return dg.Definitions(
        assets=[asset for name in configuration.mandators for asset in mandator_assets(configuration, name)],
        jobs=[daily_job(name) for name in configuration.mandators],
        schedules=[schedule for schedule in schedules if schedule],
        sensors=[unfinished_replace_sensor(configuration, name) for name in configuration.mandators],
        resources={
            "ports": ports_resource(configuration),
            "parquet": ParquetIOManager(configuration.storage.frames),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster` and `dg` load: the configuration named by `CAMPAIGN_SYNC_CONFIG`."""
    return build_definitions(load_configuration())
