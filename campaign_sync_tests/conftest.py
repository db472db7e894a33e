"""Fixtures that every room's tests can use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync_tests import databases

_server_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that starts the workers, not one of them
        config.stash[_server_folder] = databases.prepare_server_folder()


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_server_folder, None)
    if folder is not None:
        databases.stop_server(folder)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty database on a real PostgreSQL."""
    with databases.fresh_database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that doesn't exist yet."""
    return f"sqlite:///{tmp_path / 'database.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test once on each database that the product supports."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
