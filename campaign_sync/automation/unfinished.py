"""The sensor that takes up what broke off: a list left incomplete is mended within minutes, not the next night."""

from datetime import UTC, datetime

import dagster as dg

from campaign_sync.automation.daily import MANDATOR_TAG, daily_job_name
from campaign_sync.configuration import Configuration
from campaign_sync.domain.feedback import FeedbackKind
from campaign_sync.replacing.target import Target, target
from campaign_sync.state.store import State

GIVES_UP_AFTER = 5
"""So many replaces of a list in a row without a proof are for people to look at."""

_BUSY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def unfinished_replace_sensor(configuration: Configuration, mandator: str) -> dg.SensorDefinition:
    """Looks every minute whether a list of the mandator is incomplete and nobody is at it, and starts what mends it."""

    @dg.sensor(
        name=f"{mandator}_unfinished_replace",
        job_name=daily_job_name(mandator),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Goes on with replaces of {mandator} that broke off after the list was cleared.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        at_it = dg.RunsFilter(tags={MANDATOR_TAG: mandator}, statuses=_BUSY)
        if context.instance.get_run_records(at_it, limit=1):
            return dg.SkipReason(f"a run of {mandator} is under way or queued")
        requests, told = [], []
        with State(configuration.storage.state_url.get_secret_value()) as state:
            for name in configuration.mandators[mandator].lists:
                one = target(configuration, mandator, name)
                broken = state.journal.incomplete(mandator, name)
                if broken is None or state.leases.holder(one.recipient_list_id) is not None:
                    continue
                attempts = state.journal.attempts_since_proof(mandator, name)
                if attempts >= GIVES_UP_AFTER:
                    since = f"{broken.cleared_at:%Y-%m-%d %H:%M} UTC"
                    told.append(f"{one} is INCOMPLETE since {since}, and {attempts} replaces came to nothing")
                    continue
                # A new try makes a new entry in the journal, and so a new key; the same trouble is taken up once.
                requests.append(dg.RunRequest(run_key=broken.id, asset_selection=_what_mends(state, one)))
        if told:
            alarm = f"{'; '.join(told)}. Send nothing to it, see why its last run failed, and replace it by hand"
            context.log.error(alarm)
            if not requests:
                return dg.SkipReason(alarm)
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "no list is incomplete")

    return sensor


def _what_mends(state: State, one: Target) -> list[dg.AssetKey]:
    """The list alone while its snapshot may still be sent; else everything that leads to it."""
    alone = [dg.AssetKey([one.mandator, "recipient_list", one.name])]
    snapshot = state.snapshots.latest(one.mandator, one.name)
    if snapshot and datetime.now(UTC) - snapshot.created_at < one.max_snapshot_age:
        return alone
    return [
        *(dg.AssetKey([one.mandator, kind.value]) for kind in FeedbackKind),
        dg.AssetKey([one.mandator, "suppression_state"]),
        *(dg.AssetKey([one.mandator, asset, one.name]) for asset in ("selection", "snapshot")),
        *alone,
    ]
