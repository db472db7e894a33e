"""Turns the errors we expect into what Dagster shows: one sentence, and whether trying again makes sense."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from campaign_sync.domain.printable_text import printable, printable_line
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.asset_keys import asset_name
from campaign_sync.orchestration.resources import Resources
from campaign_sync.orchestration.unreached_checks import say_not_evaluated
from campaign_sync.replacement.errors import IncompleteListError
from campaign_sync.replacement.progress import Progress, report
from campaign_sync.telemetry.spans import asset_span

_UNATTENDED_TAGS = frozenset({"dagster/schedule_name", "dagster/sensor_name"})


class Stopwatch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.evaluated: set[str] = set()
        """The checks that the asset has yielded before it failed."""

    @property
    def seconds(self) -> float:
        """Seconds up to now, to the millisecond."""
        return round(time.monotonic() - self._started, 3)


@contextmanager
def translate_errors(context: dg.AssetExecutionContext) -> Iterator[Stopwatch]:
    """Let an expected error end the step as a `Failure` that says what to do; meanwhile a stopwatch runs.

    A list left incomplete by a passing trouble is worth trying again at once, whoever started the run. Trouble before
    anything was changed is worth it only where nobody watches: in runs that a schedule or a sensor started.

    Checks that the run won't come to by that are reported as not evaluated.
    """
    watch, name = Stopwatch(), asset_name(context.asset_key)
    try:
        with asset_span(context.run.run_id, name, context.retry_number + 1):
            yield watch
    except CampaignSyncError as error:
        report(Progress(name.mandator, name.recipient_list or name.kind, "failed", 0, 0))
        resources = context.resources.ports
        assert isinstance(resources, Resources)  # noqa: S101 - every asset has them
        policy = resources.retry_policy
        unattended = not _UNATTENDED_TAGS.isdisjoint(context.run.tags)
        # An incomplete list is retried whoever started the run, and so is everything from the first retry on.
        at_once = unattended or isinstance(error, IncompleteListError) or context.retry_number > 0
        if error.retryable and at_once and context.retry_number < policy.retries:
            context.log.warning("trying again: %s", printable_line(str(error)))
            raise dg.RetryRequested(policy.retries, policy.pause(unattended=unattended)) from None
        why = printable(str(error))
        _say_why(context, why, watch)
        raise dg.Failure(why, allow_retries=False) from None
    except Exception as error:
        _say_why(context, type(error).__name__, watch)  # its text may quote anybody
        raise


def _say_why(context: dg.AssetExecutionContext, why: str, watch: Stopwatch) -> None:
    """What is wrong with that must not hide the failure itself."""
    failed = "/".join(context.asset_key.path)
    try:
        say_not_evaluated(context, f"{failed} failed: {why}", own=True, evaluated=watch.evaluated)
    except Exception as error:  # noqa: BLE001 - whatever it is, the failure itself counts
        context.log.warning("checks keep their last result, which is older than this run: %s", type(error).__name__)
