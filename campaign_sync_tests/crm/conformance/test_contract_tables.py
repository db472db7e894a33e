"""The conformance tests on the contract's tables, read where they are."""

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.contract_tables import ContractTables


class TestContractTables(CrmConformance):
    @pytest.fixture
    def under_test(self, database_url: str) -> ContractTables:
        return ContractTables(database_url)
