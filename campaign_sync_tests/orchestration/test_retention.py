"""The purge of what is older than its limit: what it removes from Dagster and from the file storage, and what stays."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from rich.console import Console

from campaign_sync.cli.prove import print_proof
from campaign_sync.orchestration.asset_history import AssetHistory
from campaign_sync.orchestration.dagster_history import KEPT_EVENTS
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG
from campaign_sync.orchestration.names import MANDATOR_JOBS, MANDATOR_SCHEDULES, SENSORS
from campaign_sync.orchestration.own_runs import OwnDefinitions
from campaign_sync.orchestration.repair_sensor import REPAIR_TAG
from campaign_sync.orchestration.retention import Purge, Purged
from campaign_sync.orchestration.retention_job import NAME
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.orchestration.run_failures import MonitoredAssets, NewestRuns, failed_checks, failed_steps
from campaign_sync.orchestration.run_logs import read_step_failures
from campaign_sync.replacement.list_readiness import judge_lists
from campaign_sync.reports.collection import gather
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.installation import ADDRESSES, Installation, running_installation
from campaign_sync_tests.time_travel import leave_a_replacement_unfinished

YEARS = timedelta(days=2000)
OURS = "__repository__@campaign_sync"
LIST = dg.AssetKey(["nord", "newsletter_recipient_list"])


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        yield running


@pytest.fixture(
    params=[*(pytest.param(kind, marks=pytest.mark.long) for kind in ("sqlite", "dagsters_sqlite")), "postgresql"]
)
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster on its embedded storage, on its own SQLite, and on PostgreSQL."""
    with storage_settings(request.param, tmp_path / "dagster") as settings, dg.instance_for_test(settings) as opened:
        yield opened


@contextmanager
def storage_settings(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    if kind == "postgresql":
        with fresh_database() as url:
            yield {"storage": {"postgres": {"postgres_url": url}}}
        return
    folder.mkdir()
    custom = {"module": "campaign_sync.orchestration.embedded_storage", "class": "EmbeddedStorage"}
    embedded = {"storage": {"custom": {**custom, "config": {"base_dir": str(folder)}}}}
    yield embedded if kind == "sqlite" else {}


def purge(installation: Installation, instance: dg.DagsterInstance, later: timedelta = YEARS) -> Purged:
    """Purge as if it were later, as the job of our code location does."""
    configuration, definitions = installation.configuration, installation.definitions
    own = OwnDefinitions(
        frozenset(configuration.mandators),
        frozenset(job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")),
        frozenset(automation.name for automation in (*(definitions.sensors or ()), *(definitions.schedules or ()))),
        frozenset(spec.key for spec in definitions.resolve_all_asset_specs()),
        frozenset(definitions.resolve_asset_graph().asset_check_keys),
    )
    with installation.state() as state:
        frames = FileStorage(configuration.storage.frames)
        now = datetime.now(UTC) + later
        return Purge(configuration, own, instance, OURS, state, frames, now).everything()


def statements(installation: Installation, instance: dg.DagsterInstance, now: datetime) -> list[object]:
    """Return all that is said of lists: their runs, incidents, readiness and the report."""
    configuration, definitions = installation.configuration, installation.definitions
    lists = list(configuration.mandators["nord"].lists)
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    monitored = MonitoredAssets.of(
        "nord", [asset for asset in assets if {key.path[0] for key in asset.keys} == {"nord"}]
    )
    newest = NewestRuns.of(monitored, AssetHistory.read(instance, monitored.assets))
    attempts = newest_attempts(instance, "nord", lists)
    with installation.state() as state:
        frames = FileStorage(configuration.storage.frames)
        report = gather(configuration, "nord", state, frames, now, attempts)
        readiness = judge_lists(configuration, "nord", state.view(), attempts, now)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(monitored.checks))
    proof = io.StringIO()
    print_proof(configuration, ADDRESSES[0], [("nord", "newsletter")], None, Console(file=proof, width=400))
    failures = failed_steps(newest, lambda record: read_step_failures(instance, record.dagster_run.run_id))
    incidents = [*failures, *failed_checks(monitored, latest)]
    return [
        attempts,
        incidents,
        newest.in_progress(),
        newest.not_materialized(),
        newest.without_run(),
        readiness,
        report,
        proof.getvalue(),
    ]


def ended_run(instance: dg.DagsterInstance, location: str | None, **more: Any) -> str:
    """Record a run that has ended; of our daily job, unless said otherwise."""
    job_name = more.pop("job_name", "nord_daily_replace")
    run = dg.DagsterRun(job_name, status=dg.DagsterRunStatus.SUCCESS, remote_job_origin=origin_of(location), **more)
    instance.add_run(run)
    return run.run_id


def origin_of(location: str | None) -> RemoteJobOrigin | None:
    return RemoteJobOrigin(repository_of(location), "any") if location else None


def repository_of(location: str) -> RemoteRepositoryOrigin:
    target = LoadableTargetOrigin(module_name="definitions")
    return RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target, location_name=location), "__repository__")


