"""Dagster's UI and daemon over this product's definitions, on this machine."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

_DEFINITIONS = ("--module-name", "campaign_sync.definitions", "--code-server-log-level", "warning")

_PATIENCE_SECONDS = 60
"""How long a process may take to end, with what it started. A second Ctrl-C shortens it."""


@dataclass(frozen=True)
class Services:
    """Webserver and daemon."""

    processes: list["subprocess.Popen[bytes]"]

    def wait(self) -> int:
        """Wait until one of them ends, which they do only when something is wrong; returns its exit code."""
        while True:
            for process in self.processes:
                code = process.poll()
                if code is not None:
                    return code or 1
            time.sleep(0.5)

    def stop(self) -> None:
        """End both, and what they started."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(_PATIENCE_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()


@contextmanager
def dagster_services(port: int) -> Iterator[Services]:
    """Webserver, on 127.0.0.1:`port`, and daemon, until Ctrl-C or SIGTERM.

    Not `dagster dev`, which has a webserver of its own that obeys any website: `campaign_sync.webserver`.
    """
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    python = [sys.executable, "-W", "ignore", "-m"]
    webserver = ["campaign_sync.webserver", "--host", "127.0.0.1", "--port", str(port)]
    daemon = ["dagster._daemon", "run"]
    with ExitStack() as stack:
        services = Services([])
        stack.callback(services.stop)
        try:
            for command, level in ((webserver, "--dagster-log-level"), (daemon, "--log-level")):
                services.processes.append(
                    # In sessions of their own, so that Ctrl-C reaches them once: by `stop`.
                    subprocess.Popen(  # noqa: S603 - fixed commands
                        [*python, *command, *_DEFINITIONS, level, "warning"], start_new_session=True
                    )
                )
            yield services
        except KeyboardInterrupt:
            pass
