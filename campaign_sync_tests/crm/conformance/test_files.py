"""The conformance tests on deliveries of files."""

from pathlib import Path

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.delivered_tables import DeliveredTables


@pytest.mark.sample(1)
class TestFiles(CrmConformance):
    @pytest.fixture(params=["csv", "parquet"])
    def under_test(self, request: pytest.FixtureRequest, tmp_path: Path) -> DeliveredTables:
        return DeliveredTables(tmp_path, request.param)
