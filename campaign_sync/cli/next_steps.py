"""What messages of a run advise to do next."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from campaign_sync.storage.replacements import Replacement


@dataclass(frozen=True)
class NextSteps:
    """What error messages advise to do next."""

    again: str
    """The command that starts the replacement again."""
    ui: str = "`campaign-sync dev`"
    """What shows the runs in Dagster's UI."""
    if_dead: str = "terminate it on its page in Dagster's UI (`campaign-sync dev`)"
    """What ends a run whose process doesn't exist any more."""

    @classmethod
    def for_instance(cls, again: str) -> "NextSteps":
        """Return the advice for the instance in use. One that `DAGSTER_HOME` names has its own UI and daemon."""
        if os.environ.get("DAGSTER_HOME"):
            return cls(again, "Dagster's UI", "terminate it on its page in Dagster's UI")
        return cls(again)


def incomplete_lists(replacements: Sequence[Replacement], next_steps: NextSteps) -> list[str]:
    """Return a sentence for each of these lists, which replacements have left incomplete."""
    return [
        f"{replacement.mandator}/{replacement.list} is INCOMPLETE since "
        f"{replacement.cleared_at:%Y-%m-%d %H:%M:%S} UTC; send nothing to it and run `{next_steps.again}` again"
        for replacement in replacements
    ]
