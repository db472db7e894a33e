"""Which of what only grows may go: by age, and by what still needs it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath


@dataclass(frozen=True)
class PastRun:
    """A run that has ended, as far as its removal depends on it."""

    run_id: str
    first_attempt: str
    """The run that it repeats, directly or not; itself if it repeats none."""
    updated_at: datetime


def removable_runs(runs: Iterable[PastRun], needed: Collection[str], before: datetime) -> list[str]:
    """Return the runs that ended before a moment and aren't needed, the oldest first.

    A needed run needs all attempts of the same work, which say how it ended.

    Args:
        runs: all runs that have ended.
        needed: first attempts of the runs that are needed.
        before: the moment.
    """
    old = (run for run in runs if run.updated_at < before and run.first_attempt not in needed)
    return [run.run_id for run in sorted(old, key=lambda run: (run.updated_at, run.run_id))]


def removable_files(names: Iterable[str], needed: Collection[str], before: datetime) -> list[str]:
    """Return the files that were written before a moment and aren't needed.

    Args:
        names: the names of files in a storage, which begin with their time as 20261127T045512Z; others never go.
        needed: the files that are needed.
        before: the moment, in UTC.
    """
    first_kept = f"{before:%Y%m%dT%H%M%SZ}"
    return [name for name in names if name not in needed and (written := _time(name)) and written < first_kept]


def _time(name: str) -> str | None:
    time = PurePosixPath(name).name[:16]
    is_time = len(time) == 16 and time[8] == "T" and time[15] == "Z" and (time[:8] + time[9:15]).isdecimal()
    return time if is_time and time.isascii() else None
