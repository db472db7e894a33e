"""Groups of lists as runs of their own: `python -m campaign_sync_tests.benchmarks.groups [LISTS] [ROWS] [SECONDS]`.

One mandator's day against the sandbox, which takes `SECONDS` more for each call, as a vendor far away does: as one run,
then as a run of the feedback and three runs of groups beside each other (`parallel_runs: 3`). Each run is a process of
its own that loads the definitions, as a run worker does. The wall time doesn't contain the queue and the tick of the
sensor that starts groups, which is up to a minute. All people are in the lists before.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.table import Column, Table

from campaign_sync.cli.dagster_instance import use_instance
from campaign_sync.config import load_configuration
from campaign_sync.domain.groups import divide_lists
from campaign_sync.orchestration.asset_keys import feedback_keys, list_keys, replacement_keys
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync_tests.benchmarks.arguments import parse_numbers
from campaign_sync_tests.benchmarks.dagster import many_lists
from campaign_sync_tests.benchmarks.separate_process import Measured, apart, cpu_seconds
from campaign_sync_tests.installation import Installation

GROUPS = 3

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Day:
    """The measurements of a day."""

    runs: int
    wall: float
    cpu: float
    """Seconds of all runs, with the start of their processes."""
    calls: int
    """To the vendor."""
    peaks: Sequence[float]
    """The peak memory of each run's process, in MiB."""


def _run(path: Path, environment: Mapping[str, str], keys: Sequence[dg.AssetKey]) -> Callable[[], float]:
    def run() -> float:
        os.environ.update(environment)
        definitions = build_definitions(load_configuration(path), datetime.now(UTC))
        job = definitions.resolve_job_def(daily_job_name("nord"))
        with dg.DagsterInstance.get() as instance:
            result = job.execute_in_process(
                run_config=_QUIET, instance=instance, asset_selection=list(keys), raise_on_error=False
            )
        assert result.success, "a list wasn't proven"
        return cpu_seconds()

    return run


def _day(rig: Installation, *stages: Sequence[Sequence[dg.AssetKey]]) -> Day:
    """Run the runs of each stage beside each other, one stage after the other."""
    assert rig.configuration  # writes the file
    path, before, begun = rig.folder / "campaign_sync.yaml", len(rig.vendor.calls()), time.monotonic()
    measured: list[Measured] = []
    for stage in stages:
        with ThreadPoolExecutor(len(stage)) as threads:
            measured += threads.map(lambda keys: apart(_run, path, rig.environment, keys), stage)
    wall, calls = time.monotonic() - begun, len(rig.vendor.calls()) - before
    return Day(len(measured), wall, sum(run.result for run in measured), calls, [run.peak for run in measured])


def main() -> None:
    """Measure and print."""
    lists, rows, seconds = parse_numbers(__doc__, lists=12, rows=2_000, seconds=0.2)
    use_instance(Path(tempfile.mkdtemp(prefix="campaign-sync-groups-")))
    with many_lists(lists, rows) as rig:
        names = list(rig.settings["mandators"]["nord"]["lists"])
        whole = [replacement_keys("nord", names)]
        _day(rig, whole)  # the lists are empty before
        rig.vendor.fault("*", "delay", times=1_000_000, arg=seconds)
        divided = divide_lists(names, dict.fromkeys(names, rows), range(1, GROUPS + 1))
        groups = [[key for name in group for key in list_keys("nord", name)] for group in divided.values()]
        undivided, in_groups = _day(rig, whole), _day(rig, [feedback_keys("nord")], groups)
    heads = ("runs", "wall, s", "CPU, s", "calls", "biggest run, MiB", "lists at once, MiB")
    table = Table(Column("the day", no_wrap=True), *(Column(head, justify="right") for head in heads))
    for name, day, beside in (("one run", undivided, 1), (f"{GROUPS} groups", in_groups, GROUPS)):
        memory = (max(day.peaks), sum(day.peaks[-beside:]))
        cells = (f"{day.wall:.1f}", f"{day.cpu:.1f}", f"{day.calls:,}", *(f"{peak:,.0f}" for peak in memory))
        table.add_row(name, f"{day.runs}", *cells)
    table.title = f"{lists} lists of {rows:,} recipients, {seconds} s more for each call"
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
