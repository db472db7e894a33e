"""The conformance tests on a schema of the CRM's own, in every kind of database."""

from pathlib import Path

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.mapped_sql import MappedSql


@pytest.mark.sample(1)
class TestMappedSql(CrmConformance):
    @pytest.fixture
    def under_test(self, foreign_url: str, tmp_path: Path) -> MappedSql:
        return MappedSql(foreign_url, tmp_path)
