"""Installations for whole days."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync_tests.rig import Rig, rig


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Rig]:
    """An installation on SQLite, before its first day."""
    with rig(tmp_path) as built:
        yield built
