"""Making reports of an installation, and reading their pages."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from lxml import etree

from campaign_sync.reports.collection import gather
from campaign_sync.reports.daily_report import Report
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.installation import Installation


def report_of(installation: Installation, mandator: str = "nord", *, days_later: int = 0) -> Report:
    with installation.state() as state:
        frames = FileStorage(installation.settings["storage"]["frames"])
        now = datetime.now(UTC) + timedelta(days=days_later)
        return gather(installation.configuration, mandator, state, frames, now, {})


def parse_page(page: str) -> etree._Element:
    """Parse a page, which is well-formed and loads nothing."""
    root = etree.fromstring(page.encode(), etree.XMLParser(resolve_entities=False))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for chart in root.iter("svg"):
        assert chart.get("aria-hidden") or all(name in ids for name in chart.get("aria-labelledby", "?").split())
    levels = [int(str(element.tag)[1]) for element in root.iter("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(level <= before + 1 for before, level in pairwise(levels)), "no heading is left out"
    assert not list(root.iter("script", "link", "img", "iframe", "object"))
    linked = [element for element in root.iter() if {"href", "src", "srcset", "action"} & set(element.keys())]
    assert all(element.tag == "a" and str(element.get("href")).startswith("https://") for element in linked)
    assert not re.search(r"@import|url\(", page)
    return root


def text_of(root: etree._Element) -> str:
    return re.sub(r"\s+", " ", " ".join(root.find("body").itertext()))


def table_rows(root: etree._Element) -> list[list[str]]:
    """Return the rows of all tables."""
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
