"""Installations for tests of whole days."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync_tests.installation import Installation, running_installation


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    """Yield an installation on SQLite, before its first day."""
    with running_installation(tmp_path, two_lists=two_lists) as built:
        yield built


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Yield an instance that keeps what several runs of a test materialize."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def without_retries(installation: Installation) -> None:
    """Let a run fail at its first error."""
    installation.retry_policy = NO_RETRIES
