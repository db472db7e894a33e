"""`campaign-sync` as run in a terminal, forked from a process that has imported what a command needs.

Importing would take a new Python seconds. Everything after it is as in a new process, including how it exits.
"""

import atexit
import gc
import importlib
import os
import pickle
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
from alembic.script import ScriptDirectory

from campaign_sync.storage.revisions import revisions
from campaign_sync_tests import migrations
from campaign_sync_tests.waiting import PATIENCE

_ROOT = Path(__file__).parents[1]
_IMPORTED = (
    *(f"campaign_sync.cli.{name}" for name in ("check", "dagster_instance", "diff", "prove", "run", "sample", "why")),
    "campaign_sync.crm.sql.schema",
    "campaign_sync.orchestration.code_location",
    *("dagster._core.execution.execute_in_process", "dagster._core.executor.in_process", "zeep.wsdl.bindings.soap"),
    *("pandera.backends.pandas.register", "pyarrow.dataset"),
)


@dataclass(frozen=True)
class _Command:
    arguments: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    stdout: Path
    stderr: Path


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `python -m campaign_sync` with these arguments in a folder, to its end."""
    server = _fork_server(environment.get("COLUMNS", ""))
    stdin, stdout = server.stdin, server.stdout
    assert stdin is not None
    assert stdout is not None
    with TemporaryDirectory() as output:
        command = _Command(
            tuple(arguments), folder.absolute(), dict(environment), Path(output, "stdout"), Path(output, "stderr")
        )
        pickle.dump(command, stdin)
        stdin.flush()
        exit_code = int(stdout.readline())
        return subprocess.CompletedProcess(
            command.arguments, exit_code, *(path.read_text("utf-8") for path in (command.stdout, command.stderr))
        )


def run_in_new_python(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run the same command in a new Python process."""
    return subprocess.run(
        [sys.executable, "-m", "campaign_sync", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@cache
def _fork_server(columns: str) -> "subprocess.Popen[bytes]":
    """Start the process that forks the commands. `columns` is the terminal's width, which is read while importing."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads don't live through a fork
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER", "CAMPAIGN_SYNC"))}
    server = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=_ROOT,
        env=environment | one_thread | {"COLUMNS": columns},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(server.communicate)  # it ends with its input
    return server


def _serve() -> None:
    """Run every command that arrives on stdin, and answer with its exit code, one per line."""
    _prepare()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        while True:
            try:
                command = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            child = os.fork()
            if child == 0:
                _execute(command)
                sys.exit()
            _, status = os.waitpid(child, 0)
            answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
            answers.flush()


def _prepare() -> None:
    """Import what commands import, and read the scripts of all migrations."""
    for name in _IMPORTED:
        importlib.import_module(name)
    ScriptDirectory.from_config = migrations.reading_once()  # type: ignore[method-assign, assignment]
    revisions()
    with dg.instance_for_test():
        pass
    gc.collect()
    gc.freeze()  # else every child copies all memory while it searches for garbage, at the latest when it ends


def _execute(command: _Command) -> None:
    signal.alarm(int(PATIENCE))
    os.chdir(command.folder)
    os.environ.clear()
    os.environ.update(command.environment)
    time.tzset()
    for number, path in enumerate((Path(os.devnull), command.stdout, command.stderr)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv[1:] = command.arguments
    runpy.run_module("campaign_sync", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
