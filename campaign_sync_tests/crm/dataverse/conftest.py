"""A Dataverse with people, and the CRM on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm, CrmNeeds, Pick
from campaign_sync.crm.testing import crm_context
from campaign_sync_tests.crm.conformance.dataverse_tables import field_settings
from campaign_sync_tests.crm.dataverse.stand_in import Dataverse, serving

LIST = Pick("marketing_list", "Newsletter")

PAGE_ROWS = 10

OpenCrm = Callable[..., Crm]


@pytest.fixture
def dataverse() -> Dataverse:
    return Dataverse()


@pytest.fixture
def url(dataverse: Dataverse) -> Iterator[str]:
    with serving(dataverse) as url:
        yield url


@pytest.fixture
def open_crm(url: str, tmp_path: Path) -> OpenCrm:
    """Opens the CRM with these picks and settings. Its consents are in columns, unless settings say otherwise."""

    def open_crm(*picks: Pick, settings: Any = None, waits: list[float] | None = None) -> Crm:
        needs = CrmNeeds(frozenset(picks or [LIST]), frozenset({"city"}))
        settings = settings or field_settings(url)
        wait = (lambda _: None) if waits is None else waits.append
        context = crm_context(tmp_path, needs)
        source = DataverseSource(settings, needs, context.folder, page_rows=PAGE_ROWS, wait=wait)
        return MirrorCrm(source, settings, context, url)

    return open_crm


def add_people(dataverse: Dataverse, count: int) -> str:
    """Add contacts to the list, and return its id."""
    list_id = dataverse.add("list", listname=LIST.name, createdfromcode=2)
    for number in range(count):
        key = dataverse.add("contact", f"c{number:04}", emailaddress1=f"p{number}@example.org")
        dataverse.add("listmember", f"m{number:04}", listid=list_id, entityid=key)
    return list_id
