"""What is used of Dagster that isn't in its public API.

Only this module, `open_storages` and `dagster_workspace` import private names of Dagster. Any version of it may change
these: a name that is missing is reported with the versions that have it.
"""

import dagster as dg

VERSIONS = ">=1.13.27,<1.14"
"""The versions of Dagster that have what is used here, as in `pyproject.toml`."""

try:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob
    from dagster._core.events import RunFailureReason
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorType, SensorInstigatorData
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
    from dagster._core.storage.base_storage import DagsterStorage
    from dagster._core.storage.event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
    from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG
    from dagster._serdes import ConfigurableClassData
    from dagster._utils.schedules import get_smallest_cron_interval, schedule_execution_time_iterator
except ImportError as error:
    raise ImportError(
        f"Dagster {dg.__version__} lacks what campaign_sync uses of it ({error}); install dagster{VERSIONS}"
    ) from None

__all__ = [
    "RUN_FAILURE_REASON_TAG",
    "AssetCheckExecutionRecord",
    "AssetCheckExecutionsTable",
    "AssetJob",
    "ConfigurableClassData",
    "DagsterSqliteStorage",
    "DagsterStorage",
    "InstigatorState",
    "InstigatorType",
    "RunFailureReason",
    "SensorInstigatorData",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "get_smallest_cron_interval",
    "schedule_execution_time_iterator",
]
