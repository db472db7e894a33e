"""Measurement of work in its own process."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROCESSES = multiprocessing.get_context("spawn")  # a fork would begin with its parent's memory


@dataclass(frozen=True)
class Measured:
    """The measurements of some work."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all threads, user and system."""
    peak: float
    """The peak memory of the process, in MiB."""
    result: Any


def apart(work: Callable[..., Callable[[], Any]], *arguments: object) -> Measured:
    """Measure in a new process. `work` makes preparations, which aren't timed, and returns the function to time."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_measure, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    measured: Measured = ours.recv()
    process.join()
    return measured


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mib() -> float:
    """Return the peak memory of this process, in MiB, without that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _measure(parent: Any, work: Callable[..., Callable[[], Any]], arguments: tuple[object, ...]) -> None:
    timed = work(*arguments)
    cpu, begun = cpu_seconds(), time.monotonic()
    result = timed()
    parent.send(Measured(time.monotonic() - begun, cpu_seconds() - cpu, peak_mib(), result))
