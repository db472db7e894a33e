"""The documents as a site: built without a warning, in two languages, complete, and without other hosts."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from campaign_sync_tests.import_graph import DOCUMENT

DOCS = DOCUMENT.parent
SETTINGS = DOCS.parent / "mkdocs.yml"

_LOADED = re.compile(
    r"<(?:script|img|iframe|source|link(?![^>]*rel=.?(?:alternate|canonical)))[^>]*?(?:src|href)=[\"']?(\w*:?//[^\s\"'>]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site from copies. An internal link without its page or section is a warning, and fails the build."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(SETTINGS, folder)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def pages(entries: Any) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    children = entries.values() if isinstance(entries, dict) else entries
    return [page for child in children for page in pages(child)]


def test_a_browser_loads_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert _LOADED.findall(html) == [], page
        assert 'class="mermaid"' not in html, f"{page}: the theme would load what draws this from another host"
    assert not re.findall(r"url\(.?(?:https?:)?//", "".join(css.read_text() for css in site.rglob("*.css")))


def test_german_pages_are_german_and_found_by_the_search(site: Path) -> None:
    for page in site.rglob("*.html"):
        language = "de" if page.parent.name == "de" else "en"
        assert f'<html lang="{language}"' in page.read_text(encoding="utf-8"), page
    searchable = {
        entry["location"] for entry in json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    }
    assert {"de/marketing.html", "de/datenschutz.html", "security.html", "adr/0001-full-replacement.html"} <= searchable


def test_the_navigation_has_every_page_once() -> None:
    listed = pages(yaml.safe_load(SETTINGS.read_text(encoding="utf-8").partition("\nnav:\n")[2]))
    existing = {str(page.relative_to(DOCS)) for folder in (DOCS, DOCS / "de") for page in folder.glob("*.md")}
    assert sorted(listed) == sorted({*existing, "adr/README.md"})  # which lists the others of its folder
