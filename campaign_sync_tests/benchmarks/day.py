"""The cost of a daily replacement: `python -m campaign_sync_tests.benchmarks.day [sqlite|postgresql …] [ROWS …]`.

One list of 15 attributes of a mandator (`generated_data` has the people), as `campaign-sync run` replaces it in a
process of its own, against the sandbox in another one: the first day, and the second one, when all people are in the
list already. The sandbox isn't as fast as the vendor, so the time in which the list is incomplete is compared with a
bound: the same bytes, encoded beforehand, to the same sandbox over as many connections. Beside it the `contestants`:
the loop that an engineer writes in an afternoon, with and without reading back, drt, dlt and zeep, with the same CRM
and the same sandbox. Each of them must leave the very rows in the list that ours has left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Column, Table

from campaign_sync.sandbox.stored_attributes import layouts, unpacked
from campaign_sync_tests import databases
from campaign_sync_tests.benchmarks.arguments import parse_sizes
from campaign_sync_tests.benchmarks.contestants import CONTESTANTS, Contestant
from campaign_sync_tests.benchmarks.generated_data import MeasuredRig, installation
from campaign_sync_tests.benchmarks.measured_run import PARTS, REST, Measured
from campaign_sync_tests.benchmarks.sending import fill_again
from campaign_sync_tests.benchmarks.separate_process import apart
from campaign_sync_tests.installation import NEWSLETTER

_SIZES = (10_000, 100_000)
_DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Replacement:
    """One replacement of the list, by us or by the loop."""

    database: str
    rows: int
    name: str
    seconds: float
    cpu: float
    """CPU seconds of the process."""
    selecting: float | None
    """Those of it that reading the CRM and choosing the people took; None if the tool doesn't separate them."""
    peak: float
    """MiB."""
    run: Measured | None = None
    least: float = 0
    """The bound: seconds to clear the list and send the same bytes to the same sandbox."""


def _day(rig: MeasuredRig, database: str, rows: int, name: str) -> Replacement:
    seconds, cpu, written = rig.run_module("measured_run", "nord", "--list", "newsletter")
    run = Measured(**written)
    least = apart(fill_again, str(rig.folder)).wall
    return Replacement(database, rows, name, seconds, cpu, run.cpu["select"], run.peak / 2**20, run, least)


def _contest(rig: MeasuredRig, database: str, rows: int, contestant: Contestant, interpreter: str) -> Replacement:
    arguments = (rig.crm_argument, rig.settings["optimizely"]["base_url"], str(NEWSLETTER), *contestant.options)
    seconds, cpu, written = rig.run_module(contestant.module, *arguments, interpreter=interpreter)
    name = f"{contestant.name} {written['version']}".strip()
    return Replacement(database, rows, name, seconds, cpu, written["cpu"].get("select"), written["peak"])


def _content(rig: MeasuredRig) -> tuple[int, int]:
    """Return how many rows the list has, and a number that differs if they do, whatever their order is."""
    count, total = 0, 0
    with rig.vendor.transaction() as database:
        known = layouts(database)
        for row_id, address, stored in database.execute(
            "SELECT id, address, attributes FROM recipient WHERE list_id = ?", [NEWSLETTER]
        ):
            count += 1
            total += hash((row_id, address, *sorted(unpacked(stored, known).items())))
    return count, total


def replacements(database: str, rows: int, contestants: Sequence[tuple[Contestant, str]]) -> Iterator[Replacement]:
    """Replace the list twice by us, and once by each contestant."""
    with installation(rows, database) as rig:
        yield _day(rig, database, rows, "ours, first day")
        yield _day(rig, database, rows, "ours, second day")
        ours = _content(rig)
        for contestant, interpreter in contestants:
            replacement = _contest(rig, database, rows, contestant, interpreter)
            assert _content(rig) == ours, f"{replacement.name} has left other rows in the list"
            yield replacement


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
        "bytes a row",
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
            "" if replacement.selecting is None else f"{replacement.selecting:.2f}",
            f"{replacement.cpu / replacement.rows * 1e6:.1f}",
            "" if replacement.selecting is None else f"{replacement.selecting / replacement.rows * 1e6:.1f}",
            f"{replacement.cpu / loop.cpu:.2f}",
            f"{replacement.selecting / loop.selecting:.2f}" if replacement.selecting and loop.selecting else "",
            f"{replacement.peak:.0f}",
            f"{replacement.peak / replacement.rows * 2**20:,.0f}",
            f"{replacement.run.incomplete / replacement.least:.2f}" if replacement.run else "",
        )
    return table


def lacks(contestants: Sequence[Contestant]) -> Table:
    """Return what each contestant doesn't do."""
    table = Table("who", "lacks")
    for contestant in contestants:
        table.add_row(contestant.name, contestant.lacks)
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
    row_counts, used = parse_sizes(__doc__, _SIZES, _DATABASES)
    console, measured = Console(width=170), list[Replacement]()
    contestants: list[tuple[Contestant, str]] = []
    for contestant in CONTESTANTS:
        interpreter = contestant.interpreter()
        if interpreter is None:
            console.print(f"{contestant.name} isn't measured: uv can't install it here")
        else:
            contestants.append((contestant, interpreter))
    folder = databases.prepare_server_folder()
    try:
        for database in used:
            for rows in row_counts:
                for replacement in replacements(database, rows, contestants):
                    measured.append(replacement)
                    console.print(f"{database}, {rows:,}, {replacement.name}: {replacement.cpu:.1f} CPU s")
    finally:
        databases.stop_server(folder)
        console.print(totals(measured), lacks([contestant for contestant, _ in contestants]), parts(measured))


if __name__ == "__main__":
    main()
