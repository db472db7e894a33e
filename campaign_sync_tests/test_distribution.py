"""What messages say of commands and documents is true in a clone, and where a wheel was installed."""

import re
from pathlib import Path

import pytest

import campaign_sync
from campaign_sync import distribution
from campaign_sync.extras import how_to_install

ROOT = Path(campaign_sync.__file__).parents[1]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the package be one that a wheel has installed."""
    package = tmp_path / "site-packages" / "campaign_sync"
    monkeypatch.setattr(distribution, "_PACKAGE", package)
    return package


def test_in_a_clone_documents_are_beside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert distribution.manual_page("operations.md") == "docs/operations.md"
    monkeypatch.chdir(tmp_path)
    assert Path(distribution.manual_page("operations.md")) == ROOT / "docs/operations.md"


def test_in_a_wheel_documents_are_in_the_package(wheel: Path) -> None:
    assert distribution.manual_page("crm.md") == str(wheel / "docs" / "crm.md")


def test_a_clone_is_used_by_uv_run_and_a_wheel_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert distribution.command_line() == "uv run campaign-sync"
    monkeypatch.setattr(distribution, "find_spec", lambda name: None)
    assert distribution.command_line() == "uv run --no-dev campaign-sync"
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH")
    assert distribution.command_line() == "campaign-sync"


def test_a_wheel_is_not_used_by_uv_run(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert distribution.command_line() == "campaign-sync"


def test_extras_are_installed_as_the_package_was(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert how_to_install("mysql") == "run `pip install 'pymysql[rsa]<2,>=1.2'` in its environment"
    monkeypatch.undo()
    assert how_to_install("mysql") == "run `uv sync --no-dev --extra mysql`"


def test_every_page_that_messages_name_exists() -> None:
    pages = re.compile(r"""manual_page\(["']([\w.-]+)["']\)""")
    named = {name for path in (ROOT / "campaign_sync").rglob("*.py") for name in pages.findall(path.read_text("utf-8"))}

    assert {"operations.md", "crm.md"} <= named
    assert [name for name in named if not (ROOT / "docs" / name).is_file()] == []


def test_no_message_names_a_document_by_a_path_that_only_a_clone_has() -> None:
    in_strings = re.compile(r"""^(?!\s*(?:"{3}|#)).*["'].*\bdocs/[\w.-]+\.(?:md|yaml)""")
    naming = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "campaign_sync").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if in_strings.search(line)
    ]
    assert naming == []
