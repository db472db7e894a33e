"""What is used of Dagster beyond its public API to hand a run to the daemon: one function for each purpose.

Only a command that submits a run imports this module, because it takes long.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from warnings import catch_warnings, simplefilter

import dagster as dg

from campaign_sync.orchestration.dagster_internals import VERSIONS, InstigatorType, SensorInstigatorData

try:
    from dagster._core.definitions.selector import JobSubsetSelector
    from dagster._core.remote_origin import CodeLocationOrigin, RemoteRepositoryOrigin
    from dagster._core.remote_representation.code_location import CodeLocation
    from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
    from dagster._core.workspace.load_target import WorkspaceLoadTarget
except ImportError as error:
    raise ImportError(
        f"Dagster {dg.__version__} lacks what campaign_sync uses of it ({error}); install dagster{VERSIONS}"
    ) from None


@dataclass(frozen=True)
class ServedSensor:
    """A sensor as the daemon knows it: the code location that it comes from, and what its last tick left."""

    repository: RemoteRepositoryOrigin
    cursor: str | None
    ticked_at: datetime

    @property
    def location_name(self) -> str:
        """The name of its code location."""
        return self.repository.code_location_origin.location_name


def served_sensors(instance: dg.DagsterInstance, name: str) -> list[ServedSensor]:
    """Return the sensors of this name in all code locations, the one that ticked last first."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    sensors = [
        ServedSensor(
            state.origin.repository_origin,
            state.instigator_data.cursor,
            datetime.fromtimestamp(state.instigator_data.last_tick_timestamp, UTC),
        )
        for state in states
        if state.instigator_name == name
        and isinstance(state.instigator_data, SensorInstigatorData)
        and state.instigator_data.last_tick_timestamp
    ]
    return sorted(sensors, key=lambda sensor: sensor.ticked_at, reverse=True)


def submit_run(
    instance: dg.DagsterInstance,
    repository: RemoteRepositoryOrigin,
    job_name: str,
    assets: Sequence[dg.AssetKey],
    run_id: str,
    tags: Mapping[str, str],
) -> None:
    """Queue a run of some assets of a job, as Dagster's UI does: planned by its code location, launched by the daemon.

    A run that couldn't be queued is deleted.

    Raises:
        dg.DagsterError: the code location can't be loaded or reached, or has no such job or assets.
    """
    with _workspace(instance, repository.code_location_origin) as (workspace, location):
        selector = JobSubsetSelector(
            location.name, repository.repository_name, job_name, op_selection=None, asset_selection=assets
        )
        job = location.get_job(selector)
        plan = location.get_execution_plan(job, {}, None, None, instance).execution_plan_snapshot
        try:
            instance.create_run(
                job_name=job.name,
                run_id=run_id,
                run_config={},
                status=dg.DagsterRunStatus.NOT_STARTED,
                tags={**job.run_tags, **tags},
                root_run_id=None,
                parent_run_id=None,
                step_keys_to_execute=plan.step_keys_to_execute,
                execution_plan_snapshot=plan,
                job_snapshot=job.job_snapshot,
                parent_job_snapshot=job.parent_job_snapshot,
                asset_selection=frozenset(assets),
                asset_check_selection=None,
                resolved_op_selection=job.resolved_op_selection,
                op_selection=None,
                remote_job_origin=job.get_remote_origin(),
                job_code_origin=job.get_python_origin(),
                asset_graph=location.get_repository(repository.repository_name).asset_graph,
            )
            instance.submit_run(run_id, workspace)
        except BaseException:
            _delete_unqueued(instance, run_id)
            raise


@contextmanager
def _workspace(
    instance: dg.DagsterInstance, origin: CodeLocationOrigin
) -> Iterator[tuple[WorkspaceRequestContext, CodeLocation]]:
    """Yield a workspace of one code location, and that location. A Python module is loaded in a process of its own."""

    class Origin(WorkspaceLoadTarget):
        def create_origins(self) -> list[CodeLocationOrigin]:
            return [origin]

    with ExitStack() as stack:
        with catch_warnings():
            simplefilter("ignore")  # why a location can't be loaded is raised below
            process = stack.enter_context(WorkspaceProcessContext(instance, Origin(), code_server_log_level="ERROR"))
        workspace = process.create_request_context()
        yield workspace, workspace.get_code_location(origin.location_name)


def _delete_unqueued(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run that was created only: it would never begin, and others would wait for it."""
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is dg.DagsterRunStatus.NOT_STARTED:
        instance.delete_run(run_id)
