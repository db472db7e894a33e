"""The embedded Dagster instance, and `dagster dev` on it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg


def use_embedded_instance(home: Path) -> None:
    """Let Dagster, in this process and its children, live in `home`, unless `DAGSTER_HOME` says otherwise."""
    if os.environ.get("DAGSTER_HOME"):
        return
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text((files("campaign_sync.cli") / "embedded_dagster.yaml").read_text())
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    # A brand-new instance creates its tables here, before several processes could race for it.
    with dg.DagsterInstance.get() as instance:
        instance.get_run_records(limit=1)


@contextmanager
def dagster_dev(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Webserver and daemon over this product's definitions, on 127.0.0.1:`port`, until Ctrl-C or SIGTERM."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-m", "campaign_sync.definitions"]
    process = subprocess.Popen(  # noqa: S603 - a fixed command
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    )
    try:
        yield process
    except KeyboardInterrupt:
        pass
    finally:
        process.terminate()
        process.wait()
