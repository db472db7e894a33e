"""The stack of a project as a deployment has it: code server, webserver and daemon, with the costs of each process."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from campaign_sync_tests.stack import ROOT, Stack, descendants, free_port

PROCESSES = ("code", "webserver", "daemon")
"""Code server, webserver and daemon. Their names are the application names of their connections to PostgreSQL."""

_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "campaign_sync"}

_SENSORS = """
query ($selector: RepositorySelector!) { sensorsOrError(repositorySelector: $selector) { ... on Sensors { results {
  name minIntervalSeconds sensorState { status typeSpecificData { ... on SensorData { lastCursor } } }
} } } }
"""

_DRY_RUN = """
mutation ($selector: SensorSelector!, $cursor: String) { sensorDryRun(selectorData: $selector, cursor: $cursor) {
  __typename ... on DryRunInstigationTick { evaluationResult { error { message } } } ... on PythonError { message }
} }
"""


class RunningSensor(NamedTuple):
    """A sensor that is switched on."""

    name: str
    interval: float
    """Seconds from tick to tick, at least."""
    cursor: str | None

    @property
    def kind(self) -> str:
        """The name without that of a mandator."""
        return re.sub(r"^m\d\d_", "", self.name)


class ServedStack(Stack):
    """Code server, webserver and daemon of a project."""

    def __init__(self, project: Path, folder: Path, database_url: str, environment: Mapping[str, str]) -> None:
        self.project = project
        if project != ROOT:
            self.programs = project / ".venv" / "bin"
        self._code_port = free_port()
        self._workspace = folder / "workspace.yaml"
        server = {"host": "127.0.0.1", "port": self._code_port, "location_name": "campaign_sync"}
        self._workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
        super().__init__(folder, database_url, environment)

    @property
    def workspace(self) -> Path:
        """The file that names the code server."""
        return self._workspace

    def commands(self) -> dict[str, list[str | Path]]:
        """Return the command of each process."""
        options = ["--host", "127.0.0.1", "--port", str(self._code_port), "--module-name", "campaign_sync.definitions"]
        return {**super().commands(), "code": [self.programs / "dagster", "code-server", "start", *options]}

    def process_environment(self, name: str) -> dict[str, str]:
        """Return the environment of a process, whose name becomes libpq's application name."""
        return {**super().process_environment(name), "PGAPPNAME": name}

    def start_all(self) -> None:
        """Start all processes, the code server first, and wait until the definitions have been loaded."""
        self.start("code")
        self.until(self.serves_code)
        super().start_all()

    def serves_code(self) -> bool:
        """Return whether the code server answers."""
        command = (self.programs / "dagster", "api", "grpc-health-check", "--port", str(self._code_port))
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def running_sensors(self) -> list[RunningSensor]:
        """Return the sensors that are switched on."""
        sensors = self._answer(_SENSORS, selector=_LOCATION)["sensorsOrError"]["results"]
        running = [sensor for sensor in sensors if sensor["sensorState"]["status"] == "RUNNING"]
        return [
            RunningSensor(
                sensor["name"],
                sensor["minIntervalSeconds"],
                (sensor["sensorState"]["typeSpecificData"] or {}).get("lastCursor"),
            )
            for sensor in running
        ]

    def dry_run(self, sensor: RunningSensor) -> str | None:
        """Evaluate a sensor in the code server, without effect on its runs. Return the error message, if any."""
        selector = {**_LOCATION, "sensorName": sensor.name}
        result = self._answer(_DRY_RUN, selector=selector, cursor=sensor.cursor)["sensorDryRun"]
        if result["__typename"] != "DryRunInstigationTick":
            return str(result)
        error = result["evaluationResult"]["error"]
        return str(error["message"]) if error else None

    def _answer(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self.ask(query, **variables)
        assert answer, "the webserver doesn't answer"
        return answer


@contextmanager
def served_stack(
    project: Path, folder: Path, database_url: str, environment: Mapping[str, str]
) -> Iterator[ServedStack]:
    """Yield the stack of a project, started, with its definitions loaded. It is stopped afterwards in any case."""
    stack = ServedStack(project, folder, database_url, environment)
    try:
        stack.start_all()
        yield stack
    finally:
        stack.stop()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and all that it started, also of those that have ended."""
    return sum(_cpu_seconds(process) for process in (pid, *descendants(pid)))


def memory_mb(pid: int) -> float:
    """Return the memory of a process and all that it started, in MB; shared pages are counted once."""
    return sum(_memory(process) for process in (pid, *descendants(pid))) / 1e6


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def python_of(project: Path) -> Path:
    """Return the interpreter of a project."""
    return Path(sys.executable) if project == ROOT else project / ".venv" / "bin" / "python"
