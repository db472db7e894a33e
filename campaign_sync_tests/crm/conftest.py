import pytest

from campaign_sync_tests.crm.small_crm import SmallCrm


@pytest.fixture
def small(database_url: str) -> SmallCrm:
    return SmallCrm(database_url)


@pytest.fixture
def small_sqlite(sqlite_url: str) -> SmallCrm:
    return SmallCrm(sqlite_url)
