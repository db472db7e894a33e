"""An org with a server, and the adapter on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import CrmNeeds, Pick
from campaign_sync.crm.salesforce.source import SalesforceSource
from campaign_sync.crm.testing import EVERYBODY, crm_context
from campaign_sync_tests.crm.salesforce.org import Org, serving
from campaign_sync_tests.crm.salesforce.settings import salesforce_settings

OpenCrm = Callable[..., MirrorCrm]


@pytest.fixture
def org() -> Org:
    org = Org()
    org.add("Campaign", Id="701", Name=EVERYBODY.name)
    org.add("DataUsePurpose", Id="0ZW", Name="Press")
    return org


@pytest.fixture
def url(org: Org) -> Iterator[str]:
    with serving(org) as url:
        yield url


@pytest.fixture
def open_crm(url: str, tmp_path: Path) -> OpenCrm:
    """Open the org with a new copy, and the same memory."""

    def open_with(*picks: Pick, columns: tuple[str, ...] = (), **changes: object) -> MirrorCrm:
        settings = salesforce_settings(url, **changes)
        needs = CrmNeeds(frozenset(picks or {EVERYBODY}), frozenset(columns))
        context = crm_context(tmp_path, needs)
        return MirrorCrm(SalesforceSource(settings, needs, context.folder, lambda _: None), settings, context, url)

    return open_with
