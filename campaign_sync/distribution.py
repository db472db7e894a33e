"""How this copy of the product came here, and so what its user types and where its documents are.

A clone has its documents beside the package; a wheel carries them in it.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent


def is_clone() -> bool:
    """Return whether the package is imported from a clone of the repository."""
    return (_PACKAGE.parent / "pyproject.toml").is_file()


def command_line() -> str:
    """Return what this user types before the arguments of a command.

    `uv run` says by a variable that it was used, and would remove a developer's tools with `--no-dev`.
    """
    if not (is_clone() and "UV_RUN_RECURSION_DEPTH" in os.environ):
        return "campaign-sync"
    return "uv run campaign-sync" if find_spec("pytest") else "uv run --no-dev campaign-sync"


def manual_page(name: str) -> str:
    """Return the path of a document, like `operations.md`: below the working directory without what leads there."""
    path = (_PACKAGE.parent if is_clone() else _PACKAGE) / "docs" / name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
