"""What the documents refer to exists: pages, sections, files, functions; and the diagram of imports is current."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync_tests import import_graph

ROOT = import_graph.DOCUMENT.parents[1]
PAGES = ROOT / "docs"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob(".github/**/*.md")]
)

_CODE_BLOCK = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SOURCE_FILE = re.compile(
    r"`((?:[\w./]+/[\w.]+\.(?:py|yaml|json|sh|conf|md))|(?:campaign_sync_tests|docs|deploy|storage/migrations)/[\w/]*)`"
)
_SECTION = re.compile(r"""(?:MANUAL\}|manual\}|operations\.md)[,;]?\s*(?:"\s*f?")?“([^”]+)”""")
_STEP = re.compile(r"^\|[^|]+\| `([\w.]+)` \| `([\w./]+\.py)` \|$", re.MULTILINE)


def prose(document: Path) -> str:
    return _CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def broken_links(document: Path) -> Iterator[str]:
    for link in _LINK.findall(prose(document)):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (document.parent / path).resolve() if path else document
        # Pages of the site can't lead out of it: files elsewhere are named as code.
        leads_out = PAGES in document.parents and PAGES not in target.parents
        if leads_out or not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def missing_files(document: Path) -> list[str]:
    places = [ROOT, ROOT / "campaign_sync", ROOT / "campaign_sync_tests", document.parent]
    return [
        path
        for path in _SOURCE_FILE.findall(prose(document))
        if path[0] != "." and not any((place / path).exists() for place in places)
    ]


def functions(file: Path) -> Iterator[str]:
    """Yield the functions of a module, methods as `Class.method`."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{child.name}" for child in node.body if isinstance(child, ast.FunctionDef))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_files_of_a_document_exist(document: Path) -> None:
    assert [*broken_links(document), *missing_files(document)] == []


def test_every_step_of_the_walks_names_a_function_that_exists() -> None:
    steps = _STEP.findall(import_graph.DOCUMENT.read_text(encoding="utf-8"))
    assert len(steps) > 20
    assert [
        f"{file}: {function}" for function, file in steps if function not in functions(ROOT / "campaign_sync" / file)
    ] == []


def test_the_diagram_of_imports_is_the_current_one() -> None:
    assert import_graph.diagram_in_document() == import_graph.diagram(), "renew it with `just docs`"


def test_messages_name_sections_of_the_operations_manual_that_exist() -> None:
    headings = set(
        re.findall(r"^## (.+)$", (ROOT / "docs" / "operations.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    sources = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "campaign_sync").rglob("*.py")))
    named = _SECTION.findall(sources)
    assert len(named) > 5
    assert sorted(set(named) - headings) == []


def test_an_import_that_also_exists_indirectly_is_left_out() -> None:
    imports = {"cli": {"feedback", "domain"}, "feedback": {"domain"}, "domain": set[str]()}
    assert import_graph.without_indirect_imports(imports)["cli"] == {"feedback"}


def test_a_link_to_a_missing_section_is_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# A `heading`, here\n[a](#a-heading-here) [b](#elsewhere) [c](none.md)\n")
    assert list(broken_links(document)) == ["#elsewhere", "none.md"]
