"""The conformance tests on Salesforce."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync.crm.testing import CrmConformance
from campaign_sync_tests.crm.conformance.salesforce_org import SalesforceUnderTest
from campaign_sync_tests.crm.salesforce.org import Org, serving


@pytest.mark.thorough
class TestSalesforce(CrmConformance):
    @pytest.fixture
    def under_test(self, tmp_path: Path) -> Iterator[SalesforceUnderTest]:
        org = Org()
        with serving(org) as url:
            yield SalesforceUnderTest(org, url, tmp_path)
