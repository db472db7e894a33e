"""Processes that have everything imported already: a fresh Python for every replace would take seconds."""

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
from campaign_sync_tests.faults.kill_job import Errand, Report
from campaign_sync_tests.waiting import PATIENCE

_ROOT = Path(__file__).parents[2]


class Nursery:
    """Runs errands, one after the other. Who is to be killed is a child forked for it; the others share a process."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._mother, self._survivor = (stack.enter_context(_helper(role)) for role in ("mother", "survivor"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, task: Errand) -> Report | None:
        """Have a list replaced; None if the process was killed."""
        task.report.unlink(missing_ok=True)
        helper = self._mother if task.kill_at else self._survivor
        stdin, stdout = helper.stdin, helper.stdout
        assert stdin is not None
        assert stdout is not None
        pickle.dump(task, stdin)
        stdin.flush()
        exit_code = int(stdout.readline() or "1")
        if exit_code == -signal.SIGKILL:
            return None
        assert exit_code == 0, f"the replace ended with {exit_code}; its traceback is above"
        return Report.read(task.report)


def _helper(role: str) -> subprocess.Popen[bytes]:
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads don't live through a fork
    return subprocess.Popen(
        [sys.executable, "-m", __name__, role],
        cwd=_ROOT,
        env=os.environ | alone,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _help(role: str) -> None:
    """Do every errand that comes in through stdin, and answer with how it ended: an exit code per line."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed
        while True:
            try:
                task = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            answers.write(f"{_in_a_child(task) if role == 'mother' else _attempt(task)}\n")
            answers.flush()


def _in_a_child(task: Errand) -> int:
    child = os.fork()
    if child == 0:
        os._exit(_attempt(task))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _attempt(task: Errand) -> int:
    """Do the errand. Never raises: a child mustn't come back into its mother's loop."""
    try:
        signal.alarm(int(PATIENCE))  # ends a replace that hangs
        kill_job.run(task)
        signal.alarm(0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _help(sys.argv[1])
