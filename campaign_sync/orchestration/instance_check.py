"""What a Dagster instance lacks of the settings that runs of this product rely on, and the YAML that adds it.

What a job can carry itself travels as its tags (`run_tags`). The rest is `dagster.yaml`, which belongs to others where
the instance is shared.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.orchestration.names import LANE_TAG, MANDATOR_TAG, mandator_value
from campaign_sync.orchestration.responses_schedule import RESPONSES_TAG

_LIMIT = "{{key: {key}, value: {{applyLimitPerUniqueValue: true}}, limit: 1}}"

_LOCKS = (
    "Locks keep them apart: the second one is refused at each list that the first one is replacing, and tried again "
    "later."
)


@dataclass(frozen=True)
class LackingSetting:
    """A setting that the instance doesn't have."""

    section: str
    """Of `dagster.yaml`."""
    consequence: str
    """What happens without it, and what doesn't, in a sentence."""
    remedy: str
    """The lines to add to `dagster.yaml`."""


@dataclass(frozen=True)
class IneffectiveSetting:
    """A setting of the configuration that has no effect on the instance, or not all of it."""

    place: str
    """In the configuration file."""
    reason: str
    """Why, and what to do, in a sentence."""


def ineffective_settings(
    instance: dg.DagsterInstance, mandators: Mapping[str, MandatorSettings]
) -> Iterator[IneffectiveSetting]:
    """Yield what the settings of mandators would have of an instance that is set up otherwise."""
    launcher = instance.get_ref().run_launcher_data
    for mandator, settings in mandators.items():
        if settings.kubernetes and launcher and _starts_no_pods(launcher.module_name):
            yield IneffectiveSetting(
                f"mandators.{mandator}.kubernetes",
                f"it has no effect: runs of this instance aren't pods (run_launcher: {launcher.class_name})",
            )
        for number, reason in _limits_of_groups(instance, mandator, settings):
            if number < settings.groups:
                yield IneffectiveSetting(
                    f"mandators.{mandator}.parallel_runs",
                    f"of {settings.groups} groups of lists {number} can run at the same time, because {reason}",
                )


def _starts_no_pods(module_name: str) -> bool:
    """Return whether a module of Dagster's own has a launcher of runs that aren't pods; of others that isn't known."""
    return module_name.startswith("dagster") and "k8s" not in module_name


def _limits_of_groups(
    instance: dg.DagsterInstance, mandator: str, settings: MandatorSettings
) -> Iterator[tuple[int, str]]:
    """Yield how many runs of a mandator each setting of the queue lets run at the same time, and which it is."""
    queue = instance.get_concurrency_config().run_queue_config
    if queue is None or not isinstance(instance.run_coordinator, dg.QueuedRunCoordinator):
        return
    if queue.max_concurrent_runs >= 0:
        yield queue.max_concurrent_runs, "concurrency.runs.max_concurrent_runs of the instance is lower"
    of_mandator = mandator_value(mandator, prefix=settings.prefix)
    for limit in queue.tag_concurrency_limits:
        value = limit.get("value")
        if limit["key"] == MANDATOR_TAG and (not isinstance(value, str) or value == of_mandator):
            reason = (
                f"concurrency.runs.tag_concurrency_limits of the instance limits {MANDATOR_TAG}; remove that: "
                f"limits on {_lane(1)} and so on keep runs of a mandator apart"
            )
            yield limit["limit"], reason


def lacking_settings(
    instance: dg.DagsterInstance, mandators: Iterable[MandatorSettings] = ()
) -> Iterator[LackingSetting]:
    """Yield what an instance lacks for these mandators. Opens nothing but the instance's settings."""
    yield from _queue(instance, max((settings.groups for settings in mandators), default=1))
    yield from _monitoring(instance)
    if not instance.run_retries_enabled:
        yield LackingSetting(
            "run_retries",
            "A run whose process dies isn't started again by Dagster. Lists that it left incomplete are repaired by "
            "our own sensor all the same; those that it hadn't come to may keep yesterday's people until the next run.",
            "run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}",
        )
    if not instance.freshness_enabled:
        yield LackingSetting(
            "freshness",
            "Late lists aren't marked in Dagster's UI. Alarms of late lists are sent all the same.",
            "freshness: {enabled: true}",
        )
    if not instance.get_settings("retention"):
        yield LackingSetting(
            "retention",
            "Ticks of schedules and sensors, some thousand a day, are kept for ever.",
            "retention:\n"
            "  schedule: {purge_after_days: 90}\n"
            "  sensor: {purge_after_days: {skipped: 7, success: 30, failure: 90}}",
        )


def _queue(instance: dg.DagsterInstance, groups: int) -> Iterator[LackingSetting]:
    coordinator, queue = instance.run_coordinator, instance.get_concurrency_config().run_queue_config
    if not isinstance(coordinator, dg.QueuedRunCoordinator):
        yield LackingSetting(
            "run_coordinator",
            f"Runs don't wait in a queue ({type(coordinator).__name__}): two runs of a mandator may run at the same "
            f"time. {_LOCKS}",
            "run_coordinator:\n  module: dagster.core.run_coordinator\n  class: QueuedRunCoordinator",
        )
    limits = queue.tag_concurrency_limits if queue else []
    tags = (*(_lane(lane) for lane in range(1, groups + 1)), RESPONSES_TAG)
    missing = [key for key in tags if not any(_is_enough(limit, key) for limit in limits)]
    if missing:
        entries = "\n".join(f"      - {_LIMIT.format(key=key)}" for key in missing)
        yield LackingSetting(
            "concurrency.runs.tag_concurrency_limits",
            f"Runs with the same value of {' or '.join(missing)} don't wait for each other. {_LOCKS}",
            f"concurrency:\n  runs:\n    tag_concurrency_limits:\n{entries}",
        )


def lanes(instance: dg.DagsterInstance) -> int:
    """Return how many groups of a mandator's lists the queue's limits keep apart from its other runs."""
    queue = instance.get_concurrency_config().run_queue_config
    limits = queue.tag_concurrency_limits if queue else []
    return next(lane for lane in count() if not any(_is_enough(limit, _lane(lane + 1)) for limit in limits))


def _lane(number: int) -> str:
    return f"{LANE_TAG}{number}"


def _is_enough(limit: Mapping[str, Any], key: str) -> bool:
    """Return whether a limit of the queue lets runs with the same value of this tag wait for each other."""
    value = limit.get("value")
    per_value = isinstance(value, Mapping) and value.get("applyLimitPerUniqueValue")
    return bool(limit["key"] == key and limit["limit"] == 1 and per_value)


def _monitoring(instance: dg.DagsterInstance) -> Iterator[LackingSetting]:
    if not instance.run_monitoring_enabled:
        yield LackingSetting(
            "run_monitoring",
            "A run that hangs is never ended, and a run that doesn't start blocks its mandator's queue. Runs whose "
            "process is gone are ended by our own sensors all the same.",
            "run_monitoring: {enabled: true, start_timeout_seconds: 180}",
        )
