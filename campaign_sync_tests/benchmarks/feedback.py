"""The import of feedback into the CRM: `python -m campaign_sync_tests.benchmarks.feedback [ROWS]`.

Raw rows of two readers, four bounces for each unsubscribe, against the sandbox in another process and a CRM on SQLite.
The worst case on purpose: all of them were published within one hour, so each reader has one window. As in reality most
rows are repeated or unmatched: of ten rows about a person five repeat another one, every second address isn't in the
CRM, and the CRM has four times as many people as the rows are about.

Each size has its own process. CPU and memory don't include the sandbox: the wall time beyond the CPU time is waiting
for the vendor, the disk and other processes. The peak is of all the memory of the process, which has about 190 MiB
before anything is read.

Rows are read once separately, to measure that alone; `all` is the sum of the other three parts.

The loop is what an engineer writes in an afternoon (`feedback_loop`), in a process of its own and on a copy of the CRM.
Its start isn't counted either.
"""

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import make_url

from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.feedback_fetcher import FeedbackFetcher
from campaign_sync.feedback.pending_feedback import read_pending
from campaign_sync.feedback.write_back import FeedbackWriteBack
from campaign_sync_tests.benchmarks.arguments import parse_numbers
from campaign_sync_tests.benchmarks.generated_data import address_of, installation
from campaign_sync_tests.benchmarks.separate_process import peak_mib
from campaign_sync_tests.installation import NORD, Installation
from campaign_sync_tests.opened import opened

ROWS_PER_PERSON = 10
"""The number of rows per person, each of which repeats another one."""

ALL = "all"
LOOP = "the afternoon's loop"


@dataclass(frozen=True)
class Part:
    """The measurements of one part."""

    name: str
    wall: float
    cpu: float
    peak: float
    """MiB"""


@contextmanager
def installation_with_feedback(rows: int) -> Iterator[Installation]:
    """Set up an installation whose vendor has this many rows of feedback."""
    people = max(rows // ROWS_PER_PERSON, 10)
    with installation(people * 4) as rig:
        published = datetime.now(UTC) - timedelta(minutes=30)
        for start in range(0, rows, 10_000):
            numbered = [_row(number, people, published) for number in range(start, min(start + 10_000, rows))]
            for reader in ("getOutBounces", "getUnsubscribes"):
                rig.vendor.publish(NORD, reader, [row for of, row in numbered if of == reader], published)
        yield rig


def _row(number: int, people: int, published: datetime) -> tuple[str, list[str]]:
    """Return the reader of a row, and the row."""
    repeat, person = divmod(number, people)
    moment = published - timedelta(days=repeat // 2, seconds=person)
    row = [address_of(person) if person % 2 else f"stranger.{person}@example.net", str(int(moment.timestamp() * 1000))]
    return "getOutBounces" if person % 5 else "getUnsubscribes", row


def measured(rows: int) -> list[Part]:
    """Measure the loop and our parts for this many rows."""
    parts: list[Part] = []
    with installation_with_feedback(rows) as rig:
        configuration = rig.configuration
        settings = configuration.mandators["nord"]
        with opened(configuration) as resources:
            state, frames = resources.state, resources.files
            resources.vendor()

            def part(name: str, work: Callable[[], object]) -> object:
                Path("/proc/self/clear_refs").write_text("5")  # resets the peak
                used, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
                result = work()
                wall, now = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
                cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
                parts.append(Part(name, wall, cpu, peak_mib()))
                return result

            def fetch() -> int:
                fetching = FeedbackFetcher("nord", settings, resources.vendor, state, frames, "benchmark")
                return sum(
                    fetched.rows
                    for reader in settings.feedback.readers
                    for fetched in fetching.fetch(reader, lambda _: None)
                )

            def take() -> None:
                pending = read_pending(state, frames, "nord", settings)
                FeedbackWriteBack("nord", resources.crm, state, frames, resources.vendor, settings.feedback).run(
                    pending
                )

            parts.append(_loop(rig))
            assert part("fetch and keep", fetch) == rows
            pending = part("read", lambda: read_pending(state, frames, "nord", settings))
            del pending
            part("read and write to the CRM", take)
            with resources.crm.snapshot() as crm:
                part("suppression", lambda: current_suppression(crm, state, "nord"))
            again = state.feedback_imports.pending("nord")
            assert not again, "the CRM hasn't taken everything"
        return parts


def _loop(rig: Installation) -> Part:
    """Return what the loop takes, on a copy of the CRM."""
    crm, file = rig.folder / "copy.db", rig.folder / "loop.json"
    shutil.copy(str(make_url(rig.crm_url).database), crm)
    command = [sys.executable, "-m", "campaign_sync_tests.benchmarks.feedback_loop", str(file), str(crm)]
    begun = time.monotonic()
    subprocess.run([*command, rig.configuration.optimizely.base_url], check=True)
    wall, measured = time.monotonic() - begun, json.loads(file.read_text(encoding="ascii"))
    return Part(LOOP, wall, measured["cpu"], measured["peak"])


def main() -> None:
    """Measure and print."""
    (largest,) = parse_numbers(__doc__, rows=1_000_000)
    names = ("rows", "rows/s", "wall, s", "CPU, s", "µs a row", "peak, MiB", "growth", "× the loop")
    table = Table(Column("part", no_wrap=True), *(Column(name, justify="right") for name in names))
    first: dict[str, float] = {}
    for rows in sorted({10_000, min(largest, 100_000), largest}):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            loop, *parts = process.submit(measured, rows).result()
        did = [part for part in parts if part.name != "read"]
        wall, cpu, peak = sum(part.wall for part in did), sum(part.cpu for part in did), max(part.peak for part in did)
        for part in (*parts, Part(ALL, wall, cpu, peak), loop):
            per_first = first.setdefault(part.name, part.cpu / rows)
            table.add_row(
                part.name,
                f"{rows:,}",
                f"{rows / part.wall:,.0f}",
                f"{part.wall:.1f}",
                f"{part.cpu:.2f}",
                f"{part.cpu / rows * 1e6:.1f}",
                f"{part.peak:.0f}",
                f"{part.cpu / rows / per_first:.2f}",
                f"{part.cpu / loop.cpu:.2f}" if part.name == ALL else "",
                end_section=part is loop,
            )
    table.title = "Feedback from the vendor into the CRM"
    table.caption = "growth: CPU per row, against 10,000 rows"
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
