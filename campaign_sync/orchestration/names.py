"""Names in Dagster beside the keys of assets: jobs, schedules, sensors, groups, and the tags of runs.

Each begins with the prefix of the code location, if it has one. `mandator` is always a key of the configuration.
"""

from collections.abc import Iterable

MANDATOR_TAG = "campaign_sync/mandator"
"""Tag of every run: the mandator, by `mandator_value`. Runs of one mandator wait for each other in Dagster's queue."""


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


def name_in_dagster(*parts: str, prefix: str = "") -> str:
    """Return the name of a job, schedule, sensor or group, like marketing_nord_daily_replace."""
    return "_".join([prefix, *parts] if prefix else parts)
