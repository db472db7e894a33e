"""Kills of a replacement at one point after the other, and checks of the list, the journal and the next runs."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.faults.installations import (
    Database,
    InstallationCopy,
    Outcome,
    PreparedInstallation,
    prepared_installation,
)
from campaign_sync_tests.faults.kill_job import Report
from campaign_sync_tests.faults.process_pool import ProcessPool
from campaign_sync_tests.faults.vendor_states import Scenario
from campaign_sync_tests.tmpfs import MEMORY

MOST_RERUNS = 2

_READ = re.compile(r"\.(get|contains|are)[A-Z]")
"""The vendor's operations that change nothing, as part of a point's name."""


def write_points(points: Sequence[str]) -> tuple[str, ...]:
    """Return the points right after a write to the vendor or to a database, committed or not."""
    return tuple(
        point for point in points if point.startswith(("after ", "before commit of ")) and not _READ.search(point)
    )


def change_points(points: Sequence[str]) -> tuple[str, ...]:
    """Return the points right after a change that a replacement reads.

    A write that isn't committed has changed nothing yet; the journal's steps are recorded, and never read.
    """
    return tuple(point for point in write_points(points) if point.startswith("after ") and "replace_step" not in point)


@dataclass(frozen=True)
class Survival:
    """The result for an installation whose replacement was killed at a point."""

    point: str
    reruns: int
    resumed: bool
    """Whether the last rerun resumed the fill of the killed one."""
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"killed {self.point}: {'; '.join(self.problems) or 'survived'}"


@dataclass
class Survey:
    """The points of one scenario on one database, and what kills at them lead to."""

    scenario: Scenario
    database: Database
    prepared_installation: PreparedInstallation = field(repr=False)
    process_pool: ProcessPool = field(repr=False)
    folder: Path = field(repr=False)

    @cached_property
    def undisturbed(self) -> tuple[tuple[str, ...], Outcome]:
        """The points that a replacement passes if it isn't killed, and its outcome."""
        with self._copy() as installation:
            report = installation.replace(self.process_pool)
            assert report is not None
            assert report.verdict == "proven", report.message
            assert installation.canary_is_as_it_was()
            outcome = installation.outcome()
            assert (outcome.newest, outcome.incomplete, outcome.leases) == (ReplacementState.PROVEN, False, 0)
            return report.points, outcome

    @property
    def points(self) -> tuple[str, ...]:
        """The points at which a replacement can be killed, in order."""
        return self.undisturbed[0]

    def kill_at(self, points: Sequence[str]) -> Iterator[Survival]:
        """Kill a replacement at each of the points, each time in a new copy, run it again, and yield the results."""
        for point in points:
            with self._copy() as installation:
                yield self._kill_at(point, installation)

    def _kill_at(self, point: str, installation: InstallationCopy) -> Survival:
        _, expected = self.undisturbed
        complete = [expected.rows] if self.scenario.killed_at else [expected.rows, installation.rows()]
        report = installation.replace(self.process_pool, point)
        problems = [] if report is None else [f"it never reached the point: {report.verdict} {report.message}"]
        if installation.rows() not in complete and installation.incomplete() is None:
            problems.append("the list is half full, and the journal doesn't say so")
        reruns = self._until_proven(installation)
        if reruns[-1].verdict != "proven":
            problems.append(f"after {len(reruns)} more runs it is {reruns[-1].verdict}: {reruns[-1].message}")
        problems += expected.differences(installation.outcome())
        if not installation.canary_is_as_it_was():
            problems.append("the canary isn't unsubscribed and out of all lists")
        return Survival(point, len(reruns), reruns[-1].resumed, tuple(problems))

    def _until_proven(self, installation: InstallationCopy) -> list[Report]:
        reports: list[Report] = []
        while len(reports) < MOST_RERUNS and not (reports and reports[-1].verdict == "proven"):
            report = installation.replace(self.process_pool)
            assert report is not None
            reports.append(report)
        return reports

    @contextmanager
    def _copy(self) -> Iterator[InstallationCopy]:
        with self.prepared_installation.copy(self.folder / f"{time.monotonic_ns()}") as installation:
            yield installation


@contextmanager
def survey(scenario: Scenario, database: Database, process_pool: ProcessPool) -> Iterator[Survey]:
    """Prepare a scenario, and yield its survey."""
    with TemporaryDirectory(prefix="campaign-sync-faults-", dir=MEMORY) as folder:
        original, copies = Path(folder) / "original", Path(folder) / "copies"
        original.mkdir()
        copies.mkdir()
        with prepared_installation(scenario, database, process_pool, original) as ready:
            yield Survey(scenario, database, ready, process_pool, copies)
