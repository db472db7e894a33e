"""Names in Dagster beside the keys of assets: jobs, schedules, sensors, groups, and the tags of runs.

Each begins with the prefix of the code location, if it has one. `mandator` is always a key of the configuration.
"""

from collections.abc import Iterable

MANDATOR_TAG = "campaign_sync/mandator"
"""Tag of every run: the mandator, by `mandator_value`."""

USER_TAG = "campaign_sync/user"
"""Tag of a run that a person launched through the reverse proxy, added by `campaign_sync.webserver`: their login."""

MANDATOR_JOBS = ("daily_replace", "feedback", "audit", "list_drift", "report", "responses", "approve")
"""What the names of a mandator's jobs end with, as far as its settings ask for them."""

MANDATOR_SCHEDULES = ("daily", "feedback_schedule", "audit_schedule", "responses_schedule")
"""What the names of its schedules end with."""

SENSORS = (
    "campaign_sync_alarms",
    "campaign_sync_configuration",
    "campaign_sync_crm_export",
    "campaign_sync_feedback_watch",
    "campaign_sync_list_drift",
    "campaign_sync_metrics",
    "campaign_sync_repair",
    "campaign_sync_reports",
    "campaign_sync_retention_watch",
)
"""The names of the sensors that serve all mandators, as far as their settings ask for them."""

LANE_TAG = "campaign_sync/lane_"
"""Begins the tags by which runs of one mandator wait for each other in Dagster's queue; a lane's number follows."""


def mandator_value(mandator: str, *, prefix: str = "") -> str:
    """Return the value of `MANDATOR_TAG` for a mandator, like nord or marketing/nord.

    Two code locations that have a mandator of the same name don't take the other's runs for theirs.
    """
    return f"{prefix}/{mandator}" if prefix else mandator


def mandators_by_value(mandators: Iterable[str], *, prefix: str = "") -> dict[str, str]:
    """Return the mandators by their values of `MANDATOR_TAG`."""
    return {mandator_value(mandator, prefix=prefix): mandator for mandator in mandators}


def mandator_tags(mandator: str, *, prefix: str = "") -> dict[str, str]:
    """Return the tag that all runs of a mandator have, to give it to them and to find them."""
    return {MANDATOR_TAG: mandator_value(mandator, prefix=prefix)}


def lane_tags(mandator: str, lanes: int, *, group: int | None = None, prefix: str = "") -> dict[str, str]:
    """Return the tags of a run by which it waits for other runs of its mandator in Dagster's queue.

    Of the runs with the same value of one of them, the queue lets one begin. A run of a group takes the lane of its
    group, so that groups run beside each other; every other run takes all lanes, so it waits for all groups.

    Args:
        mandator: a key of the configuration.
        lanes: how many groups of its lists may be replaced at the same time.
        group: the number of the run's group, from 1; None for all other runs.
        prefix: of the code location.
    """
    value = mandator_value(mandator, prefix=prefix)
    # A run can't take off a tag of its job, so in other lanes it has a value that no other run has.
    return {f"{LANE_TAG}{lane}": value if group in (None, lane) else f"{value}:{group}" for lane in range(1, lanes + 1)}


def approval_job_name(mandator: str, *, prefix: str = "") -> str:
    """Return the name of the job by which people approve plans of a mandator's lists."""
    return name_in_dagster(mandator, "approve", prefix=prefix)


def name_in_dagster(*parts: str, prefix: str = "") -> str:
    """Return the name of a job, schedule, sensor or group, like marketing_nord_daily_replace."""
    return "_".join([prefix, *parts] if prefix else parts)
