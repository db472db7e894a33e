"""The production stack as one machine runs it: PostgreSQL, webserver and daemon, dagster.yaml and workspace.yaml."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from campaign_sync_tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[1]

LAUNCH = """
mutation ($job: String!, $tags: [ExecutionTag!], $assets: [AssetKeyInput!]) {
  launchRun(executionParams: {
    selector: {
      jobName: $job, repositoryName: "__repository__", repositoryLocationName: "campaign_sync", assetSelection: $assets
    }
    runConfigData: {}, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""

DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"

TICKS = """
query ($name: String!) {
  instigationStateOrError(instigationSelector: {
    name: $name, repositoryName: "__repository__", repositoryLocationName: "campaign_sync"
  }) { ... on InstigationState { id status ticks(limit: 50) { status skipReason runIds error { message } } } }
}
"""

STOP = "mutation ($id: String!) { stopRunningSchedule(id: $id) { __typename } }"

RUNS = "{ runsOrError(limit: 50) { ... on Runs { results { runId jobName status tags { key value } } } } }"


class Stack:
    """Webserver and daemon of one installation, each of which can be killed and started again."""

    project = ROOT
    """The checkout whose code and files are used."""
    programs = Path(sys.executable).parent
    """The folder of Python and Dagster's commands."""

    def __init__(self, folder: Path, database_url: str, environment: Mapping[str, str]) -> None:
        home = folder / "dagster_home"
        home.mkdir()
        shutil.copy(self.project / "dagster.yaml", home)
        self._folder = folder
        self.port = free_port()
        self.environment = {**os.environ, **environment, "DAGSTER_HOME": str(home), **_postgres(database_url)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start `webserver` or `daemon`."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self.commands()[name],
                cwd=self._folder, env=self.process_environment(name), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def commands(self) -> dict[str, list[str | Path]]:
        """Return the command of each process."""
        python, options = self.programs / "python", ["-h", "127.0.0.1", "-p", str(self.port), "-w", str(self.workspace)]
        return {
            "webserver": [python, "-m", "campaign_sync.webserver", *options],
            "daemon": [self.programs / "dagster-daemon", "run", "-w", self.workspace],
        }

    def process_environment(self, name: str) -> dict[str, str]:
        """Return the environment of a process."""
        return self.environment

    @property
    def workspace(self) -> Path:
        """The file that names the code location."""
        return self.project / "workspace.yaml"

    def pid(self, name: str) -> int:
        """Return the id of a process that was started."""
        return self._processes[name].pid

    def kill(self, name: str, *, alone: bool = False) -> None:
        """Kill one of them by SIGKILL, with all processes it started or `alone`."""
        process = self._processes.pop(name)
        for pid in [process.pid, *([] if alone else descendants(process.pid))]:
            _kill(pid)
        process.wait()

    def restart_when_it_ends(self, name: str, *, kill: int) -> None:
        """Kill a process that one of them needs, wait until that ends by itself, and start it again.

        A service manager ends what is left of the service before it starts it again.
        """
        left = descendants(self.pid(name))
        _kill(kill)
        self._processes.pop(name).wait(PATIENCE)
        for pid in left:
            _kill(pid)
        self.start(name)

    def start_all(self) -> None:
        """Start all processes, and wait until the definitions have been loaded."""
        self.start("webserver")
        self.until(self.loaded)  # one after the other: both create Dagster's tables
        self.start("daemon")

    def stop(self) -> None:
        """Kill all that runs."""
        for name in list(self._processes):
            self.kill(name)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds` returns true, as long as everything that was started is running."""
        until(holds, lambda: all(process.poll() is None for process in self._processes.values()))

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return what the webserver's GraphQL answers; empty while there is no webserver."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        return data

    def loaded(self) -> bool:
        """Return whether the definitions have been loaded."""
        answer = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }")
        entries = answer.get("workspaceOrError", {}).get("locationEntries", [])
        return [(entry["name"], entry["loadStatus"]) for entry in entries] == [("campaign_sync", "LOADED")]

    def healthy(self) -> bool:
        """Return whether every daemon that this instance needs is healthy."""
        daemons = self.ask(DAEMONS).get("instance", {}).get("daemonHealth", {}).get("allDaemonStatuses", [])
        return bool(daemons) and all(daemon["healthy"] for daemon in daemons if daemon["required"])

    def launch(
        self, job: str, tags: Mapping[str, str] | None = None, assets: Sequence[Sequence[str]] | None = None
    ) -> str:
        """Start a job as the UI does, for these assets or all. Return the run's id."""
        pairs = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        selected = [{"path": list(path)} for path in assets] if assets else None
        answer = self.ask(LAUNCH, job=job, tags=pairs, assets=selected)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return the newest runs by their id."""
        results = self.ask(RUNS).get("runsOrError", {}).get("results", [])
        return {run["runId"]: run for run in results}

    def ticks(self, name: str) -> list[dict[str, Any]]:
        """Return the newest ticks of a schedule or sensor."""
        ticks: list[dict[str, Any]] = self.ask(TICKS, name=name).get("instigationStateOrError", {}).get("ticks", [])
        return ticks

    def stop_schedule(self, name: str) -> None:
        """Stop a schedule as the UI does."""
        schedule = self.ask(TICKS, name=name)["instigationStateOrError"]
        answer = self.ask(STOP, id=schedule["id"])["stopRunningSchedule"]
        assert answer["__typename"] == "ScheduleStateResult", answer


@contextmanager
def stack(
    folder: Path, database_url: str, environment: Mapping[str, str], build: Callable[..., Stack] = Stack
) -> Iterator[Stack]:
    """Yield the stack, started and with its definitions loaded. It is stopped afterwards in any case."""
    built = build(folder, database_url, environment)
    try:
        built.start_all()
        yield built
    finally:
        built.stop()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no process listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def kill_worker(owner: str) -> None:
    """Kill the process that a lock names as its owner."""
    _kill(int(owner.split(" ")[1]))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes that a process started, and these in turn."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    descendants, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        descendants += children
        queue += children
    return descendants


def _postgres(url: str) -> dict[str, str]:
    """Return the variables of dagster.yaml, and libpq's PGHOST for a server that listens on a socket only."""
    parsed = make_url(url)
    variables = {
        "DAGSTER_POSTGRES_USER": parsed.username or "",
        "DAGSTER_POSTGRES_PASSWORD": parsed.password or "unused",
        "DAGSTER_POSTGRES_DB": parsed.database or "",
        "DAGSTER_POSTGRES_HOST": parsed.host or "",
        "DAGSTER_POSTGRES_PORT": str(parsed.port or 5432),
    }
    socket_folder = parsed.query.get("host")
    return variables | ({"PGHOST": str(socket_folder)} if socket_folder else {})