def kinds(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    return {
        entry.dagster_event_type.value if entry.dagster_event_type else "LOG" for entry in instance.all_logs(run_id)
    }


def materializations(instance: dg.DagsterInstance) -> list[str]:
    return [record.run_id for record in instance.fetch_materializations(LIST, limit=100).records]


def snapshot_of(installation: Installation, name: str) -> Path:
    """Write a snapshot of long ago, which no list was proven to hold."""
    path = installation.folder / "frames" / "snapshots" / name / "20200101T000000Z-deadbeef.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_what_is_said_of_lists_is_the_same_after_everything_old_was_purged(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    first, second = (installation.run(instance=instance).run_id for _ in range(2))
    installation.list_settings()["limits"] = {"min_rows": 6}
    failed = installation.run(instance=instance)
    assert not failed.success
    theirs = [
        ended_run(instance, "another_team"),
        ended_run(instance, "another_team", tags={MANDATOR_TAG: "nord"}),
        ended_run(instance, None, job_name="their_job"),
    ]
    own = ended_run(instance, "campaign_sync", job_name="nord_report")
    under_way = dg.DagsterRun(
        "nord_report", status=dg.DagsterRunStatus.STARTED, remote_job_origin=origin_of("campaign_sync")
    )
    instance.add_run(under_way)
    old_snapshots = [snapshot_of(installation, name) for name in ("nord/newsletter", "nord/a_former_list")]
    foreign_snapshot = snapshot_of(installation, "another_installation/list")
    now = datetime.now(UTC)
    before = statements(installation, instance, now)
    assert before[1], "an incident"

    assert not purge(installation, instance, timedelta(days=60)).problems

    assert statements(installation, instance, now) == before
    assert kinds(instance, first) <= set(KEPT_EVENTS)
    assert materializations(instance) == [second, first], "numbers are plotted as before"
    assert "STEP_SUCCESS" in kinds(instance, second)

    purged = purge(installation, instance, YEARS)

    assert not purged.problems
    assert statements(installation, instance, now) == before
    assert [run_id for run_id in (first, second, failed.run_id) if instance.has_run(run_id)] == [second, failed.run_id]
    assert materializations(instance) == [second]
    assert all(instance.has_run(run_id) for run_id in (*theirs, under_way.run_id))
    assert not instance.has_run(own)
    assert purged.counts["runs"] == 2
    assert not list(Path(instance.root_directory).parent.rglob(f"{first}*"))
    assert foreign_snapshot.exists()
    assert not [path for path in old_snapshots if path.exists()]
    assert purge(installation, instance, YEARS).counts["runs"] == 0


def test_runs_that_repaired_a_list_are_kept_while_it_is_incomplete(installation: Installation) -> None:
    installation.first_day()
    with dg.instance_for_test() as instance:
        runs = [
            ended_run(instance, "campaign_sync", tags={MANDATOR_TAG: mandator, REPAIR_TAG: "newsletter:2026"})
            for mandator in ("nord", "sued")
        ]
        leave_a_replacement_unfinished(installation.settings["storage"]["state_url"], "newsletter")
        purge(installation, instance)

        assert [instance.has_run(run_id) for run_id in runs] == [True, False]


@pytest.mark.long
def test_all_attempts_of_the_same_work_are_kept_with_the_newest_run_of_an_asset(installation: Installation) -> None:
    with dg.instance_for_test() as instance:
        needed = installation.run(instance=instance).run_id
        retry = ended_run(instance, "campaign_sync", root_run_id=needed, parent_run_id=needed)
        purge(installation, instance)

        assert instance.has_run(needed)
        assert instance.has_run(retry)


def test_ticks_are_purged_except_for_the_newest_and_those_of_others(installation: Installation) -> None:
    with dg.instance_for_test() as instance:
        states = [tick_of(instance, location, name) for location, name in (
            ("campaign_sync", "nord_daily"), ("another_team", "nord_daily"), ("campaign_sync", "their_sensor"),
        )]  # fmt: skip
        purged = purge(installation, instance)

        left = [len(instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states]
        assert left == [1, 3, 3]
        assert purged.counts["ticks"] == 2


def test_what_a_removed_mandator_left_is_purged_and_its_newest_runs_and_what_is_named_alike_stay(
    installation: Installation,
) -> None:
    with dg.instance_for_test() as instance:
        of_nord: dict[str, Any] = {"tags": {MANDATOR_TAG: "nord"}}
        old = ended_run(instance, "campaign_sync", **of_nord)
        newest = installation.run("nord", instance).run_id
        kept = [
            newest,
            ended_run(instance, "campaign_sync", job_name="nord_model", **of_nord),
            ended_run(instance, "campaign_sync", job_name="west_daily_replace", tags={MANDATOR_TAG: "west"}),
            ended_run(instance, "another_team", **of_nord),
            ended_run(instance, None, job_name="west_daily_replace", tags={MANDATOR_TAG: "west"}),
        ]
        names = ("nord_daily", "nord_responses_schedule", "sued_responses_schedule", "campaign_sync_crm_export")
        ours = [tick_of(instance, "campaign_sync", name) for name in names]
        others = [tick_of(instance, "campaign_sync", name) for name in ("west_daily", "campaign_sync_of_theirs")]
        others.append(tick_of(instance, "another_team", "nord_daily"))
        del installation.settings["mandators"]["nord"]
        assert purge(installation, instance).problems == []

        assert not instance.has_run(old)
        assert all(instance.has_run(run_id) for run_id in kept)
        left = [len(instance.get_ticks(tick.instigator_origin_id, tick.selector_id)) for tick in (*ours, *others)]
        assert left == [1, 1, 1, 1, 3, 3, 3]


def test_all_names_are_known_that_a_mandator_may_have_in_dagster(installation: Installation) -> None:
    nord = installation.settings["mandators"]["nord"]
    nord["schedule"], nord["feedback"] = "30 4 * * *", {"schedule": "0 * * * *"}
    definitions = installation.definitions
    jobs = {job.name for job in definitions.resolve_all_job_defs()} - {"__ASSET_JOB", NAME}
    schedules = {schedule.name for schedule in definitions.schedules or ()} - {NAME}
    assert {name.split("_", 1)[1] for name in jobs} <= {*MANDATOR_JOBS}
    assert {name.split("_", 1)[1] for name in schedules} <= {*MANDATOR_SCHEDULES}
    assert {sensor.name for sensor in definitions.sensors or ()} <= {*SENSORS}


def tick_of(instance: dg.DagsterInstance, location: str, name: str) -> InstigatorState:
    """Record three ticks of a schedule, an hour apart."""
    origin = repository_of(location).get_instigator_origin(name)
    state = InstigatorState(
        origin, InstigatorType.SCHEDULE, InstigatorStatus.DECLARED_IN_CODE, ScheduleInstigatorData("30 4 * * *")
    )
    instance.add_instigator_state(state)
    for hour in range(3):
        timestamp = datetime(2026, 3, 1, hour, tzinfo=UTC).timestamp()
        instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=name,
                instigator_type=InstigatorType.SCHEDULE,
                status=TickStatus.SKIPPED,
                timestamp=timestamp,
                selector_id=state.selector_id,
            )
        )
    return state


