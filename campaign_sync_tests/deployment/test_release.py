"""What a release needs: one version, a changelog that agrees with it, and a workflow that can be trusted."""

import re
import subprocess
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

import campaign_sync

ROOT = Path(campaign_sync.__file__).parents[1]
VERSION = Version(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_the_changelog_has_what_comes_next_and_every_release_with_its_day() -> None:
    """`## Unreleased` is the version in pyproject.toml; once that is released, it becomes `## 1.2.3 (date)`."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)", heading) for heading in headings]
    is_next = headings[0] == "Unreleased"
    dated = [(Version(match[1]), date.fromisoformat(match[2])) for match in released[is_next:] if match]

    assert len(dated) == len(headings) - is_next
    assert dated == sorted(dated, reverse=True)
    newest = dated[0][0] if dated else Version("0")
    assert (newest < VERSION) if is_next else (newest == VERSION)


@pytest.mark.parametrize(
    ("tag", "problem"),
    [("v99.0.0", f"the tag v99.0.0 isn't that of version {VERSION}"), (f"v{VERSION}", "CHANGELOG.md begins with")],
)
def test_a_tag_that_is_not_the_version_or_not_in_the_changelog_is_refused(tag: str, problem: str) -> None:
    if (ROOT / "CHANGELOG.md").read_text("utf-8").split("## ")[1].startswith(f"{VERSION} ("):
        pytest.skip("the version is released")
    done = subprocess.run(
        [ROOT / "deploy/release", "--tag", tag], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert problem in done.stderr


def test_actions_are_pinned_to_commits() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]

    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)] == []


def test_each_job_has_its_own_permissions_and_an_end() -> None:
    assert WORKFLOW["permissions"] == {}
    assert all(job["permissions"] and job["timeout-minutes"] for job in WORKFLOW["jobs"].values())
    writing = [name for name, job in WORKFLOW["jobs"].items() if job["permissions"].get("contents") == "write"]
    assert writing == ["publish"]  # it runs nothing of the repository


def test_no_script_contains_what_others_can_name() -> None:
    """Expressions in a script are put into it as text: a tag or branch could be a command. Variables are safe."""
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_the_workflow_uses_the_uv_of_the_image() -> None:
    image = re.search(r"uv==([\d.]+)", (ROOT / "Dockerfile").read_text("utf-8"))

    assert image
    assert {f"pipx install uv=={image[1]}"} == {step["run"] for step in STEPS if "uv==" in step.get("run", "")}
