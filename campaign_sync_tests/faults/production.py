"""`python -m campaign_sync_tests.faults.production`: every process of the production stack killed during a fill.

On PostgreSQL, with Dagster's webserver and daemon. Each is restarted at once, as by a service manager, and the list
has to become complete again without an operator. Prints how long that took.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from campaign_sync.storage.tables import lease
from campaign_sync_tests import databases
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation, production_installation
from campaign_sync_tests.stack import kill_worker
from campaign_sync_tests.waiting import PATIENCE


def _kill_run(production: ProductionInstallation) -> None:
    with production.installation.state_database() as connection:
        owner = connection.execute(select(lease.c.owner).where(lease.c.vendor_id == NEWSLETTER)).scalar_one()
    kill_worker(owner)


def _restarter(name: str) -> Callable[[ProductionInstallation], None]:
    def restart(production: ProductionInstallation) -> None:
        production.stack.kill(name, alone=True)
        production.stack.start(name)

    return restart


def _restart_machine(production: ProductionInstallation) -> None:
    production.stack.stop()
    production.stack.start("webserver")
    production.stack.start("daemon")


CRASHES: dict[str, Callable[[ProductionInstallation], None]] = {
    "the run's process": _kill_run,
    "the webserver": _restarter("webserver"),
    "the daemon": _restarter("daemon"),
    "the machine": _restart_machine,
}


def measure_recovery(
    production: ProductionInstallation, crash: Callable[[ProductionInstallation], None]
) -> tuple[float, int]:
    """Crash during a fill, and return the seconds until the list is proven again and the number of runs."""
    before = set(production.stack.runs())
    production.installation.vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)
    run_id = production.stack.launch("nord_daily_replace")
    production.stack.until(lambda: production.filling(run_id))
    begun = time.monotonic()
    crash(production)
    production.installation.vendor.repair()
    production.stack.until(lambda: _proven(production, run_id))
    seconds = time.monotonic() - begun
    runs = [run for run_id, run in production.stack.runs().items() if run_id not in before]
    return seconds, len([run for run in runs if run["jobName"].startswith("nord_d")])


def _proven(production: ProductionInstallation, run_id: str) -> bool:
    with production.installation.state() as state:
        killed = state.replacements.of_run(run_id, "newsletter")
        proven = state.replacements.last_proven("nord", "newsletter")
    is_proven = killed is not None and proven is not None and proven.started_at >= killed.started_at
    return is_proven and production.installation.addresses(NEWSLETTER) == ADDRESSES


def main() -> None:
    """Kill each process, wait for the list and print the times."""
    table = Table("killed during a fill", "complete again after, s", "runs")
    folder = databases.prepare_server_folder()
    try:
        with production_installation(Path(tempfile.mkdtemp(prefix="campaign-sync-crashes-"))) as built:
            for name, crash in CRASHES.items():
                seconds, runs = measure_recovery(built, crash)
                table.add_row(name, f"{seconds:.0f}", str(runs))
    finally:
        databases.stop_server(folder)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
