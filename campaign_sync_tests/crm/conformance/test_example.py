"""The example of docs/adapters.md: its package is found by its entry point, and passes the conformance tests."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "rolodex_crm"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of processes in which the example is installed, without a build."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    data = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    data.mkdir()
    (data / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (data / "entry_points.txt").write_text("\n".join(groups))
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(tmp_path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_the_configuration_finds_the_example_by_its_entry_point(environment: dict[str, str]) -> None:
    program = (
        "from campaign_sync.config.crm_adapters import settings_model; print(settings_model({'adapter': 'rolodex'}))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "<class 'rolodex_crm.RolodexSettings'>"


@pytest.mark.long
def test_the_example_passes_its_conformance_tests(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(EXAMPLE)]
    result = subprocess.run(command, env=environment, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    passed = re.search(r"^(\d+) passed", result.stdout, re.MULTILINE)
    assert passed, result.stdout
    assert int(passed[1]) > 40
    assert result.returncode == 0, result.stdout
