"""`python -m campaign_sync_tests.faults`: kills at every point of every scenario on both databases, as a table."""

import sys
import time
from typing import get_args

from rich.console import Console
from rich.table import Table

from campaign_sync_tests import databases
from campaign_sync_tests.faults.installations import Database
from campaign_sync_tests.faults.process_pool import ProcessPool
from campaign_sync_tests.faults.survey import Survival, survey
from campaign_sync_tests.faults.vendor_states import DIFFERENTIAL, FIRST_DAY, RESUMED

SCENARIOS = (FIRST_DAY, DIFFERENTIAL, RESUMED)


def main() -> int:
    """Kill a replacement at every point, and return how many points weren't survived."""
    console, lost = Console(width=120), 0
    table = Table("scenario", "database", "points", "survived", "resumed", "second rerun", "s")
    folder = databases.prepare_server_folder()
    try:
        with ProcessPool() as process_pool:
            for scenario in SCENARIOS:
                for database in get_args(Database):
                    began = time.monotonic()
                    with survey(scenario, database, process_pool) as surveyed:
                        survivals = list(surveyed.kill_at(surveyed.points))
                    for survival in survivals:
                        if survival.problems:
                            console.print(f"{scenario.name} on {database}, {survival}")
                    lost += sum(bool(survival.problems) for survival in survivals)
                    table.add_row(scenario.name, database, *_counts(survivals), f"{time.monotonic() - began:.0f}")
                    console.log(f"{scenario.name} on {database}: {len(survivals)} points")
    finally:
        databases.stop_server(folder)
    console.print(table)
    return lost


def _counts(survivals: list[Survival]) -> list[str]:
    return [
        str(len(survivals)),
        str(sum(not survival.problems for survival in survivals)),
        str(sum(survival.resumed for survival in survivals)),
        str(sum(survival.reruns > 1 for survival in survivals)),
    ]


if __name__ == "__main__":
    sys.exit(min(main(), 1))
