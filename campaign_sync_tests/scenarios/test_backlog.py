"""A month of feedback in four layouts is imported completely: at once, twice, or after a kill."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync_tests.installation import LONG_AGO, Installation, running_installation
from campaign_sync_tests.scenarios.backlog import Backlog, crm_rows

UNSUBSCRIBES, BOUNCES = 1250, 400

IN_SMALL_CHUNKS = """
from campaign_sync.crm.sql import chunks
from campaign_sync.cli import main
chunks.CHUNK = 25
main()
"""


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(UNSUBSCRIBES, BOUNCES)


def filled_installation(folder: Path, backlog: Backlog) -> Iterator[Installation]:
    folder.mkdir()
    with running_installation(folder) as built:
        backlog.fill(built)
        backlog.publish(built.vendor.publish)
        yield built


@pytest.fixture
def installation(tmp_path: Path, backlog: Backlog) -> Iterator[Installation]:
    yield from filled_installation(tmp_path / "one", backlog)


@pytest.fixture
def second_installation(tmp_path: Path, backlog: Backlog) -> Iterator[Installation]:
    yield from filled_installation(tmp_path / "other", backlog)


def kill_half_way(installation: Installation) -> int:
    """Run the day in another process, kill it while it writes to the CRM, and return how many withdrawals it wrote."""
    assert installation.configuration
    environment = {
        **os.environ,
        **installation.environment,
        "CAMPAIGN_SYNC_CONFIG": str(installation.folder / "campaign_sync.yaml"),
    }
    command = [sys.executable, "-c", IN_SMALL_CHUNKS, "run", "nord"]
    with subprocess.Popen(command, cwd=installation.folder, env=environment, stdout=subprocess.DEVNULL) as process:
        while (written := withdrawn(installation)) == 0 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    return written


def withdrawn(installation: Installation) -> int:
    with installation.crm() as crm:
        count = crm.exec_driver_sql("SELECT count(*) FROM consent_event WHERE kind = 'withdrawn'").scalar()
    return int(count or 0)


def write_backs(installation: Installation) -> set[tuple[object, ...]]:
    with installation.state() as state:
        records = state.write_backs.unsubscribes("nord", LONG_AGO)
    return {(record.entity, record.opt_in_id, record.event_id) for record in records}


def test_a_backlog_is_imported_the_same_at_once_twice_and_after_a_kill(
    installation: Installation, second_installation: Installation, backlog: Backlog
) -> None:
    installation.first_day()
    assert installation.addresses() == backlog.remaining
    with installation.state() as state:
        unmatched = state.feedback_imports.unmatched("nord")
    addresses = {feedback.address for _, kind in unmatched.by_kind() for feedback in kind}
    assert addresses == backlog.unmatched_addresses
    once = crm_rows(installation)

    installation.day()
    assert crm_rows(installation) == once
    assert installation.addresses() == backlog.remaining

    kill_half_way(second_installation)
    half = withdrawn(second_installation)
    assert 0 < half < withdrawn(installation)
    second_installation.day()
    assert crm_rows(second_installation) == once
    assert second_installation.addresses() == backlog.remaining
    assert write_backs(second_installation) == write_backs(installation), (
        "withdrawals written before the kill are recorded as well"
    )
