"""`campaign-sync dev`: Dagster's UI and daemon with this product's definitions, on this machine."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from campaign_sync.cli.log_format import LogFormat

_DEFINITIONS = ("--module-name", "campaign_sync.definitions", "--code-server-log-level", "warning")

_STOP_TIMEOUT_SECONDS = 60
"""How long a process and its children may take to end. A second Ctrl-C ends the wait."""


@dataclass(frozen=True)
class Services:
    """Webserver and daemon."""

    processes: list["subprocess.Popen[bytes]"]

    def wait(self) -> int:
        """Wait until one of them ends, which is always an error. Returns its exit code, at least 1."""
        while True:
            for process in self.processes:
                code = process.poll()
                if code is not None:
                    return code or 1
            time.sleep(0.5)

    def stop(self) -> None:
        """Terminate both and their children."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(_STOP_TIMEOUT_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()


@contextmanager
def dagster_services(port: int, log_format: LogFormat | None = None) -> Iterator[Services]:
    """Run the webserver, on 127.0.0.1:`port`, and the daemon until Ctrl-C or SIGTERM.

    `dagster dev` isn't used because its webserver accepts requests of any website; `campaign_sync.webserver` doesn't.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows doesn't have the last one
        if ending := getattr(signal, name, None):
            signal.signal(ending, signal.default_int_handler)
    python = [sys.executable, "-W", "ignore", "-m"]
    webserver = ["campaign_sync.webserver", "--host", "127.0.0.1", "--port", str(port)]
    daemon = ["dagster._daemon", "run"]
    form = ["--log-format", "json"] if log_format is LogFormat.JSON else []
    with ExitStack() as stack:
        services = Services([])
        stack.callback(services.stop)
        try:
            for command, level in ((webserver, "--dagster-log-level"), (daemon, "--log-level")):
                services.processes.append(
                    # In sessions of their own, so that Ctrl-C reaches them only through `stop`.
                    subprocess.Popen(  # noqa: S603 - fixed commands
                        [*python, *command, *_DEFINITIONS, level, "warning", *form], start_new_session=True
                    )
                )
            yield services
        except KeyboardInterrupt:
            pass
