"""Temporary folders of tests in memory, where no write of a database waits for a disk."""

import os
import shutil
import tempfile
from pathlib import Path

_ROOT_VARIABLE = "PYTEST_DEBUG_TEMPROOT"
"""Folder in which pytest creates `tmp_path`, unless `--basetemp` is given; inherited by the workers."""

_NEEDED_BYTES = 1_000_000_000
"""Many times what the tests use at once: the files of a test are removed when it has passed."""


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= _NEEDED_BYTES


MEMORY = next((folder for folder in (Path("/dev/shm"),) if _has_room(folder)), None)
"""Folder in memory; None where there is none. A test that kills processes works the same in it."""


def use_for_temporary_folders() -> None:
    """Have `tmp_path` and `tempfile` create in memory, where there is room and no other folder is set."""
    if MEMORY is not None:
        os.environ.setdefault(_ROOT_VARIABLE, str(MEMORY))
        os.environ.setdefault("TMPDIR", str(MEMORY))
        tempfile.tempdir = None  # it was chosen before
