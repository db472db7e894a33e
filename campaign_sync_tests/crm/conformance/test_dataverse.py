"""The conformance tests on Dynamics 365."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.dataverse_tables import (
    DataverseTables,
    FieldTables,
    HistoryTables,
    PurposeTables,
)
from campaign_sync_tests.crm.dataverse.stand_in import Dataverse, serving


@pytest.mark.thorough
@pytest.mark.sample(1)
class TestDataverse(CrmConformance):
    @pytest.fixture(params=[FieldTables, PurposeTables, HistoryTables], ids=["columns", "purposes", "history"])
    def under_test(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DataverseTables]:
        dataverse = Dataverse()
        with serving(dataverse) as url:
            yield request.param(dataverse, url, tmp_path)
