"""Tags by which runs bring along what the product's own `dagster.yaml` says of them, and those of retries."""

from collections.abc import Mapping

import dagster as dg

from campaign_sync.config import AutomationSettings


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
