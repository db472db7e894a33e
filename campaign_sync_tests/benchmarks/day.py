"""The time and memory for a daily replace: `python -m campaign_sync_tests.benchmarks.day [ROWS …]`.

The day of a mandator with one list of 15 attributes, as `campaign-sync run` does it in a process, against the sandbox
in another one: the second day, when all people are in the list already. The sandbox isn't as fast as the vendor, so
the product's own time is shown separately. The time in which the list is incomplete is compared with a bound: the
same bytes, encoded beforehand, to the same sandbox over as many connections.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Column, Table

from campaign_sync_tests.benchmarks.generated_data import MeasuredRig, installation
from campaign_sync_tests.benchmarks.measured_run import PARTS, REST, Measured
from campaign_sync_tests.benchmarks.sending import fill_again
from campaign_sync_tests.benchmarks.separate_process import apart
from campaign_sync_tests.installation import ENVIRONMENT

_SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Day:
    """One day of one list."""

    rows: int
    seconds: float
    cpu: float
    """CPU seconds of the run's process."""
    run: Measured
    sandbox_cpu: float
    sandbox_peak: int
    least: float | None = None
    """The bound: seconds to clear the list and send the same bytes to the same sandbox."""

    @property
    def waiting(self) -> float:
        """Seconds with at least one pending call to the vendor."""
        return sum(self.run.waiting.values())

    def seconds_in(self, part: str) -> float:
        """Return the seconds in a part; the start of Python belongs to the rest."""
        begin = self.seconds - sum(self.run.parts.values()) if part == REST else 0
        return self.run.parts[part] + begin


def _day(rig: MeasuredRig, rows: int) -> Day:
    assert rig.configuration
    sandbox = rig.sandbox
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
    """Run two days, and measure the second one."""
    with installation(rows) as rig:
        _day(rig, rows)
        second = _day(rig, rows)
        return replace(second, least=apart(fill_again, str(rig.folder)).wall)


_TOTALS: dict[str, Callable[[Day], str]] = {
    "day, s": lambda day: f"{day.seconds:.1f}",
    "waiting, s": lambda day: f"{day.waiting:.1f}",
    "ours, s": lambda day: f"{day.seconds - day.waiting:.1f}",
    "incomplete, s": lambda day: f"{day.run.incomplete:.1f}",
    "/ bound": lambda day: f"{day.run.incomplete / day.least:.2f}" if day.least else "",
    "CPU, s": lambda day: f"{day.cpu:.1f}",
    "peak, MiB": lambda day: f"{day.run.peak / 2**20:.0f}",
    "sandbox: CPU, s": lambda day: f"{day.sandbox_cpu:.1f}",
    "sandbox: peak, MiB": lambda day: f"{day.sandbox_peak / 2**20:.0f}",
}


def totals(days: list[Day]) -> Table:
    """Return a line for each size; waiting is for the vendor, the rest of the day is ours."""
    table = Table(Column("recipients", justify="right"), *(Column(name, justify="right") for name in _TOTALS))
    for day in days:
        table.add_row(f"{day.rows:,}", *(written(day) for written in _TOTALS.values()))
    return table


def parts(days: list[Day]) -> Table:
    """Return the seconds of each part, our share, and the growth of the time per row."""
    columns = [Column("seconds in", no_wrap=True)]
    for before, day in zip([None, *days], days, strict=False):
        columns += [Column("× a row", justify="right")] if before else []
        columns += [Column(f"{day.rows:,}", justify="right"), Column("ours", justify="right")]
    table = Table(*columns)
    for part in (*PARTS, REST):
        seconds = [(day.seconds_in(part), day.run.waiting[part]) for day in days]
        table.add_row(part, *_grown(days, seconds), end_section=part == REST)
    table.add_row("day", *_grown(days, [(day.seconds, day.waiting) for day in days]))
    return table


def _grown(days: list[Day], seconds: list[tuple[float, float]]) -> Iterator[str]:
    """Yield the cells of a line from the seconds of each size, whole and waiting for the vendor."""
    for number, (day, (whole, waited)) in enumerate(zip(days, seconds, strict=True)):
        if number:
            before = seconds[number - 1][0] / days[number - 1].rows
            yield f"{whole / day.rows / before:.2f}" if before else ""
        yield from (f"{whole:.2f}", f"{whole - waited:.2f}")


def main() -> None:
    """Measure and print."""
    sizes = [int(argument.replace(",", "")) for argument in sys.argv[1:]] or _SIZES
    console, days = Console(width=120), []
    try:
        for rows in sizes:
            days.append(second_day(rows))
            console.print(f"{rows:,} recipients: {days[-1].seconds:.0f} s")
    finally:
        console.print(totals(days), parts(days))


if __name__ == "__main__":
    main()