OWN = OwnDefinitions(
    frozenset(["nord"]), frozenset(["nord_daily_replace"]), frozenset(), frozenset([LIST]), frozenset()
)


@pytest.mark.parametrize(
    ("location", "run", "ours"),
    [
        ("campaign_sync", {"job_name": "nord_daily_replace"}, True),
        ("campaign_sync", {"job_name": "__ASSET_JOB", "asset_selection": frozenset([LIST])}, True),
        (
            "campaign_sync",
            {"job_name": "__ASSET_JOB", "asset_selection": frozenset([LIST, dg.AssetKey("theirs")])},
            False,
        ),
        ("campaign_sync", {"job_name": "__ASSET_JOB"}, False),
        ("campaign_sync", {"job_name": "their_job", "tags": {MANDATOR_TAG: "nord"}}, False),
        ("another_team", {"job_name": "nord_daily_replace", "tags": {MANDATOR_TAG: "nord"}}, False),
        (None, {"job_name": "nord_daily_replace", "tags": {MANDATOR_TAG: "nord"}}, True),
        (None, {"job_name": "nord_daily_replace", "tags": {MANDATOR_TAG: "west"}}, False),
        (None, {"job_name": "nord_daily_replace"}, False),
    ],
)
def test_only_runs_of_our_jobs_and_assets_in_our_code_location_are_ours(
    location: str | None, run: dict[str, Any], ours: bool
) -> None:
    assert OWN.owns(dg.DagsterRun(**run, remote_job_origin=origin_of(location)), OURS) is ours


def test_the_job_purges_and_is_scheduled_once_a_day(installation: Installation) -> None:
    definitions = installation.definitions

    with dg.instance_for_test() as instance:
        result = definitions.resolve_job_def(NAME).execute_in_process(instance=instance)

    assert result.success
    schedule = definitions.resolve_schedule_def(NAME)
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
