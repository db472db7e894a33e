"""`python -m campaign_sync_tests.faults.production`: every process of the production stack killed during a fill.

On PostgreSQL, with Dagster's webserver and daemon. Each is started again at once, as a service manager would, and the
list has to be whole again without anybody doing anything. Prints how long that took.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, select

from campaign_sync.storage.tables import lease
from campaign_sync_tests import databases
from campaign_sync_tests.installation import NEWSLETTER
from campaign_sync_tests.scenarios.production_installation import Plant, plant
from campaign_sync_tests.stack import kill_worker
from campaign_sync_tests.waiting import PATIENCE

EVERYBODY = [f"person{number}@example.org" for number in range(1, 6)]


def _worker(plant: Plant) -> None:
    engine = create_engine(plant.installation.configuration.storage.state_url.get_secret_value())
    with engine.connect() as connection:
        owner = connection.execute(select(lease.c.owner).where(lease.c.vendor_id == NEWSLETTER)).scalar_one()
    engine.dispose()
    kill_worker(owner)


def _alone(name: str) -> Callable[[Plant], None]:
    def kill(plant: Plant) -> None:
        plant.stack.kill(name, alone=True)
        plant.stack.start(name)

    return kill


def _machine(plant: Plant) -> None:
    plant.stack.stop()
    plant.stack.start("webserver")
    plant.stack.start("daemon")


DEATHS: dict[str, Callable[[Plant], None]] = {
    "the run's process": _worker,
    "the webserver": _alone("webserver"),
    "the daemon": _alone("daemon"),
    "the machine": _machine,
}


def survive(plant: Plant, death: Callable[[Plant], None]) -> tuple[float, int]:
    """Kill during a fill. Returns the seconds until the list is proven again, and how many runs there were of it."""
    before = set(plant.stack.runs())
    plant.installation.vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)
    run_id = plant.stack.launch("nord_daily_replace")
    plant.stack.until(lambda: plant.filling(run_id))
    begun = time.monotonic()
    death(plant)
    plant.installation.vendor.repair()
    plant.stack.until(lambda: _proven(plant, run_id))
    seconds = time.monotonic() - begun
    runs = [one for key, one in plant.stack.runs().items() if key not in before and one["jobName"].startswith("nord_d")]
    return seconds, len(runs)


def _proven(plant: Plant, run_id: str) -> bool:
    with plant.installation.state() as state:
        broken = state.replacements.of_run(run_id, "newsletter")
        proven = state.replacements.last_proven("nord", "newsletter")
    since = broken is not None and proven is not None and proven.started_at >= broken.started_at
    return since and plant.installation.addresses(NEWSLETTER) == EVERYBODY


def main() -> None:
    """Kill, wait and tell. A list that isn't whole again within five minutes ends it with an error."""
    table = Table("killed during a fill", "whole again after, s", "runs")
    folder = databases.prepare_server_folder()
    try:
        with plant(Path(tempfile.mkdtemp(prefix="campaign-sync-deaths-"))) as built:
            for name, death in DEATHS.items():
                seconds, runs = survive(built, death)
                table.add_row(name, f"{seconds:.0f}", str(runs))
    finally:
        databases.stop_server(folder)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
