"""The optional dependencies of the package, by the extras of its `pyproject.toml`."""

from importlib.metadata import PackageNotFoundError, requires
from typing import TYPE_CHECKING

from campaign_sync.distribution import is_clone

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "campaign-sync"


def how_to_install(extra: str) -> str:
    """Return the command that installs what an extra brings.

    Outside a clone it names the packages of the extra: the name of our own package needn't lead to it in an index.
    """
    if is_clone():
        return f"run `uv sync --no-dev --extra {extra}`"
    packages = " ".join(f"'{requirement}'" for requirement in requirements_of(extra))
    return f"run `pip install {packages}` in its environment"


def requirements_of(extra: str) -> list[str]:
    """Return what an extra of the installed package requires, like paramiko>=4."""
    from packaging.requirements import Requirement  # only where a package is missing

    try:
        declared = [Requirement(line) for line in requires(PACKAGE) or ()]
    except PackageNotFoundError:  # imported from a folder that nothing installed
        declared = []
    needed = [requirement for requirement in declared if _is_of(requirement, extra)]
    for requirement in needed:
        requirement.marker = None
    return [str(requirement) for requirement in needed] or [f"{PACKAGE}[{extra}]"]


def _is_of(requirement: "Requirement", extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
