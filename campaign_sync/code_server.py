"""The command `dagster code-server start` with all its options, which ends when its definitions are gone.

Dagster's command keeps the definitions in a process of its own and passes requests on to it. When that process is
killed, as by a machine without memory, it isn't started again, and the health check of the command still succeeds:
nothing would be scheduled, replaced or alarmed about until a person notices. What started this command starts it again.
"""

import os
import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path

_CHECK_SECONDS = 2.0

_CHECKS = 3
"""This number of checks in a row must find no process: a reload starts the new one before the old one ends."""

EXIT_CODE = 70
"""Of this command when its definitions are gone; those that restart services take it for a failure."""


def main() -> None:
    """Run `dagster code-server start`, with the options of this command."""
    threading.Thread(target=_end_with_definitions, daemon=True).start()
    (dagster,) = entry_points(group="console_scripts", name="dagster")
    sys.argv[1:1] = ["code-server", "start"]
    dagster.load()()


def _end_with_definitions() -> None:
    """End this process once the process with the definitions has begun and is gone."""
    has_begun, missed = False, 0
    while missed < _CHECKS:
        time.sleep(_CHECK_SECONDS)
        exists = _has_definitions()
        has_begun |= exists
        missed = missed + 1 if has_begun and not exists else 0
    sys.stderr.write("The process with the definitions is gone, so this code server ends.\n")
    sys.stderr.flush()
    os._exit(EXIT_CODE)


def _has_definitions() -> bool:
    """Return whether this process has a child with the definitions: `dagster api grpc`, and not a zombie.

    In a container the runs that it leaves behind become children of this process.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            is_server = b"\0grpc\0" in (process / "cmdline").read_bytes()
        except OSError:  # it ended just now
            continue
        if int(parent) == os.getpid() and state not in "ZX" and is_server:
            return True
    return False


if __name__ == "__main__":
    main()
