"""What is used of Dagster beyond its public API is in one place."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import campaign_sync
from campaign_sync.orchestration import dagster_internals

PACKAGE = Path(campaign_sync.__file__).parent


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_private(module: str) -> bool:
    top, *rest = module.split(".")
    return top.startswith("dagster") and any(name.startswith("_") for name in rest)


def test_three_modules_alone_import_private_names_of_dagster() -> None:
    users = {path.stem for path in PACKAGE.rglob("*.py") if any(map(is_private, imported(path)))}
    assert users == {"dagster_internals", "dagster_workspace", "open_storages"}


def test_a_dagster_that_lacks_a_private_name_is_reported_with_the_versions_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dagster._utils.schedules", None)
    monkeypatch.delitem(sys.modules, dagster_internals.__name__)
    with pytest.raises(ImportError, match=r"install dagster>=1\.13\.27,<1\.14"):
        importlib.import_module(dagster_internals.__name__)
