"""Memory as a place for the files of tests, which nothing has to survive: no write of a database waits for a disk."""

import os
import shutil
from pathlib import Path

_ROOT_VARIABLE = "PYTEST_DEBUG_TEMPROOT"
"""Where pytest makes `tmp_path`, unless `--basetemp` says otherwise; inherited by the workers."""

_ROOM_BYTES = 1_000_000_000
"""Many times what the tests hold at once: each one's files go when it has passed."""


def _roomy(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= _ROOM_BYTES


MEMORY = next((folder for folder in (Path("/dev/shm"),) if _roomy(folder)), None)
"""Where files needn't reach a disk, which a killed process can't tell; None where there is no such place."""


def use_for_temporary_folders() -> None:
    """Have `tmp_path` be made in memory, where there is room and nobody has chosen another place."""
    if MEMORY is not None:
        os.environ.setdefault(_ROOT_VARIABLE, str(MEMORY))
