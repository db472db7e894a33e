"""Kills a replace at one point after the other, and looks at what the list, the journal and the next runs say."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.faults.installations import Database, Ending, Installation, Prepared, prepared
from campaign_sync_tests.faults.kill_job import Report
from campaign_sync_tests.faults.process_pool import Nursery
from campaign_sync_tests.faults.vendor_states import Scenario
from campaign_sync_tests.tmpfs import MEMORY

MOST_RERUNS = 2

_READING = re.compile(r"\.(get|contains|are)[A-Z]")
"""The vendor's operations that change nothing, as they stand in the name of a point."""


def written(points: Sequence[str]) -> tuple[str, ...]:
    """Those of the points at which something is just written, committed or not, at the vendor or in a database."""
    return tuple(
        point for point in points if point.startswith(("after ", "before commit of ")) and not _READING.search(point)
    )


def changing(points: Sequence[str]) -> tuple[str, ...]:
    """Those of the points at which something has just been changed that a replace looks at.

    A write that isn't committed has changed nothing yet; the journal's steps are told, and never read.
    """
    return tuple(point for point in written(points) if point.startswith("after ") and "replace_step" not in point)


@dataclass(frozen=True)
class Survival:
    """What became of an installation whose replace was killed at a point."""

    point: str
    reruns: int
    resumed: bool
    """Whether the last rerun went on filling what the killed one had left."""
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"killed {self.point}: {'; '.join(self.problems) or 'survived'}"


@dataclass
class Survey:
    """All the points of one scenario on one database."""

    scenario: Scenario
    database: Database
    prepared: Prepared = field(repr=False)
    nursery: Nursery = field(repr=False)
    folder: Path = field(repr=False)

    @cached_property
    def undisturbed(self) -> tuple[tuple[str, ...], Ending]:
        """The points that a replace passes, and its end, if nobody is killed."""
        with self._copy() as installation:
            report = installation.replace(self.nursery)
            assert report is not None
            assert report.verdict == "proven", report.told
            assert installation.canary_is_as_it_was()
            ending = installation.ending()
            assert (ending.newest, ending.incomplete, ending.leases) == (ReplacementState.PROVEN, False, 0)
            return report.points, ending

    @property
    def points(self) -> tuple[str, ...]:
        """Where a replace can be killed, in order."""
        return self.undisturbed[0]

    def kill_at(self, points: Sequence[str]) -> Iterator[Survival]:
        """Kill a replace at each of the points, every time in a fresh copy, and let it be run again."""
        for point in points:
            with self._copy() as installation:
                yield self._kill_at(point, installation)

    def _kill_at(self, point: str, installation: Installation) -> Survival:
        _, expected = self.undisturbed
        whole = [expected.rows] if self.scenario.broken_at else [expected.rows, installation.rows()]
        report = installation.replace(self.nursery, point)
        problems = [] if report is None else [f"it never got there: {report.verdict} {report.told}"]
        if installation.rows() not in whole and installation.incomplete() is None:
            problems.append("the list is half full, and the journal says nothing of it")
        reruns = self._until_proven(installation)
        if reruns[-1].verdict != "proven":
            problems.append(f"after {len(reruns)} more runs it is {reruns[-1].verdict}: {reruns[-1].told}")
        problems += expected.differences(installation.ending())
        if not installation.canary_is_as_it_was():
            problems.append("the canary isn't unsubscribed and out of all lists")
        return Survival(point, len(reruns), reruns[-1].resumed, tuple(problems))

    def _until_proven(self, installation: Installation) -> list[Report]:
        reports: list[Report] = []
        while len(reports) < MOST_RERUNS and not (reports and reports[-1].verdict == "proven"):
            report = installation.replace(self.nursery)
            assert report is not None
            reports.append(report)
        return reports

    @contextmanager
    def _copy(self) -> Iterator[Installation]:
        with self.prepared.copy(self.folder / f"{time.monotonic_ns()}") as installation:
            yield installation


@contextmanager
def survey(scenario: Scenario, database: Database, nursery: Nursery) -> Iterator[Survey]:
    """Prepare a scenario, and be ready to kill it."""
    with TemporaryDirectory(prefix="campaign-sync-faults-", dir=MEMORY) as folder:
        original, copies = Path(folder) / "original", Path(folder) / "copies"
        original.mkdir()
        copies.mkdir()
        with prepared(scenario, database, nursery, original) as ready:
            yield Survey(scenario, database, ready, nursery, copies)
