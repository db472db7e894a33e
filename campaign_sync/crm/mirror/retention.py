"""The end of copies that nothing uses any more, like those of an adapter that was configured before."""

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from campaign_sync.crm.mirror.loading import copy_errors
from campaign_sync.storage.private_files import folder_lock

FILE: Final = "people.sqlite"
"""The file of picks and people in the folder of copies."""

RECORDS_FILE: Final = "records.sqlite"
"""The file of records with consents and bounces, of a CRM that can say what changed since."""

KEPT_UNUSED: Final = timedelta(days=7)
"""How long a copy is kept that nothing uses. It is personal data, and made again when it is needed."""


def mark_used(file: Path) -> None:
    """Remember that a copy is used now, by the time of its last change: complete copies never change."""
    with suppress(OSError):  # another process has replaced it, or its owner is another user
        os.utime(file)


def remove_copies(folder: Path) -> None:
    """Remove the copies in a folder, so that the next view copies everything anew. Open views keep theirs.

    Raises:
        OSError: a file can't be removed.
    """
    for name in (FILE, RECORDS_FILE):
        (folder / name).unlink(missing_ok=True)


def remove_unused_copies(folder: Path, now: datetime) -> None:
    """Remove the copies in a folder, and unfinished ones, unless they were used within `KEPT_UNUSED`.

    Raises:
        CrmError: a file can't be removed.
    """
    if not any(_unused(folder, now)):
        return
    with copy_errors("removing an unused copy", (OSError,)), folder_lock(folder):
        for file in _unused(folder, now):
            file.unlink(missing_ok=True)


def _unused(folder: Path, now: datetime) -> list[Path]:
    names = (FILE, RECORDS_FILE)
    files = [file for name in names for file in (folder / name, *folder.glob(f".{name}.*.part"))]
    return [file for file in files if file.exists() and _age(file, now) > KEPT_UNUSED]


def _age(file: Path, now: datetime) -> timedelta:
    return timedelta(seconds=now.timestamp() - file.stat().st_mtime)
