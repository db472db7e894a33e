"""SQLite files that are opened for the first time by several processes at once."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from campaign_sync.crm.sql.schema import create_crm
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.state import State
from campaign_sync_tests.simultaneous import at_once


def _open_state(file: Path) -> None:
    State(f"sqlite:///{file}").close()


def _make_crm(file: Path) -> None:
    create_crm(f"sqlite:///{file}")


def _open_vendor_state(file: Path) -> None:
    VendorState(file).close()


@pytest.mark.parametrize("open_file", [_open_state, _make_crm, _open_vendor_state])
def test_a_new_file_that_another_process_is_making_is_waited_for(
    tmp_path: Path, open_file: Callable[[Path], None]
) -> None:
    file, opened = tmp_path / "new.db", threading.Event()
    failed: list[Exception] = []

    def open_it() -> None:
        try:
            open_file(file)
        except Exception as error:  # noqa: BLE001 - to be compared in the test's own thread
            failed.append(error)
        opened.set()

    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=open_it)
    thread.start()
    gave_up = opened.wait(0.5)
    other.execute("COMMIT")
    other.close()
    thread.join()

    assert not failed
    assert not gave_up


def test_of_six_processes_that_open_a_new_state_database_at_once_none_fails(sqlite_url: str) -> None:
    imports = "from campaign_sync.storage.state import State"
    assert at_once(6, imports, "State(sys.argv[1]).close()", sqlite_url) == []
