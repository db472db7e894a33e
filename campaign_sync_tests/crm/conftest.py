from pathlib import Path

import pytest

from campaign_sync_tests.crm.mirror.copied_crm import CopiedSmallCrm, MariaSmallCrm
from campaign_sync_tests.crm.small_crm import SmallCrm


@pytest.fixture(params=["sqlite", "postgresql", "copy", pytest.param("mariadb", marks=pytest.mark.long)])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> SmallCrm:
    """Run the test once on each database that is read directly, on a copy, and with `--long` on a copy of MariaDB."""
    if request.param == "copy":
        return CopiedSmallCrm(request.getfixturevalue("sqlite_url"), tmp_path / "copies")
    if request.param == "mariadb":
        return MariaSmallCrm(request.getfixturevalue("mariadb_url"), tmp_path / "copies")
    return SmallCrm(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def small_direct(database_url: str) -> SmallCrm:
    """Run the test once on each database that is read directly: it is about the database."""
    return SmallCrm(database_url)


@pytest.fixture
def small_sqlite(sqlite_url: str) -> SmallCrm:
    return SmallCrm(sqlite_url)
