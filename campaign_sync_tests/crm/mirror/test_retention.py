"""Copies of people that nothing uses are removed."""

import os
from datetime import UTC, datetime
from pathlib import Path

from campaign_sync.crm.mirror.retention import FILE, KEPT_UNUSED, RECORDS_FILE, remove_unused_copies
from campaign_sync.crm.port import Pick
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.sources import ListSource

FANS = Pick("marketing_list", "Fans")


def aged(file: Path) -> Path:
    """Create a file, or let it be, that was last used before the time for which copies are kept."""
    file.touch()
    long_ago = (datetime.now(UTC) - KEPT_UNUSED).timestamp() - 60
    os.utime(file, (long_ago, long_ago))
    return file


def test_a_copy_that_is_used_stays_however_old_it_is(tmp_path: Path) -> None:
    crm = copied(ListSource(members={FANS: []}, events=[], delivery="monday"), tmp_path, frozenset({FANS}))
    with crm.snapshot():
        pass
    inode = aged(tmp_path / FILE).stat().st_ino
    with crm.snapshot():
        pass
    remove_unused_copies(tmp_path, datetime.now(UTC))
    assert (tmp_path / FILE).stat().st_ino == inode


def test_an_unused_copy_is_removed_and_made_again(tmp_path: Path) -> None:
    crm = copied(ListSource(members={FANS: []}, events=[], delivery="monday"), tmp_path, frozenset({FANS}))
    with crm.snapshot() as snapshot:
        unfinished, young = aged(tmp_path / f".{FILE}.dead.part"), tmp_path / f".{FILE}.new.part"
        young.touch()
        records = aged(tmp_path / RECORDS_FILE)
        aged(tmp_path / FILE)
        remove_unused_copies(tmp_path, datetime.now(UTC))
        assert not (tmp_path / FILE).exists()
        assert not unfinished.exists()
        assert not records.exists()
        assert young.exists()
        assert list(snapshot.members(FANS)) == [], "who reads it meanwhile goes on"
    with crm.snapshot():
        assert (tmp_path / FILE).exists()


def test_without_copies_no_folder_is_created(tmp_path: Path) -> None:
    remove_unused_copies(tmp_path / "none", datetime.now(UTC))
    assert not (tmp_path / "none").exists()
