"""The Dagster instance that the commands use, and `dagster dev` on it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.assets.attempts import newest_attempts
from campaign_sync.cli.boundary import CommandError, in_one_line
from campaign_sync.configuration import Configuration
from campaign_sync.domain.readiness import Attempt
from campaign_sync.state.folders import private_folder

EMBEDDED_HOME = Path(".campaign_sync/dagster")
"""Where the embedded instance lives."""


def use_instance(home: Path) -> None:
    """Let Dagster, in this process and its children, live in `home`, unless `DAGSTER_HOME` says otherwise.

    Raises:
        CommandError: the instance can't be made or opened.
    """
    given = os.environ.get("DAGSTER_HOME")
    try:
        if not given:
            _prepare(home)
            os.environ["DAGSTER_HOME"] = str(home.resolve())
        # A brand-new instance creates its tables here, before several processes could race for it.
        with dg.DagsterInstance.get() as instance:
            instance.get_run_records(limit=1)
    except Exception as error:  # noqa: BLE001 - storage plugins raise what they like
        reason = str(error).splitlines()[0] if isinstance(error, SQLAlchemyError) else in_one_line(error)
        remedy = (
            f"correct it, or unset DAGSTER_HOME to use the embedded instance in {home}"
            if given
            else f"correct {home / 'dagster.yaml'}, or remove {home} to begin with an empty instance"
        )
        told = f"{type(error).__name__}: {reason.rstrip('.')}"
        raise CommandError(f"Dagster's instance in {given or home} can't be used: {told}; {remedy}") from None


def known_attempts(configuration: Configuration, mandator: str) -> dict[str, Attempt] | None:
    """The newest run that was to replace each list of a mandator; None where Dagster's instance can't be asked.

    None is made for that: what never ran here knows nothing.
    """
    if not os.environ.get("DAGSTER_HOME") and not EMBEDDED_HOME.exists():
        return None
    try:
        use_instance(EMBEDDED_HOME)
        with dg.DagsterInstance.get() as instance:
            return newest_attempts(instance, mandator, list(configuration.mandators[mandator].lists))
    except (CommandError, SQLAlchemyError):
        return None


def refuse_second_daemon(home: str) -> None:
    """Make sure that no daemon is at this instance: two would start everything twice.

    Raises:
        CommandError: one has given a sign of life within the last minute.
    """
    with dg.DagsterInstance.get() as instance:
        beats = [one.timestamp for one in instance.get_daemon_heartbeats().values()]
    if any(time.time() - beat < 60 for beat in beats):
        raise CommandError(
            f"a daemon is running on Dagster's instance in {home} already, and a second one would start every run "
            "twice; open the UI of its webserver instead, or unset DAGSTER_HOME to use an instance of your own"
        )


def _prepare(home: Path) -> None:
    private_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text((files("campaign_sync.cli") / "embedded_dagster.yaml").read_text())


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
