"""The conformance tests on the contract's tables, read where they are and from a copy."""

from pathlib import Path

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.contract_tables import ContractTables, CopiedTables


class TestContractTables(CrmConformance):
    @pytest.fixture
    def under_test(self, database_url: str) -> ContractTables:
        return ContractTables(database_url)


@pytest.mark.sample(1)
class TestCopiedTables(CrmConformance):
    @pytest.fixture
    def under_test(self, foreign_url: str, tmp_path: Path) -> CopiedTables:
        return CopiedTables(foreign_url, tmp_path)
