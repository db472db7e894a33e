"""Tags by which runs bring along what an instance's `dagster.yaml` says of all runs, and those of retries."""

import json
from collections.abc import Mapping

import dagster as dg

from campaign_sync.config import AutomationSettings, KubernetesSettings, MandatorSettings
from campaign_sync.orchestration.names import lane_tags, mandator_tags

POD_TAG = "dagster-k8s/config"
"""Tag of a run from which dagster-k8s takes what its pod has beyond the pods of other runs, as JSON."""


def job_tags(settings: MandatorSettings) -> dict[str, str]:
    """Return the tags that the jobs of a mandator give to all their runs, however these are started."""
    tags = safety_tags(settings.automation)
    if settings.kubernetes and (pod := pod_config(settings.kubernetes)):
        tags[POD_TAG] = json.dumps(pod, sort_keys=True)
    return tags


def queued_job_tags(mandator: str, settings: MandatorSettings) -> dict[str, str]:
    """Return the tags of the jobs of a mandator whose runs wait for each other."""
    return {
        **mandator_tags(mandator, prefix=settings.prefix),
        **lane_tags(mandator, settings.parallel_runs, prefix=settings.prefix),
        **job_tags(settings),
    }


def pod_config(kubernetes: KubernetesSettings) -> dict[str, object]:
    """Return the value of `POD_TAG`, of which dagster-k8s checks the keys and no quantity; empty for nothing.

    dagster-k8s appends to the environment that the pods of all runs have. Only with `SHALLOW` it replaces what is named
    here, so that a pod has no secrets but these.
    """
    limits = kubernetes.limits.given()
    requests = {**limits, **kubernetes.requests.given()}  # Kubernetes' own default, before those of the launcher
    resources = {kind: amounts for kind, amounts in (("requests", requests), ("limits", limits)) if amounts}
    container: dict[str, object] = {"resources": resources} if resources else {}
    if not kubernetes.secrets:
        return {"container_config": container} if container else {}
    container["env_from"] = [{"secret_ref": {"name": name}} for name in kubernetes.secrets]
    return {"container_config": container, "merge_behavior": "SHALLOW"}


def safety_tags(automation: AutomationSettings) -> dict[str, str]:
    """Return the tags of the jobs of a mandator: when Dagster starts a run again, and when it ends one.

    They have an effect where the instance has run retries and run monitoring enabled, which `instance_check` checks.
    """
    return {
        # Only a process that died is worth a new run: for other errors the product decides itself.
        "dagster/max_retries": "1",
        "dagster/retry_on_asset_or_op_failure": "false",
        dg.MAX_RUNTIME_SECONDS_TAG: f"{automation.max_runtime.total_seconds():.0f}",
    }


def retried_by_dagster(tags: Mapping[str, str]) -> str | None:
    """Return the run of which a run with these tags is Dagster's own retry; None if people started it.

    Dagster leaves the number of the retry out where a person has a run executed again in its UI.
    """
    return tags.get("dagster/parent_run_id") if "dagster/retry_number" in tags else None
