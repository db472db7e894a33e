"""The secrets of a mandator that can't be read, which keep its runs from being started."""

import dagster as dg

from campaign_sync.config import MandatorSettings, unavailable_secrets
from campaign_sync.domain.message import Message


def are_secrets_of_runs(instance: dg.DagsterInstance) -> bool:
    """Return whether runs have the secrets of this process: they are its children, and no pods or workers."""
    return isinstance(instance.run_launcher, dg.DefaultRunLauncher)


def lacking_secrets(instance: dg.DagsterInstance, mandator: str, settings: MandatorSettings) -> str | None:
    """Return in two sentences that runs of a mandator would have no secrets, and what to do; None if they have them.

    A run that was started all the same would only fail, and count as an attempt.
    """
    problems = unavailable_secrets(settings)
    if not problems or not are_secrets_of_runs(instance):
        return None
    return Message(
        "secrets of {mandator} can't be read, so nothing of it runs: {problems:inline}. Set them, and restart the code "
        "location",
        mandator=mandator,
        problems=" · ".join(problems),
    )
