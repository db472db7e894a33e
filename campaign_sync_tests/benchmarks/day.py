"""What a machine needs for a list: `python -m campaign_sync_tests.benchmarks.day [ROWS …]`.

The day of a mandator with one list of 15 attributes, as `campaign-sync run` does it in a process, against the sandbox
in another one: the second day, when everybody is in the list already. The sandbox is no measure for the vendor: what
is the product's own is told apart, and the vendor's share will be another one with you.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Console
from rich.table import Column, Table

from campaign_sync_tests.benchmarks.installation import Sandbox, installation
from campaign_sync_tests.benchmarks.measured_run import PARTS, Measured
from campaign_sync_tests.rig import ENVIRONMENT, Rig

_SIZES = (10_000, 100_000, 1_000_000)
_REST = "Dagster and the rest"


@dataclass(frozen=True)
class Day:
    """One day of one list."""

    rows: int
    seconds: float
    cpu: float
    """Seconds that the run's process has worked."""
    run: Measured
    sandbox_cpu: float
    sandbox_peak: int

    @property
    def ours(self) -> float:
        """Seconds in which nobody waited for the vendor."""
        return self.seconds - self.run.waiting

    def part(self, name: str) -> float:
        """Seconds in one of the parts, or in what is none."""
        return self.run.parts[name] if name != _REST else self.seconds - sum(self.run.parts.values())


def _day(rig: Rig, sandbox: Sandbox, rows: int) -> Day:
    assert rig.configuration
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"} | ENVIRONMENT
    file = rig.folder / "measured.json"
    command = [sys.executable, "-m", "campaign_sync_tests.benchmarks.measured_run", str(file)]
    command += ["nord", "--list", "newsletter"]
    worked, begun = sandbox.cpu_seconds, time.monotonic()
    with (rig.folder / "run.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=rig.folder, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    assert status == 0, (rig.folder / "run.txt").read_text()
    measured = Measured(**json.loads(file.read_text(encoding="ascii")))
    cpu = usage.ru_utime + usage.ru_stime
    return Day(rows, seconds, cpu, measured, sandbox.cpu_seconds - worked, sandbox.peak)


def second_day(rows: int) -> Day:
    """Live through two days, and measure the second one."""
    with installation(rows) as (rig, sandbox):
        _day(rig, sandbox, rows)
        return _day(rig, sandbox, rows)


_TOTALS: dict[str, Callable[[Day], str]] = {
    "day, s": lambda day: f"{day.seconds:.1f}",
    "waiting, s": lambda day: f"{day.run.waiting:.1f}",
    "ours, s": lambda day: f"{day.ours:.1f}",
    "incomplete, s": lambda day: f"{day.run.incomplete:.1f}",
    "CPU, s": lambda day: f"{day.cpu:.1f}",
    "peak, MiB": lambda day: f"{day.run.peak / 2**20:.0f}",
    "sandbox: CPU, s": lambda day: f"{day.sandbox_cpu:.1f}",
    "sandbox: peak, MiB": lambda day: f"{day.sandbox_peak / 2**20:.0f}",
}


def totals(days: list[Day]) -> Table:
    """One line for each size; waiting is for the vendor, and what is left of the day is ours."""
    table = Table(Column("recipients", justify="right"), *(Column(name, justify="right") for name in _TOTALS))
    for day in days:
        table.add_row(f"{day.rows:,}", *(written(day) for written in _TOTALS.values()))
    return table


def parts(days: list[Day]) -> Table:
    """Seconds of each part, and by how much they grow for each row from size to size: at most 1 is linear."""
    columns = [Column("seconds in", no_wrap=True)]
    for before, day in zip([None, *days], days, strict=False):
        columns += [Column("growth", justify="right")] if before else []
        columns += [Column(f"{day.rows:,}", justify="right")]
    table = Table(*columns)
    measures: dict[str, Callable[[Day], float]] = {
        **{name: lambda day, name=name: day.part(name) for name in (*PARTS, _REST)},  # type: ignore[misc]
        "whole day": lambda day: day.seconds,
        "ours": lambda day: day.ours,
        "CPU": lambda day: day.cpu,
    }
    for name, seconds in measures.items():
        cells = [name, f"{seconds(days[0]):.2f}"]
        for before, day in pairwise(days):
            growth = (seconds(day) / day.rows) / (seconds(before) / before.rows) if seconds(before) else 0
            cells += [f"× {growth:.2f}", f"{seconds(day):.2f}"]
        table.add_row(*cells, end_section=name == _REST)
    return table


def main() -> None:
    """Measure and print."""
    sizes = [int(argument.replace(",", "")) for argument in sys.argv[1:]] or _SIZES
    console, days = Console(width=100), []
    for rows in sizes:
        days.append(second_day(rows))
        console.print(f"{rows:,} recipients: {days[-1].seconds:.0f} s")
    console.print(totals(days), parts(days))


if __name__ == "__main__":
    main()
