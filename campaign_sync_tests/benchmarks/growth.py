"""The growth of a day: `python -m campaign_sync_tests.benchmarks.growth [lists] [history] [ROWS …]`.

lists: one run of `campaign-sync run` that replaces 1, 10, 50 and 200 lists of `ROWS` people, who are in them already,
and the afternoon's loop, which does one list after the other in one process. All lists have the same people.

history: the day of five lists of `ROWS` people after 1, 30 and 90 earlier days. These are real runs with feedback of
every day; in between, all that is stored of them is dated back by a day.

State and CRM are SQLite. Each measured day is a process of its own, so its start and all imports are in it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import func, update

from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
from campaign_sync.cli.next_steps import NextSteps
from campaign_sync.cli.run import run_daily_replacement
from campaign_sync.storage.tables import UtcDateTime, feedback_import, rejection, replace, replace_step, snapshot
from campaign_sync_tests.benchmarks.arguments import parse_sizes
from campaign_sync_tests.benchmarks.generated_data import LIST_ATTRIBUTES, MeasuredRig, address_of, installation
from campaign_sync_tests.benchmarks.measured_run import PARTS, REST, Measured
from campaign_sync_tests.installation import NEWSLETTER, NORD, epoch_ms

LISTS = (1, 10, 50, 200)
DAYS = (1, 30, 90)
LISTS_WITH_HISTORY = 5
ROWS = 1_000

_DAY_MILLISECONDS = 86_400_000
_FIRST_ID = NEWSLETTER + 1_000


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    wall: float
    cpu: float
    peak: float
    """MiB."""
    parts: Mapping[str, float]
    """CPU seconds by part."""


@contextmanager
def many_lists(rows: int, lists: int) -> Iterator[MeasuredRig]:
    """Set up one mandator with this many lists of the same people."""
    with installation(rows) as rig:
        settings = rig.list_settings()
        rig.settings["mandators"]["nord"]["lists"] = {
            f"list{number:03}": settings | {"recipient_list_id": _FIRST_ID + number} for number in range(lists)
        }
        for number in range(lists):
            rig.vendor.add_list(NORD, _FIRST_ID + number, f"List {number}", LIST_ATTRIBUTES)
        yield rig


def day(rig: MeasuredRig) -> Cost:
    """Replace all lists, as the command does."""
    wall, cpu, written = rig.run_module("measured_run", "nord")
    run = Measured(**written)
    return Cost(wall, cpu, run.peak / 2**20, run.cpu)


def loop(rig: MeasuredRig, lists: int) -> Cost:
    """Replace all lists by the afternoon's loop."""
    ids = (str(_FIRST_ID + number) for number in range(lists))
    base_url = rig.settings["optimizely"]["base_url"]
    wall, cpu, written = rig.run_module("afternoon", rig.crm_argument, base_url, *ids, "--read-back")
    return Cost(wall, cpu, written["peak"], written["cpu"])


def with_lists(console: Console, rows: int) -> None:
    """Print the growth with lists."""
    titles = ("wall, s", "CPU, s", "s a list", "s a further list", "peak, MiB", "the loop: CPU, s", "s a list", "× it")
    table = Table(Column("lists", justify="right"), *(Column(title, justify="right") for title in titles))
    table.title = f"Lists of {rows:,} people in one run, SQLite"
    before: tuple[int, float] | None = None
    days: list[tuple[str, Cost]] = []
    for lists in LISTS:
        with many_lists(rows, lists) as rig:
            day(rig)  # the lists are empty before
            ours, theirs = day(rig), loop(rig, lists)
        further = f"{(ours.cpu - before[1]) / (lists - before[0]):.3f}" if before else ""
        before = lists, ours.cpu
        numbers = (f"{ours.wall:.1f}", f"{ours.cpu:.1f}", f"{ours.cpu / lists:.3f}", further, f"{ours.peak:.0f}")
        table.add_row(
            f"{lists}", *numbers, f"{theirs.cpu:.1f}", f"{theirs.cpu / lists:.3f}", f"{ours.cpu / theirs.cpu:.1f}"
        )
        console.print(f"{lists} lists: {ours.cpu:.1f} CPU s, the loop {theirs.cpu:.1f}")
        days.append((f"{lists} lists", ours))
    console.print(table, _parts(days))


def with_history(console: Console, rows: int) -> None:
    """Print the growth with earlier days."""
    days: list[tuple[str, Cost]] = []
    with many_lists(rows, LISTS_WITH_HISTORY) as rig:
        use_instance(rig.folder / EMBEDDED_HOME)
        for number in range(max(DAYS) + 1):
            if number:
                _let_a_day_pass(rig)
            _publish_feedback(rig, number)
            if number in DAYS:
                days.append((f"{number} days before it", day(rig)))
                console.print(f"after {number} days: {days[-1][1].cpu:.2f} CPU s")
            else:
                with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                    run = run_daily_replacement(rig.configuration, "nord", None, Console(file=nowhere), NextSteps(""))
                assert run.proven, "a list wasn't proven"
    table = _parts(days)
    table.title = f"{LISTS_WITH_HISTORY} lists of {rows:,} people, SQLite"
    console.print(table)


def _publish_feedback(rig: MeasuredRig, number: int) -> None:
    """Let one person bounce and one unsubscribe, and twenty strangers bounce."""
    now = datetime.now(UTC)
    bounced = [address_of(number * 10), *(f"stranger.{number}.{stranger}@example.net" for stranger in range(20))]
    rig.vendor.publish(NORD, "getOutBounces", [[address, epoch_ms(now)] for address in bounced], now)
    rig.leave(address_of(number * 10 + 4), now)


def _let_a_day_pass(rig: MeasuredRig) -> None:
    """Date back by a day what is stored of earlier days, and the vendor's feedback."""
    with rig.state_database() as connection:
        for table in (feedback_import, rejection, replace, replace_step, snapshot):
            times = [column for column in table.columns if isinstance(column.type, UtcDateTime)]
            earlier = {time.name: func.strftime("%Y-%m-%d %H:%M:%f000", time, "-1 day") for time in times}
            connection.execute(update(table).values(earlier))
    with rig.vendor.transaction() as database:
        database.execute("UPDATE export_row SET published_at = published_at - ?", [_DAY_MILLISECONDS])


def _parts(days: list[tuple[str, Cost]]) -> Table:
    """Return CPU seconds by part, and the whole."""
    table = Table("CPU seconds in", *(Column(name, justify="right") for name, _ in days))
    for part in (*PARTS, REST):
        table.add_row(part, *(f"{cost.parts[part]:.2f}" for _, cost in days))
    table.add_section()
    table.add_row("all", *(f"{cost.cpu:.2f}" for _, cost in days))
    table.add_row("peak, MiB", *(f"{cost.peak:.0f}" for _, cost in days))
    return table


def main() -> None:
    """Measure and print."""
    sizes, kinds = parse_sizes(__doc__, (ROWS,), ("lists", "history"))
    console = Console(width=150)
    for rows in sizes:
        if "lists" in kinds:
            with_lists(console, rows)
        if "history" in kinds:
            with_history(console, rows)


if __name__ == "__main__":
    main()
