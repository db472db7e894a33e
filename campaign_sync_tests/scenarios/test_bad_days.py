"""Runs on a full disk, or with missing, unwritable or damaged files: what they report and what they leave."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from campaign_sync.cli.run import problems
from campaign_sync.storage.database import open_database
from campaign_sync.storage.errors import StateError
from campaign_sync_tests import terminal
from campaign_sync_tests.installation import ADDRESSES, ENVIRONMENT, NEWSLETTER, Installation


def environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER", "CAMPAIGN"))}
    return inherited | ENVIRONMENT | {"COLUMNS": "200"}


def run(installation: Installation) -> "subprocess.CompletedProcess[str]":
    return terminal.run(("run", "nord"), installation.folder, environment())


def run_on_a_full_disk(installation: Installation, largest_file: int) -> "subprocess.CompletedProcess[str]":
    """Run `campaign-sync run nord` in a process whose files can't grow beyond `largest_file` bytes."""

    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [sys.executable, "-m", "campaign_sync", "run", "nord"],
        cwd=installation.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_file_size,
    )


@pytest.mark.parametrize("largest_file", [pytest.param(20_000, marks=pytest.mark.long), 150_000])
def test_a_full_disk_is_reported_in_one_sentence_with_its_remedy_and_the_list_stays_complete(
    installation: Installation, largest_file: int
) -> None:
    assert installation.configuration
    first = run(installation)
    assert first.returncode == 0, first.stdout + first.stderr

    full = run_on_a_full_disk(installation, largest_file)

    assert full.returncode in (1, 2)
    assert "the disk is full or fails; free space on it" in full.stderr + full.stdout
    assert "Traceback" not in full.stderr + full.stdout
    assert "Background on this error" not in full.stderr + full.stdout
    assert installation.addresses(NEWSLETTER) == ADDRESSES
    again = run(installation)
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_file_that_cannot_be_written_fails_its_asset_with_one_sentence(installation: Installation) -> None:
    installation.first_day()
    shutil.rmtree(installation.folder / "frames" / "assets")
    (installation.folder / "frames" / "assets").write_text("a file where a folder should be")

    message = " ".join(problems(installation.run("nord")))

    assert "can't be written: Not a directory; free space on its disk, and check storage.frames" in message
    assert installation.addresses(NEWSLETTER) == ADDRESSES


def test_a_snapshot_without_its_selection_says_what_to_materialize(installation: Installation) -> None:
    installation.first_day()
    shutil.rmtree(installation.folder / "frames")

    message = " ".join(problems(installation.run("nord", assets=[("nord", "newsletter_snapshot")])))

    assert (
        "newsletter_selection.parquet can't be read: No such file or directory; materialize the upstream asset as well"
        in message
    )
    assert installation.addresses(NEWSLETTER) == ADDRESSES


def _damage(file: Path) -> None:
    file.write_bytes(b"no database " * 1000)


def _replace_by_folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damage, r"can't be opened: file is not a database: .*restore it from a backup"),
        (_replace_by_folder, r"can't be opened: unable to open database file: .*owner and permissions"),
    ],
)
def test_a_state_database_that_cannot_be_opened_says_why_and_what_to_do(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(tmp_path / "state.db")

    with pytest.raises(StateError, match=message):
        open_database(f"sqlite:///{tmp_path / 'state.db'}")


def test_a_state_database_on_a_full_disk_says_so(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        with pytest.raises(StateError, match=r"SQLITE_FULL.*the disk is full; free space on it, then try again"):
            connection.exec_driver_sql("CREATE TABLE more AS SELECT zeroblob(1000000)")
    engine.dispose()
    assert sqlite3.connect(tmp_path / "state.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
