"""The extras that errors name can be installed by the commands that they name."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import campaign_sync
from campaign_sync import extras

ROOT = Path(campaign_sync.__file__).parents[1]
DECLARED: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


@pytest.mark.parametrize("extra", DECLARED)
def test_the_packages_of_an_extra_are_named_as_they_are_declared(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {str(Requirement(line)) for line in DECLARED[extra]}
    assert set(extras.requirements_of(extra)) == expected
    monkeypatch.setattr(extras, "is_clone", lambda: False)
    assert all(f"'{requirement}'" in extras.how_to_install(extra) for requirement in expected)


@pytest.mark.parametrize("extra", DECLARED)
def test_an_extra_is_explained_in_the_documentation(extra: str) -> None:
    section = (ROOT / "docs/deployment.md").read_text("utf-8").split("\n## Extras\n")[1].split("\n## ")[0]
    assert f"`{extra}`" in section


def test_without_a_known_installation_the_extra_itself_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "PACKAGE", "not-installed-anywhere")
    assert extras.requirements_of("sftp") == ["not-installed-anywhere[sftp]"]


def test_no_text_has_the_package_installed_from_an_index_that_does_not_have_it() -> None:
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/*.yaml"), *ROOT.glob("deploy/**/*")]
    texts += (ROOT / "campaign_sync").rglob("*.py")
    from_index = re.compile(r"""pip install ['"]?campaign-sync(?!(\[[\w,]+\])? @)""")
    texts = [text for text in texts if text.is_file() and text.suffix != ".pyc"]
    misleading = [str(text) for text in texts if from_index.search(text.read_text("utf-8"))]
    assert misleading == []
