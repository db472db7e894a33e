"""All tests of the contract as one class."""

import pytest

from campaign_sync.crm.testing.consent_tests import ConsentTests, EventTests, StateTests
from campaign_sync.crm.testing.error_tests import ErrorTests
from campaign_sync.crm.testing.filter_tests import FilterTests
from campaign_sync.crm.testing.snapshot_tests import SnapshotTests
from campaign_sync.crm.testing.under_test import CrmUnderTest
from campaign_sync.crm.testing.write_back_tests import WriteBackTests


class CrmConformance(SnapshotTests, FilterTests, ConsentTests, EventTests, StateTests, WriteBackTests, ErrorTests):
    """Every test of the contract. Subclass it under a name that begins with `Test`, and override the fixture."""

    @pytest.fixture
    def under_test(self) -> CrmUnderTest:
        """Return a CRM of its own for each test.

        Raises:
            NotImplementedError: the subclass has no such fixture.
        """
        raise NotImplementedError("give the class a fixture under_test that returns a CrmUnderTest")
