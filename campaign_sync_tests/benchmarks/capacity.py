"""What a machine needs for a list: `python -m campaign_sync_tests.benchmarks.capacity [ROWS …]`.

The day of a mandator with one list of 15 attributes, as `campaign-sync run` does it in a process, against the
sandbox in another one: the second day, when everybody is in the list already. The sandbox is no measure for the vendor:
its share is told, and yours will be another.
"""

import os
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Column, Table

from campaign_sync_tests.benchmarks.strategies import installation
from campaign_sync_tests.rig import ENVIRONMENT, NEWSLETTER, Rig


def _day(rig: Rig) -> tuple[float, float]:
    """Seconds, and the peak of memory in MiB, of one `campaign-sync run`."""
    assert rig.configuration
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"} | ENVIRONMENT
    command = [sys.executable, "-m", "campaign_sync", "run", "nord", "--list", "newsletter"]
    begun = time.monotonic()
    process = subprocess.Popen(command, cwd=rig.folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, "the day failed"
    return time.monotonic() - begun, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    columns = [Column(name, justify="right") for name in ("rows", "day, s", "peak, MiB", "incomplete, s", "state, MiB")]
    table = Table(*columns)
    for rows in [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]:
        with installation(rows) as rig:
            _day(rig)
            seconds, peak = _day(rig)
            with rig.state() as state:
                proven = state.journal.last_proven("nord", "newsletter")
            assert proven is not None
            assert proven.cleared_at
            assert proven.finished_at
            incomplete = (proven.finished_at - proven.cleared_at).total_seconds()
            size = (rig.folder / "state.db").stat().st_size / 2**20
            held = len(rig.world.recipients(NEWSLETTER))
        table.add_row(f"{held:,}", f"{seconds:.0f}", f"{peak:.0f}", f"{incomplete:.1f}", f"{size:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
