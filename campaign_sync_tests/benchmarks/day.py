"""The cost of a daily replacement: `python -m campaign_sync_tests.benchmarks.day [sqlite|postgresql …] [ROWS …]`.

One list of 15 attributes of a mandator (`generated_data` has the people), as `campaign-sync run` replaces it in a
process of its own, against the sandbox in another one: the first day, and the second one, when all people are in the
list already. The sandbox isn't as fast as the vendor, so the time in which the list is incomplete is compared with a
bound: the same bytes, encoded beforehand, to the same sandbox over as many connections. Beside it the loop that an
engineer writes in an afternoon (`afternoon`), with the same rows and the same sandbox, with and without reading back.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import make_url

from campaign_sync_tests import databases
from campaign_sync_tests.benchmarks.generated_data import MeasuredRig, installation
from campaign_sync_tests.benchmarks.measured_run import PARTS, REST, Measured
from campaign_sync_tests.benchmarks.sending import fill_again
from campaign_sync_tests.benchmarks.separate_process import apart
from campaign_sync_tests.installation import ENVIRONMENT, NEWSLETTER

_SIZES = (10_000, 100_000)
_DATABASES = ("sqlite", "postgresql")
_LOOP = "the afternoon's loop"

_UNSET = ("DAGSTER_HOME", "PYTHONDONTWRITEBYTECODE")
"""Variables that the measured processes don't get: an installation has its modules compiled."""


@dataclass(frozen=True)
class Replacement:
    """One replacement of the list, by us or by the loop."""

    database: str
    rows: int
    name: str
    seconds: float
    cpu: float
    """CPU seconds of the process."""
    selecting: float
    """Those of it that reading the CRM and choosing the people took."""
    peak: float
    """MiB."""
    run: Measured | None = None
    least: float = 0
    """The bound: seconds to clear the list and send the same bytes to the same sandbox."""


def _measured(rig: MeasuredRig, module: str, *arguments: str) -> tuple[float, float, Any]:
    """Return the seconds and CPU seconds of a module's process, and what it has written."""
    environment = {key: value for key, value in os.environ.items() if key not in _UNSET} | ENVIRONMENT
    file, begun = rig.folder / "measured.json", time.monotonic()
    command = [sys.executable, "-m", f"campaign_sync_tests.benchmarks.{module}", str(file), *arguments]
    with (rig.folder / "run.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=rig.folder, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    assert status == 0, (rig.folder / "run.txt").read_text()
    return seconds, usage.ru_utime + usage.ru_stime, json.loads(file.read_text(encoding="ascii"))


def _day(rig: MeasuredRig, database: str, rows: int, name: str) -> Replacement:
    assert rig.configuration
    seconds, cpu, written = _measured(rig, "measured_run", "nord", "--list", "newsletter")
    run = Measured(**written)
    least = apart(fill_again, str(rig.folder)).wall
    return Replacement(database, rows, name, seconds, cpu, run.cpu["select"], run.peak / 2**20, run, least)


def _loop(rig: MeasuredRig, database: str, rows: int, *options: str) -> Replacement:
    url = make_url(rig.crm_url)
    crm = str(url.database) if database == "sqlite" else url.set(drivername="postgresql").render_as_string(False)
    arguments = (crm, rig.settings["optimizely"]["base_url"], str(NEWSLETTER), *options)
    seconds, cpu, written = _measured(rig, "afternoon", *arguments)
    name = f"{_LOOP}, {'with' if options else 'without'} reading back"
    return Replacement(database, rows, name, seconds, cpu, written["cpu"]["select"], written["peak"])


def replacements(database: str, rows: int) -> Iterator[Replacement]:
    """Replace the list twice by us, and twice by the loop."""
    with installation(rows, database) as rig:
        yield _day(rig, database, rows, "ours, first day")
        yield _day(rig, database, rows, "ours, second day")
        yield _loop(rig, database, rows)
        yield _loop(rig, database, rows, "--read-back")


def totals(measured: Sequence[Replacement]) -> Table:
    """Return a line for each replacement; CPU seconds are compared with the last one of the same size and CRM."""
    titles = (
        "s",
        "CPU, s",
        "select: CPU, s",
        "µs a row",
        "select: µs",
        "× the loop",
        "select: ×",
        "peak, MiB",
        "/ bound",
    )
    table = Table("CRM, people", "who", *(Column(title, justify="right") for title in titles))
    loops = {(replacement.database, replacement.rows): replacement for replacement in measured}
    for replacement in measured:
        loop = loops[replacement.database, replacement.rows]
        table.add_row(
            f"{replacement.database}, {replacement.rows:,}",
            replacement.name,
            f"{replacement.seconds:.1f}",
            f"{replacement.cpu:.2f}",
            f"{replacement.selecting:.2f}",
            f"{replacement.cpu / replacement.rows * 1e6:.1f}",
            f"{replacement.selecting / replacement.rows * 1e6:.1f}",
            f"{replacement.cpu / loop.cpu:.2f}",
            f"{replacement.selecting / loop.selecting:.2f}",
            f"{replacement.peak:.0f}",
            f"{replacement.run.incomplete / replacement.least:.2f}" if replacement.run else "",
        )
    return table


def parts(measured: Sequence[Replacement]) -> Table:
    """Return the CPU seconds of each part of our days, by CRM and size."""
    days = [replacement for replacement in measured if replacement.run]
    table = Table(
        "CPU seconds in", *(Column(f"{day.database}, {day.rows:,}, {day.name}", justify="right") for day in days)
    )
    for part in (*PARTS, REST):
        table.add_row(part, *(f"{day.run.cpu[part]:.2f}" for day in days if day.run))
    return table


def main() -> None:
    """Measure and print."""
    used = [name for name in _DATABASES if name in sys.argv] or _DATABASES
    sizes = [int(argument.replace(",", "")) for argument in sys.argv[1:] if argument not in _DATABASES] or _SIZES
    console, measured = Console(width=160), list[Replacement]()
    folder = databases.prepare_server_folder()
    try:
        for database in used:
            for rows in sizes:
                for replacement in replacements(database, rows):
                    measured.append(replacement)
                    console.print(f"{database}, {rows:,}, {replacement.name}: {replacement.cpu:.1f} CPU s")
    finally:
        databases.stop_server(folder)
        console.print(totals(measured), parts(measured))


if __name__ == "__main__":
    main()
