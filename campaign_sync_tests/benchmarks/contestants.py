"""What else replaces the list of `day`, each in a process of its own.

A tool that the project doesn't need has an environment of its own, which uv makes from the script's metadata.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_NEVER = "asking consents again, the vendor's unsubscribe list and blocklist, checks before the list is cleared"
_BY_HAND = f"{_NEVER}, a record of rejections, resuming, alarms"


@dataclass(frozen=True)
class Contestant:
    """Another way to replace the list."""

    name: str
    module: str
    """The module of `benchmarks` with its main function."""
    lacks: str
    """What it doesn't do, and a daily replacement needs."""
    options: tuple[str, ...] = ()
    is_own_environment: bool = False
    """Whether the module's packages aren't the project's."""

    def interpreter(self) -> str | None:
        """Return the Python with its packages; None if they can't be installed."""
        if not self.is_own_environment:
            return sys.executable
        script = str(Path(__file__).with_name(f"{self.module}.py"))
        commands = (["uv", "sync", "--quiet", "--compile-bytecode"], ["uv", "python", "find"])
        try:
            *_, path = [
                subprocess.run([*command, "--script", script], check=True, capture_output=True, text=True).stdout
                for command in commands
            ]
        except (OSError, subprocess.CalledProcessError):
            return None
        return path.strip()


LOOP = Contestant("the afternoon's loop, with reading back", "afternoon", _BY_HAND, ("--read-back",))
CONTESTANTS = (
    Contestant("the afternoon's loop, without reading back", "afternoon", f"reading back, {_BY_HAND}"),
    Contestant(
        "drt",
        "drt_sync",
        f"reading back, {_NEVER}, resuming, several connections; it reads the CRM while the list is incomplete",
        is_own_environment=True,
    ),
    Contestant("dlt", "dlt_pipeline", f"reading back, {_NEVER}, a record of rejections", is_own_environment=True),
    Contestant("zeep", "zeep_loop", f"reading back, {_BY_HAND}, nested arrays (lxml writes them)"),
    LOOP,
)
"""In the order in which they run."""
