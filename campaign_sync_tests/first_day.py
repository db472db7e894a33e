"""The first day of an installation on SQLite: run once an hour by a test session, then copied into others like it."""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from campaign_sync_tests import tmpfs

FOLDER_VARIABLE = "CAMPAIGN_SYNC_TEST_FIRST_DAYS"
"""Folder of the session's first days; set by the pytest process that removes it, inherited by the workers."""

_DATABASES = ("crm.db", "vendor.db", "state.db")


def prepare_folder() -> Path:
    """Create the folder of this session's first days."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-sync-days-", dir=tmpfs.MEMORY))
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def kept(installation: Path, settings: dict[str, Any], base_url: str, *more: object) -> Path | None:
    """Return where the day of an installation that never ran is kept, or will be; None if it can't be copied.

    Args:
        installation: its folder.
        settings: its configuration, in which the folder and the address of the vendor may differ.
        base_url: the vendor's address.
        more: whatever else decides how the day goes.
    """
    written = (
        json.dumps([settings, f"{datetime.now(UTC):%F %H}", *more], default=str)
        .replace(str(installation), "")
        .replace(base_url, "")
    )
    if FOLDER_VARIABLE not in os.environ or "postgresql" in written or (installation / "state.db").exists():
        return None
    likeness = hashlib.sha256(written.encode())
    for name in ("crm.db", "vendor.db"):
        with closing(sqlite3.connect(installation / name)) as database:
            likeness.update("\n".join(database.iterdump()).encode())
    return Path(os.environ[FOLDER_VARIABLE]) / likeness.hexdigest()


def keep(installation: Path, day: Path) -> None:
    """Keep the databases and files of an installation, unless another process has just done so."""
    unfinished = Path(tempfile.mkdtemp(dir=day.parent))
    _copy(installation, unfinished)
    try:
        unfinished.rename(day)
    except OSError:
        shutil.rmtree(unfinished)


def restore(day: Path, installation: Path) -> None:
    """Put the databases and files that were kept into an installation."""
    _copy(day, installation)


def _copy(source: Path, target: Path) -> None:
    for name in _DATABASES:
        with closing(sqlite3.connect(source / name)) as read, closing(sqlite3.connect(target / name)) as written:
            read.backup(written)
        (target / name).chmod(0o600)
    shutil.copytree(source / "frames", target / "frames", dirs_exist_ok=True)
