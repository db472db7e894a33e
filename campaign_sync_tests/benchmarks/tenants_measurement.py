"""The measurements of one project in a world of many mandators and lists."""

import json
import os
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from campaign_sync_tests.benchmarks.server_log import ServerLog, server_process
from campaign_sync_tests.benchmarks.tenants_stack import (
    PROCESSES,
    RunningSensor,
    ServedStack,
    cpu_seconds,
    memory_mb,
    python_of,
    served_stack,
)
from campaign_sync_tests.benchmarks.tenants_storage import (
    TICK_LIMIT_SECONDS,
    DagsterStorage,
    megabytes_of_files,
    storage,
)
from campaign_sync_tests.benchmarks.tenants_world import World, world

PROGRESS = Console(stderr=True)
"""Where the beginning of each part is shown."""

_DAY_MINUTES = 24 * 60

_QUIET_SECONDS = 70.0
"""The world counts as idle when no run was left for this time, in which sensors of every minute have ticked."""

_LOAD = """
import json, resource
from pathlib import Path
import campaign_sync.definitions
repository = campaign_sync.definitions.defs().get_repository_def()
repository.get_all_jobs()
usage = resource.getrusage(resource.RUSAGE_SELF)
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:"))
print(json.dumps([usage.ru_utime + usage.ru_stime, peak]))
"""
"""Loads the definitions as a code server does when it starts."""


@dataclass(frozen=True)
class SensorCost:
    """What one tick of a kind of sensor takes."""

    sensors: int
    """How many sensors of this kind there are."""
    ticks_a_day: float
    """Of all of them, as planned."""
    statements: int
    """To the state database and the CRM."""
    dagster_statements: int
    """To Dagster's database, by the code server."""
    connections: int
    """To all databases, by the code server."""
    cpu: float
    """CPU seconds of the code server."""
    wall: float
    error: str | None


@dataclass(frozen=True)
class Measured:
    """All measurements of a project."""

    commit: str
    costs: dict[str, float]
    sensors: dict[str, SensorCost]

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """Return the measurements that were written as JSON."""
        sensors = {kind: SensorCost(**cost) for kind, cost in document["sensors"].items()}
        return cls(document["commit"], document["costs"], sensors)


def measure(project: Path, folder: Path, mandators: int, lists: int, replaced: int, minutes: float) -> Measured:
    """Measure a project in a new world that is made in the folder.

    Args:
        project: the checkout.
        folder: where files are kept.
        mandators: how many there are.
        lists: how many each has.
        replaced: how many mandators have a daily run before.
        minutes: how long the idle stack is watched.
    """
    with world(folder, mandators, lists) as made:
        PROGRESS.log("the definitions are loaded")
        loading = _loading(project, made)
        log = ServerLog(made.databases)
        with (
            served_stack(project, folder, made.databases["dagster"], made.environment) as stack,
            storage(made.databases["dagster"]) as dagster,
            storage(made.databases["state"]) as state,
        ):
            PROGRESS.log("lists are replaced")
            day = _Day(folder, made, stack, dagster, state).measure(replaced)
            PROGRESS.log("nothing runs")
            memory = {"code server at rest, memory in MB": memory_mb(stack.pid("code"))}
            idle = _Idle(folder, log, stack, dagster).measure(minutes)
            PROGRESS.log("the daemon is stopped, sensors are evaluated")
            stack.kill("daemon")
            costs = _sensor_costs(stack, log)
    return Measured(_commit(project), {**loading, **memory, **idle, **day}, costs)


