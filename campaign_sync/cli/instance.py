"""The Dagster instance that the commands use, and `dagster dev` on it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.cli.boundary import CommandError, in_one_line
from campaign_sync.sqlite import remedy
from campaign_sync.state.folders import can_be_written, one_process_at_a_time, private_folder

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
        # A brand-new instance creates its tables here: two processes that do so at once can ruin it.
        with _lock(Path(given or home)), dg.DagsterInstance.get() as instance:
            instance.get_run_records(limit=1)
    except Exception as error:  # noqa: BLE001 - storage plugins raise what they like
        reason = str(error).splitlines()[0] if isinstance(error, SQLAlchemyError) else in_one_line(error)
        helps = (
            f"correct it, or unset DAGSTER_HOME to use the embedded instance in {home}"
            if given
            else f"correct {home / 'dagster.yaml'}, or remove {home} to begin with an empty instance"
        )
        told = f"{type(error).__name__}: {reason.rstrip('.')}"
        helps = remedy(getattr(error, "orig", error)) or helps
        raise CommandError(f"Dagster's instance in {given or home} can't be used: {told}; {helps}") from None


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


def _lock(home: Path) -> AbstractContextManager[None]:
    """The lock of an instance's folder; none where the folder doesn't hold what could be ruined, as in production."""
    return one_process_at_a_time(home) if home.is_dir() and can_be_written(home) else nullcontext()


def _prepare(home: Path) -> None:
    private_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        unfinished = home / f".dagster.yaml.{os.getpid()}"
        unfinished.write_text((files("campaign_sync.cli") / "embedded_dagster.yaml").read_text())
        unfinished.replace(settings)  # whoever finds it finds all of it


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
