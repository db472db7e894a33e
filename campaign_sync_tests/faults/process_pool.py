"""Processes that have everything imported already: a new Python for every replacement would take seconds."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from campaign_sync_tests.faults import kill_job
from campaign_sync_tests.faults.kill_job import ReplacementJob, Report
from campaign_sync_tests.waiting import PATIENCE

_ROOT = Path(__file__).parents[2]


class ProcessPool:
    """Runs jobs, one after the other. A job to be killed gets a process of its own; the others share a process."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._forking, self._shared = (stack.enter_context(_worker(role)) for role in ("forking", "shared"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, job: ReplacementJob) -> Report | None:
        """Have a list replaced, and return the report, or None if the process was killed."""
        job.report.unlink(missing_ok=True)
        worker = self._forking if job.kill_at else self._shared
        stdin, stdout = worker.stdin, worker.stdout
        assert stdin is not None
        assert stdout is not None
        pickle.dump(job, stdin)
        stdin.flush()
        exit_code = int(stdout.readline() or "1")
        if exit_code == -signal.SIGKILL:
            return None
        assert exit_code == 0, f"the replacement ended with {exit_code}; its traceback is above"
        return Report.read(job.report)


def _worker(role: str) -> subprocess.Popen[bytes]:
    single_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads don't survive a fork
    return subprocess.Popen(
        [sys.executable, "-m", __name__, role],
        cwd=_ROOT,
        env=os.environ | single_thread,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _work(role: str) -> None:
    """Do every job that is read from stdin, and answer with an exit code per line."""
    gc.freeze()  # else a search for garbage in a child copies all memory
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed
        while True:
            try:
                job = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            answers.write(f"{_in_a_child(job) if role == 'forking' else _attempt(job)}\n")
            answers.flush()


def _in_a_child(job: ReplacementJob) -> int:
    child = os.fork()
    if child == 0:
        os._exit(_attempt(job))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _attempt(job: ReplacementJob) -> int:
    """Do a job and return an exit code. Never raises: a child mustn't continue in its parent's loop."""
    try:
        signal.alarm(int(PATIENCE))  # ends a replacement that hangs
        kill_job.run(job)
        signal.alarm(0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _work(sys.argv[1])
