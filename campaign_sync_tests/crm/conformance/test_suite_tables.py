"""The conformance tests on SuiteCRM's schema, read by the preset."""

from pathlib import Path

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.suite_tables import SuiteTables


class TestSuiteTables(CrmConformance):
    @pytest.fixture
    def under_test(self, mariadb_url: str, tmp_path: Path) -> SuiteTables:
        return SuiteTables(mariadb_url, tmp_path)
