"""The sensor that takes up what broke off: a list left incomplete is mended within minutes, not the next night."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration.asset_keys import asset_key, replacement_keys
from campaign_sync.orchestration.assets.recipient_list import REPLAY_TAG
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG, daily_job_name
from campaign_sync.orchestration.dead_runs import end_dead_runs, is_busy
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

GIVES_UP_AFTER = 5
"""So many replaces of a list in a row without a proof are for people to look at."""

PATIENCE = 20
"""So many runs that couldn't even begin to mend a list, as well."""

PAUSE = timedelta(minutes=5)
"""The time between two tries."""

MENDS_TAG = "campaign_sync/mends"
"""Tag of the runs that this sensor starts: the broken replace they take up."""


class UnrepairedListError(CampaignSyncError):
    """A list stays incomplete though everything was tried. The message says which one since when, and what to do."""


def unfinished_replace_sensor(configuration: Configuration, mandator: str) -> dg.SensorDefinition:
    """Looks every minute whether a list of the mandator is incomplete and nobody is at it, and starts what mends it."""
    called = configuration.mandators[mandator].display_name(mandator)

    @dg.sensor(
        name=f"{mandator}_unfinished_replace",
        job_name=daily_job_name(mandator),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks every minute whether a recipient list of {called} was left incomplete, and has it replaced "
        "again. If a tick is red, a list stays incomplete though everything was tried: send nothing to it, and do what "
        "the tick says.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        lists = [list_settings(configuration, mandator, name) for name in configuration.mandators[mandator].lists]
        with State(configuration.storage.state_url.get_secret_value()) as state:
            dead = {run_id for one in lists if (run_id := state.locks.dead_holder(one.recipient_list_id))}
            end_dead_runs(context.instance, state, dead)
            if is_busy(context.instance, mandator):
                return dg.SkipReason(f"a run of {mandator} is under way or queued")
            broken = [(one, state.replacements.incomplete(mandator, one.name)) for one in lists]
            tries = [_take_up(context.instance, state, one, each) for one, each in broken if each]
        requests = [one for one in tries if isinstance(one, dg.RunRequest)]
        alarms = [one for one in tries if isinstance(one, str)]
        if alarms and not requests:
            raise UnrepairedListError(" · ".join(alarms))  # a failed tick shows; one that was skipped looks like health
        for alarm in alarms:
            context.log.error(alarm)
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "no list wants mending now")

    return sensor


def gives_up(instance: dg.DagsterInstance, state: State, name: str, broken: Replacement) -> bool:
    """Whether no further run is started that would mend a list whose replace broke off."""
    attempts, runs = _tries(instance, state, name, broken)
    return attempts >= GIVES_UP_AFTER or runs >= PATIENCE


def _tries(instance: dg.DagsterInstance, state: State, name: str, broken: Replacement) -> tuple[int, int]:
    """How many replaces of the list came to nothing, and how many runs were started to mend it."""
    runs = instance.get_runs_count(dg.RunsFilter(tags={MANDATOR_TAG: broken.mandator, **_tags(name, broken)}))
    return state.replacements.attempts_since_proof(broken.mandator, name), runs


def _tags(name: str, broken: Replacement) -> dict[str, str]:
    return {MENDS_TAG: f"{name}:{broken.cleared_at:%Y%m%dT%H%M%S}"}


def _take_up(
    instance: dg.DagsterInstance, state: State, one: ListSettings, broken: Replacement
) -> dg.RunRequest | str | None:
    """The run that mends a list, why no further one is started, or None where it is too early, or somebody is at it."""
    if state.locks.holder(one.recipient_list_id) is not None:
        return None
    tags = _tags(one.name, broken)
    attempts, runs = _tries(instance, state, one.name, broken)
    if attempts >= GIVES_UP_AFTER or runs >= PATIENCE:
        return (
            f"{one} is INCOMPLETE since {broken.cleared_at:%Y-%m-%d %H:%M} UTC: {attempts} replaces came to nothing, "
            f"and {runs} runs tried to mend it. Send nothing to it, see why its last run failed, and replace it by hand"
        )
    bucket = int(datetime.now(UTC).timestamp() // PAUSE.total_seconds())
    if broken.replayed:
        tags[REPLAY_TAG] = broken.snapshot_id
    return dg.RunRequest(run_key=f"{broken.id}:{bucket}", asset_selection=_what_mends(state, one, broken), tags=tags)


def _what_mends(state: State, one: ListSettings, broken: Replacement) -> list[dg.AssetKey]:
    """The list alone while its snapshot may still be sent; else everything that leads to it."""
    snapshot = state.snapshots.latest(one.mandator, one.name)
    fresh = snapshot is not None and datetime.now(UTC) - snapshot.created_at < one.recipient_list.max_snapshot_age
    if fresh or broken.replayed:
        return [asset_key(one.mandator, AssetKind.RECIPIENT_LIST, one.name)]
    return replacement_keys(one.mandator, [one.name])
