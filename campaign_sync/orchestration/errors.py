"""Errors of our own as Dagster shows them: one sentence with the remedy, or a retry where it can help."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from campaign_sync.domain.message import Message
from campaign_sync.domain.printable_text import printable, printable_line
from campaign_sync.domain.progress import Progress, report
from campaign_sync.errors import CampaignSyncError
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_name
from campaign_sync.orchestration.resources import RunResource, StateResource
from campaign_sync.orchestration.unreached_checks import report_unevaluated
from campaign_sync.replacement.errors import IncompleteListError
from campaign_sync.storage.files import release_memory
from campaign_sync.telemetry.spans import asset_span

_UNATTENDED_TAGS = frozenset({"dagster/schedule_name", "dagster/sensor_name"})

RETRYABLE = "retryable"
"""Metadata of a failed step: whether the same work may well succeed if it is begun again later."""


AWAITED_PLAN = "awaited_plan"
"""Metadata of a failed step: the plan whose approval its list waits for, if it does."""


class AssetAttempt:
    """An attempt at an asset in a run."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.evaluated_checks: set[str] = set()
        """The checks that the asset has yielded before it failed."""
        self.passes_later = False
        """Whether its error, though not worth a retry in this run, may well be over in a later one."""
        self.awaited_plan: str | None = None
        """The plan whose approval its list waits for."""

    @property
    def seconds(self) -> float:
        """Return the seconds since it began, to the millisecond."""
        return round(time.monotonic() - self._started, 3)


@contextmanager
def translate_errors(
    context: dg.AssetExecutionContext, run: RunResource, state: StateResource
) -> Iterator[AssetAttempt]:
    """Turn an error of our own into a retry or a `Failure` that says what to do.

    An incomplete list is retried after a retryable error in every run. Other assets are retried only in runs that a
    schedule or a sensor started: a person who waits for a run starts it again. Checks that the run won't evaluate by
    then are reported as not evaluated.
    """
    release_memory()  # of the asset before
    attempt, name = AssetAttempt(), asset_name(context.asset_key)
    try:
        with asset_span(context.run.run_id, name, context.retry_number + 1):
            yield attempt
    except CampaignSyncError as error:
        report(Progress(name.mandator, name.recipient_list or name.kind, "failed", 0, 0))
        policy = run.retry_policy
        unattended = not _UNATTENDED_TAGS.isdisjoint(context.run.tags)
        # What was retried once because a list was incomplete goes on being retried.
        may_retry = unattended or isinstance(error, IncompleteListError) or context.retry_number > 0
        if error.retryable and may_retry and context.retry_number < policy.retries:
            context.log.warning("trying again: %s", printable_line(str(error)))
            raise dg.RetryRequested(policy.retries, policy.pause(unattended=unattended)) from None
        _report_unevaluated(context, run, state, error.message, attempt)
        reason = printable(translate(error.message, run.configuration.language))
        metadata: dict[str, bool | str] = {RETRYABLE: error.retryable or attempt.passes_later}
        if attempt.awaited_plan:
            metadata[AWAITED_PLAN] = attempt.awaited_plan
        raise dg.Failure(reason, metadata=metadata, allow_retries=False) from None
    except Exception as error:
        _report_unevaluated(context, run, state, type(error).__name__, attempt)  # its message may quote personal data
        raise


def _report_unevaluated(
    context: dg.AssetExecutionContext, run: RunResource, state: StateResource, reason: str, attempt: AssetAttempt
) -> None:
    """Report the checks that this run won't evaluate. An error of that must not hide the failure itself."""
    failed = context.asset_key.to_user_string()
    try:
        because = Message("{asset} failed: {reason:inline}", asset=failed, reason=reason)
        report_unevaluated(context, run, state, because, own=True, evaluated=attempt.evaluated_checks)
    except Exception as error:  # noqa: BLE001 - whatever it is, the failure itself counts
        context.log.warning("checks keep their last result, which is older than this run: %s", type(error).__name__)
