"""The conformance tests on the contract's tables, read as those of a CRM that has to be copied."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from campaign_sync.crm.port import Crm
from campaign_sync.crm.testing import NEEDS, CrmConformance
from campaign_sync_tests.crm.conformance.contract_tables import ContractTables
from campaign_sync_tests.crm.lossy_driver import losing
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.memories import ListMemory
from campaign_sync_tests.crm.mirror.sources import ContractSource


class CopiedTables(ContractTables):
    """The tables in an empty SQLite file, read from a copy."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url)
        self._folder, self._memory = folder, ListMemory()

    def open(self) -> Crm:
        return copied(ContractSource(self.url), self._folder, NEEDS.picks, memory=self._memory)

    def losing_rows(self) -> AbstractContextManager[object]:
        return losing("FROM contact")


class TestCopiedTables(CrmConformance):
    @pytest.fixture
    def under_test(self, sqlite_url: str, tmp_path: Path) -> CopiedTables:
        return CopiedTables(sqlite_url, tmp_path / "copies")
