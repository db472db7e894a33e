"""The diagram of imports between packages in docs/architecture.md. `just docs` renews it."""

import re
from pathlib import Path

import grimp

import campaign_sync

DOCUMENT = Path(campaign_sync.__file__).parents[1] / "docs" / "architecture.md"
_DIAGRAM = re.compile(r"(?<=<!-- import graph: begin -->\n).*?(?=<!-- import graph: end -->)", re.DOTALL)

Graph = dict[str, set[str]]
"""Packages, and what each imports."""


def package_imports() -> Graph:
    """Return the packages directly below `campaign_sync`, and for each of them the others that its modules import."""
    graph = grimp.build_graph("campaign_sync")
    modules_of = {
        package: {package, *graph.find_descendants(package)} for package in graph.find_children("campaign_sync")
    }
    package_of = {module: package for package, modules in modules_of.items() for module in modules}
    imports: Graph = {}
    for package, modules in modules_of.items():
        imported = {target for module in modules for target in graph.find_modules_directly_imported_by(module)}
        imports[_name(package)] = {_name(package_of[target]) for target in imported & package_of.keys()} - {
            _name(package)
        }
    return imports


def without_indirect_imports(imports: Graph) -> Graph:
    """Return only the imports that don't also exist by way of another package."""
    return {
        package: {
            target
            for target in targets
            if not any(target in _reachable(imports, other) for other in targets - {target})
        }
        for package, targets in imports.items()
    }


def diagram() -> str:
    """Return the diagram in Mermaid, as it belongs between the two markers of the document."""
    imports = without_indirect_imports(package_imports())
    arrows = [
        f"    {package} --> {target}"
        for package in sorted(imports)
        if package != "__main__"
        for target in sorted(imports[package])
    ]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```", ""])


def diagram_in_document() -> str | None:
    """Return the diagram that is in the document now, None if its markers are missing."""
    match = _DIAGRAM.search(DOCUMENT.read_text(encoding="utf-8"))
    return match.group() if match else None


def renew() -> None:
    """Replace the diagram in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(_DIAGRAM.sub(lambda _: diagram(), text), encoding="utf-8")


def _reachable(imports: Graph, package: str) -> set[str]:
    reachable: set[str] = set()
    pending = [package]
    while pending:
        targets = imports.get(pending.pop(), set()) - reachable
        reachable |= targets
        pending.extend(targets)
    return reachable


def _name(module: str) -> str:
    return module.split(".")[1]


if __name__ == "__main__":
    renew()
