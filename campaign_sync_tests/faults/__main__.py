"""`python -m campaign_sync_tests.faults`: every point of every scenario on both databases, and a table of it."""

import sys
import time
from typing import get_args

from rich.console import Console
from rich.table import Table

from campaign_sync_tests import databases
from campaign_sync_tests.faults.installations import Database
from campaign_sync_tests.faults.process_pool import Nursery
from campaign_sync_tests.faults.survey import Survival, survey
from campaign_sync_tests.faults.vendor_states import DIFFERENTIAL, FIRST_DAY, RESUMED

SCENARIOS = (FIRST_DAY, DIFFERENTIAL, RESUMED)


def main() -> int:
    """Kill everything everywhere. Returns how many points weren't survived."""
    console, lost = Console(width=120), 0
    table = Table("scenario", "database", "points", "survived", "went on filling", "second rerun", "s")
    folder = databases.prepare_server_folder()
    try:
        with Nursery() as nursery:
            for scenario in SCENARIOS:
                for database in get_args(Database):
                    began = time.monotonic()
                    with survey(scenario, database, nursery) as surveyed:
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
        str(sum(not one.problems for one in survivals)),
        str(sum(one.resumed for one in survivals)),
        str(sum(one.reruns > 1 for one in survivals)),
    ]


if __name__ == "__main__":
    sys.exit(min(main(), 1))