def _commit(project: Path) -> str:
    command = ["git", "-C", str(project), "log", "-1", "--format=%h"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _loading(project: Path, made: World) -> dict[str, float]:
    command = [str(python_of(project)), "-c", _LOAD]
    environment = {**os.environ, **made.environment}
    subprocess.run(command, env=environment, check=True, capture_output=True)  # compiles what isn't yet
    output = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    cpu, peak = json.loads(output.splitlines()[-1])
    return {"definitions, CPU seconds": cpu, "definitions, peak in MB": peak}


class _Day:
    """One daily run of each mandator."""

    def __init__(
        self, folder: Path, made: World, stack: ServedStack, dagster: DagsterStorage, state: DagsterStorage
    ) -> None:
        self._folder, self._world, self._stack = folder, made, stack
        self._dagster, self._state = dagster, state

    def measure(self, mandators: int) -> dict[str, float]:
        """Run the first mandators at once. Return what a day of all mandators leaves behind."""
        before, names = self._sizes(), self._world.mandators[:mandators]
        for name in names:
            self._stack.launch(f"{name}_daily_replace")
        _wait_until_quiet(self._dagster)
        after, share = self._sizes(), len(names) / len(self._world.mandators)
        assert self._dagster.replaced() == len(names), "a daily run failed"
        return {f"a day's runs: {what}": (after[what] - before[what]) / share for what in after}

    def _sizes(self) -> dict[str, float]:
        return {
            "rows of the event log": self._dagster.events(),
            "event log, MB": self._dagster.megabytes("event_logs"),
            "state database, MB": self._state.megabytes(),
            "files below DAGSTER_HOME, MB": megabytes_of_files(self._folder / "dagster_home"),
            "runs": self._dagster.runs(),
        }


def _wait_until_quiet(dagster: DagsterStorage) -> None:
    """Wait until no run has been queued or in progress for a while."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < _QUIET_SECONDS:
        time.sleep(1)
        if dagster.unfinished_runs():
            quiet_since = time.monotonic()


class _Idle:
    """Some minutes in which no run is in progress."""

    def __init__(self, folder: Path, log: ServerLog, stack: ServedStack, dagster: DagsterStorage) -> None:
        self._folder, self._log, self._stack, self._dagster = folder, log, stack, dagster

    def measure(self, minutes: float) -> dict[str, float]:
        """Return the costs of the stack per minute or day."""
        last, position, cpu, sizes, begun = (
            self._dagster.last_tick(), self._log.position(), self._cpu(), self._sizes(), time.monotonic(),
        )  # fmt: skip
        time.sleep(minutes * 60)
        minutes = (time.monotonic() - begun) / 60
        load, ticks = self._log.since(position), self._dagster.ticks_after(last)
        late = [tick for tick in ticks if tick.status == "FAILURE" or (tick.seconds or 0) > TICK_LIMIT_SECONDS]
        state, crm = load.of("state"), load.of("crm")
        ours, dagsters = load.of("dagster", "code"), [load.of("dagster", name) for name in ("daemon", "webserver")]
        per_minute = {
            "connections to the state database and CRM": state[0] + crm[0],
            "connections to Dagster's database by the code server": ours[0],
            "connections to Dagster's database by daemon and webserver": sum(count for count, _ in dagsters),
            "statements to the state database and CRM": state[1] + crm[1],
            "statements to Dagster's database by the code server": ours[1],
            "statements to Dagster's database by daemon and webserver": sum(count for _, count in dagsters),
            "ticks": len(ticks),
            "ticks that failed or took more than 60 s": len(late),
            **{f"CPU seconds of {name}": self._cpu()[name] - seconds for name, seconds in cpu.items()},
        }
        per_day = {what: (size - sizes[what]) for what, size in self._sizes().items()}
        return {
            **{f"idle, a minute: {what}": count / minutes for what, count in per_minute.items()},
            "idle, a day: ticks": len(ticks) / minutes * _DAY_MINUTES,
            **{f"idle, a day: {what}": size / minutes * _DAY_MINUTES for what, size in per_day.items()},
        }

    def _cpu(self) -> dict[str, float]:
        processes = {**{name: self._stack.pid(name) for name in PROCESSES}, "PostgreSQL": server_process()}
        return {name: cpu_seconds(pid) for name, pid in processes.items()}

    def _sizes(self) -> dict[str, float]:
        return {
            "ticks and events, MB": self._dagster.megabytes("job_ticks", "event_logs"),
            "logs of the three processes, MB": megabytes_of_files(*self._folder.glob("*.log")),
            "files below DAGSTER_HOME, MB": megabytes_of_files(self._folder / "dagster_home"),
        }


def _sensor_costs(stack: ServedStack, log: ServerLog) -> dict[str, SensorCost]:
    """Measure a tick of one sensor of each kind, while no daemon runs."""
    sensors = sorted(stack.running_sensors(), key=lambda sensor: sensor.name, reverse=True)
    counts = Counter(sensor.kind for sensor in sensors)
    examples = {sensor.kind: sensor for sensor in sensors}  # of the first mandator, which has a history
    return {kind: _sensor_cost(stack, log, sensor, counts[kind]) for kind, sensor in examples.items()}


def _sensor_cost(stack: ServedStack, log: ServerLog, sensor: RunningSensor, sensors: int) -> SensorCost:
    _until_silent(log)
    stack.dry_run(sensor)  # what only the first tick of a process does
    _until_silent(log)
    code = stack.pid("code")
    position, cpu, begun = log.position(), cpu_seconds(code), time.monotonic()
    error = stack.dry_run(sensor)
    wall = time.monotonic() - begun
    _until_silent(log)
    load, cpu = log.since(position), cpu_seconds(code) - cpu
    counts = [load.of(database, "code") for database in ("state", "crm", "dagster")]
    (state, crm, dagster) = (statements for _, statements in counts)
    connections = sum(count for count, _ in counts)
    ticks = sensors * _DAY_MINUTES * 60 / sensor.interval
    return SensorCost(sensors, ticks, state + crm, dagster, connections, cpu, wall, error)


def _until_silent(log: ServerLog) -> None:
    """Wait until the code server asks nothing any more, as it may after a tick was given up."""
    while True:
        position = log.position()
        time.sleep(3)
        load = log.since(position)
        if not any(load.of(database, "code")[1] for database in ("state", "crm", "dagster")):
            return
