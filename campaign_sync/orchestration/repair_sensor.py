"""The sensor that repairs incomplete lists, and completes the day of a mandator, within minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.day import CompletionStage
from campaign_sync.domain.message import Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_key, feedback_keys, replacement_keys
from campaign_sync.orchestration.assets.recipient_list import APPLY_TAG, REPLAY_TAG
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync.orchestration.dead_runs import busy_mandators, end_dead_runs
from campaign_sync.orchestration.descriptions import display_names
from campaign_sync.orchestration.mandator_days import (
    MandatorDay,
    completing_run,
    given_up,
    group_runs,
    too_late,
    unfinished_days,
)
from campaign_sync.orchestration.mandator_secrets import lacking_secrets
from campaign_sync.orchestration.mandator_ticks import SEPARATOR, MandatorTick, evaluate_mandators
from campaign_sync.orchestration.names import mandator_tags, name_in_dagster
from campaign_sync.orchestration.repair_hindrances import REPAIR_SENSOR, RepairHindrances
from campaign_sync.orchestration.run_limits import MAX_FRUITLESS, MAX_RUNS, RETRY_INTERVAL
from campaign_sync.orchestration.served_configuration import configuration_mark
from campaign_sync.replacement.applied_plan import check_recorded_changes, find_plan, plan_of
from campaign_sync.replacement.list_approval import read_list_record
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.storage.list_states import ListKey
from campaign_sync.storage.replacements import Replacement, StoredSnapshot
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView

REPAIR_TAG = "campaign_sync/repairs"
"""Tag of the runs that this sensor starts: the unfinished replacement that they repair."""


def repair_sensor(configuration: Configuration, jobs: Mapping[str, AssetJob]) -> dg.SensorDefinition | None:
    """Return the sensor that starts a run for each incomplete list that no run is replacing, and one for what is left.

    A mandator's cursor is the mark of its configuration, also where `automation.repair` is off: by it, `campaign-sync
    run` knows the code location to which it may submit a run.

    Args:
        configuration: all mandators.
        jobs: the daily job of each mandator; without any there is no sensor.
    """
    if not jobs:
        return None
    repaired = [mandator for mandator in jobs if configuration.mandators[mandator].automation.repair]

    @dg.sensor(
        name=name_in_dagster(REPAIR_SENSOR, prefix=configuration.prefix),
        jobs=list(jobs.values()),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Checks every minute whether a recipient list was left incomplete, and has it replaced again; and "
                "whether runs of the day died or failed for a reason that passes, and has the lists that are left "
                "replaced ({mandators}). Has approved plans applied where every replacement needs one. Starts "
                "groups of lists once the feedback was imported. If a tick is red, "
                "lists stay incomplete, or weren't replaced today: do what the tick says, and send nothing to one "
                "that it calls INCOMPLETE.",
                mandators=display_names(configuration, repaired) or Message("of no mandator"),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        lists = {
            mandator: [list_settings(configuration, mandator, name) for name in configuration.mandators[mandator].lists]
            for mandator in repaired
        }
        with State(configuration.storage.state_url.get_secret_value()) as state:
            ids = {settings.recipient_list_id for of_mandator in lists.values() for settings in of_mandator}
            expired = [lock for lock in state.locks.expired() if lock.recipient_list_id in ids]
            dead = {lock.run_id for lock in expired if lock.is_holder_gone}
            end_dead_runs(context.instance, state, configuration, dead)
            busy = busy_mandators(context.instance, repaired, configuration.prefix)
            days = unfinished_days(configuration, context.instance, state, set(repaired) - busy, datetime.now(UTC))
            view, snapshots = state.view(), state.snapshots.newest()  # after Dagster's runs: see `StateView`

            def evaluate(mandator: str, _: str | None) -> MandatorTick:
                mark = configuration_mark(configuration, mandator, state)
                if mandator not in lists:
                    return MandatorTick("automation.repair is off", mark)
                if mandator in busy:
                    return MandatorTick("a run is under way or queued", mark)
                if lacking := lacking_secrets(context.instance, mandator, configuration.mandators[mandator]):
                    return MandatorTick(f"{lacking}; what is left is then replaced", mark)
                settings = configuration.mandators[mandator]
                tick = _repair(context.instance, state, view, snapshots, settings, lists[mandator], days.get(mandator))
                return replace(tick, cursor=mark)

            return evaluate_mandators(context, jobs, evaluate)

    return sensor


def is_repair_ahead(
    configuration: Configuration,
    instance: dg.DagsterInstance,
    view: StateView,
    mandator: str,
    today: MandatorDay | None,
    hindrances: RepairHindrances,
) -> bool:
    """Return whether a further run of a mandator that isn't busy will be started without a person.

    `today` is the mandator's newest day, if something has failed on it.
    """
    settings = configuration.mandators[mandator]
    if today and today.is_completed_later:
        return True
    incomplete = {
        name: view.of_list(mandator, name, list_id).incomplete for name, list_id in settings.recipient_list_ids.items()
    }
    repaired = any(
        not is_given_up(instance, view, name, unfinished, settings.prefix)
        for name, unfinished in incomplete.items()
        if unfinished
    )
    return repaired and hindrances.of(mandator) is None


def _repair(
    instance: dg.DagsterInstance,
    state: State,
    view: StateView,
    snapshots: Mapping[ListKey, StoredSnapshot],
    mandator_settings: MandatorSettings,
    lists: Sequence[ListSettings],
    today: MandatorDay | None,
) -> MandatorTick:
    """Return the runs that repair lists or apply approved plans, and those that begin the day's groups or complete it.

    They wait for each other in the queue.
    """
    incomplete = [
        (settings, view.of_list(settings.mandator, settings.name, settings.recipient_list_id).incomplete)
        for settings in lists
    ]
    repairs = [
        _repair_list(instance, state, view, snapshots.get((settings.mandator, settings.name)), settings, unfinished)
        for settings, unfinished in incomplete
        if unfinished
    ]
    requests = [repair for repair in repairs if isinstance(repair, dg.RunRequest)]
    complete = (settings for settings, unfinished in incomplete if not unfinished)
    requests += filter(None, (_apply_approved(instance, state, view, settings) for settings in complete))
    problems = [repair for repair in repairs if isinstance(repair, str)]
    if today and today.completion.stage is CompletionStage.DUE:
        requests.append(completing_run(today))
    if today and today.completion.stage is CompletionStage.GROUPS_DUE:
        requests += group_runs(today, mandator_settings)
    if today and today.completion.stage is CompletionStage.TOO_LATE and today.day.feedback_at:
        problems.append(too_late(today))
    if today and today.completion.stage is CompletionStage.GIVEN_UP:
        problems.append(given_up(today))
    return MandatorTick("no list has to be repaired", requests=tuple(requests), problem=SEPARATOR.join(problems))


def is_given_up(
    instance: dg.DagsterInstance, view: StateView, name: str, unfinished: Replacement, prefix: str = ""
) -> bool:
    """Return whether no further run is started for a list whose replacement is unfinished."""
    return _exceeds_limits(*_attempts(instance, view, name, unfinished, prefix))


def _exceeds_limits(failures: int, runs: int) -> bool:
    return failures >= MAX_FRUITLESS or runs >= MAX_RUNS


def _attempts(
    instance: dg.DagsterInstance, view: StateView, name: str, unfinished: Replacement, prefix: str
) -> tuple[int, int]:
    """Return the number of failed replacements since the list's last proof, and of runs that this sensor started."""
    tags = {**mandator_tags(unfinished.mandator, prefix=prefix), **_tags(name, unfinished)}
    runs = instance.get_runs_count(dg.RunsFilter(tags=tags))
    return view.of_list(unfinished.mandator, name, unfinished.recipient_list_id).attempts, runs


def _tags(name: str, unfinished: Replacement) -> dict[str, str]:
    return {REPAIR_TAG: f"{name}:{unfinished.cleared_at:%Y%m%dT%H%M%S}"}


def _repair_list(
    instance: dg.DagsterInstance,
    state: State,
    view: StateView,
    snapshot: StoredSnapshot | None,
    settings: ListSettings,
    unfinished: Replacement,
) -> dg.RunRequest | str | None:
    """Return the run that repairs a list, or why no further run is started; None while the list is locked."""
    if settings.recipient_list_id in view.locks.living:
        return None
    tags = _tags(settings.name, unfinished)
    failures, runs = _attempts(instance, view, settings.name, unfinished, settings.prefix)
    if _exceeds_limits(failures, runs):
        return (
            f"{settings} is INCOMPLETE since {unfinished.cleared_at:%Y-%m-%d %H:%M} UTC: {failures} replacements "
            f"failed, and {runs} runs were started to repair it. Send nothing to it, read why its last run failed, and "
            "replace it by hand"
        )
    now = datetime.now(UTC)
    interval = int(now.timestamp() // RETRY_INTERVAL.total_seconds())
    assets = _assets(snapshot, settings, unfinished)
    if unfinished.replayed:
        tags[REPLAY_TAG] = unfinished.snapshot_id
    elif applied := plan_of(state, unfinished):
        record = read_list_record(settings, state)
        if check_recorded_changes(settings, applied, unfinished, record, state, now).passed:
            tags[APPLY_TAG] = applied.plan.id
            assets = [_list_key(settings)]
        else:  # nothing that was selected before then
            assets = replacement_keys(settings.mandator, [settings.name], prefix=settings.prefix)
    return dg.RunRequest(
        job_name=daily_job_name(settings.mandator, prefix=settings.prefix),
        run_key=f"{unfinished.id}:{interval}",
        asset_selection=assets,
        tags=tags,
    )


def _apply_approved(
    instance: dg.DagsterInstance, state: State, view: StateView, settings: ListSettings
) -> dg.RunRequest | None:
    """Return the run that applies the newest approved plan of a list of which every replacement has to be approved."""
    if settings.recipient_list.approval != "always" or settings.recipient_list_id in view.locks.living:
        return None
    record, now = read_list_record(settings, state), datetime.now(UTC)
    approved = next(iter(record.valid_approvals), None)
    applied = find_plan(state, approved.plan_id) if approved else None
    if applied is None or not check_recorded_changes(settings, applied, None, record, state, now).passed:
        return None
    tags = {APPLY_TAG: applied.plan.id}
    of_plan = dg.RunsFilter(tags={**mandator_tags(settings.mandator, prefix=settings.prefix), **tags})
    if instance.get_runs_count(of_plan) >= MAX_FRUITLESS:
        return None
    return dg.RunRequest(
        job_name=daily_job_name(settings.mandator, prefix=settings.prefix),
        run_key=f"{applied.plan.id}:{int(now.timestamp() // RETRY_INTERVAL.total_seconds())}",
        asset_selection=[*feedback_keys(settings.mandator, prefix=settings.prefix), _list_key(settings)],
        tags=tags,
    )


def _list_key(settings: ListSettings) -> dg.AssetKey:
    return asset_key(settings.mandator, AssetKind.RECIPIENT_LIST, settings.name, prefix=settings.prefix)


def _assets(snapshot: StoredSnapshot | None, settings: ListSettings, unfinished: Replacement) -> list[dg.AssetKey]:
    """Return the list alone while its snapshot may still be sent; else everything that leads to it."""
    max_age = settings.recipient_list.max_snapshot_age
    is_fresh = snapshot is not None and datetime.now(UTC) - snapshot.created_at < max_age
    if is_fresh or unfinished.replayed:
        return [_list_key(settings)]
    return replacement_keys(settings.mandator, [settings.name], prefix=settings.prefix)
