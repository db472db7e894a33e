"""A month of feedback in four layouts comes in whole: at once, twice, or killed half-way."""

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
def twin(tmp_path: Path, backlog: Backlog) -> Iterator[Installation]:
    yield from filled_installation(tmp_path / "other", backlog)


def kill_half_way(installation: Installation) -> int:
    """Start the day as a process of its own, and kill it while it writes to the CRM. How many withdrawals it wrote."""
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
        found = crm.exec_driver_sql("SELECT count(*) FROM consent_event WHERE kind = 'withdrawn'").scalar()
    return int(found or 0)


def test_a_backlog_comes_in_the_same_at_once_twice_and_killed_in_the_middle(
    installation: Installation, twin: Installation, backlog: Backlog
) -> None:
    installation.day()
    assert installation.addresses() == backlog.staying
    with installation.state() as state:
        unmatched = state.feedback_imports.unmatched("nord")
    assert {one.address for _, kind in unmatched.by_kind() for one in kind} == backlog.strangers
    once = crm_rows(installation)

    installation.day()
    assert crm_rows(installation) == once
    assert installation.addresses() == backlog.staying

    kill_half_way(twin)
    half = withdrawn(twin)
    assert 0 < half < withdrawn(installation)
    twin.day()
    assert crm_rows(twin) == once
    assert twin.addresses() == backlog.staying
    with installation.state() as one, twin.state() as other:
        noted = [
            {(each.entity, each.opt_in_id, each.event_id) for each in state.write_backs.unsubscribes("nord", LONG_AGO)}
            for state in (one, other)
        ]
    assert noted[0] == noted[1], "every withdrawal has its record, also those written before the kill"
