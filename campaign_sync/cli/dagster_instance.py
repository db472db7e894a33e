"""The Dagster instance that the commands use."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import dagster as dg
import yaml
from sqlalchemy.exc import SQLAlchemyError

from campaign_sync.cli.error_handling import CommandError, in_one_line, without_values
from campaign_sync.config import Configuration
from campaign_sync.domain.readiness import Attempt
from campaign_sync.domain.url import ENCODING_HINT, is_ambiguous
from campaign_sync.orchestration.embedded_storage import EmbeddedStorage
from campaign_sync.orchestration.mandator_days import MandatorDay, unfinished_days
from campaign_sync.orchestration.repair_hindrances import RepairHindrances
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.orchestration.run_submission import is_daemon_up
from campaign_sync.sqlite import remedy
from campaign_sync.storage.private_files import create_private_folder, folder_lock, is_writable, write_atomically
from campaign_sync.storage.state import State

Known = TypeVar("Known")

_FORMER_STORAGE = "campaign_sync.automation.event_store"
"""The module of the embedded storage in files that earlier versions wrote."""

EMBEDDED_HOME = Path(".campaign_sync/dagster")
"""The folder of the embedded instance."""


def use_instance(home: Path) -> None:
    """Use the Dagster instance in `home` in this process and its children, unless `DAGSTER_HOME` names another one.

    Raises:
        CommandError: the instance can't be created or opened.
    """
    given = os.environ.get("DAGSTER_HOME")
    _refuse_ambiguous_url(Path(given or home))
    try:
        if not given:
            _prepare(home)
            os.environ["DAGSTER_HOME"] = str(home.resolve())
        # A new instance creates its tables here: two processes that do so at once can damage it.
        with _lock(Path(given or home)), dg.DagsterInstance.get() as instance:
            instance.get_run_records(limit=1)
    except Exception as error:  # noqa: BLE001 - storage plugins raise errors of any class
        reason = without_values(
            str(error).splitlines()[0] if isinstance(error, SQLAlchemyError) else in_one_line(error)
        )
        advice = (
            f"correct it, or unset DAGSTER_HOME to use the embedded instance in {home}"
            if given
            else f"correct {home / 'dagster.yaml'}, or remove {home} to begin with an empty instance"
        )
        problem = f"{type(error).__name__}: {reason.rstrip('.')}"
        advice = remedy(getattr(error, "orig", error)) or advice
        raise CommandError(f"Dagster's instance in {given or home} can't be used: {problem}; {advice}") from None


def known_attempts(
    configuration: Configuration, mandator: str, opened: dg.DagsterInstance | None = None
) -> dict[str, Attempt] | None:
    """Return the newest run that was to replace each list of a mandator; None if Dagster's instance can't be read."""
    lists = list(configuration.mandators[mandator].lists)
    return read_instance(
        lambda instance: newest_attempts(instance, mandator, lists, prefix=configuration.prefix), opened
    )


def known_day(
    configuration: Configuration, mandator: str, state: State, opened: dg.DagsterInstance | None = None
) -> MandatorDay | None:
    """Return the newest day of a mandator, if something has failed on it and Dagster's instance can be read."""

    def read(instance: dg.DagsterInstance) -> dict[str, MandatorDay]:
        hindrances = RepairHindrances(configuration, instance, in_service=False)
        return unfinished_days(configuration, instance, state, [mandator], datetime.now(UTC), hindrances)

    return (read_instance(read, opened) or {}).get(mandator)


def read_instance(
    read: Callable[[dg.DagsterInstance], Known], opened: dg.DagsterInstance | None = None
) -> Known | None:
    """Return what is read from the instance that commands use; None if it can't be. None is created for that.

    Args:
        read: reads from it.
        opened: the instance, where it is open already; opening it again costs as much as writing twenty events.
    """
    if not (opened or os.environ.get("DAGSTER_HOME") or EMBEDDED_HOME.exists()):
        return None
    try:
        if opened:
            return read(opened)
        use_instance(EMBEDDED_HOME)
        with dg.DagsterInstance.get() as instance:
            return read(instance)
    except (CommandError, SQLAlchemyError):
        return None


def refuse_second_daemon(home: str) -> None:
    """Raise CommandError if a daemon of this instance had a heartbeat in the last minute: two start every run twice."""
    with dg.DagsterInstance.get() as instance:
        is_up = is_daemon_up(instance)
    if is_up:
        raise CommandError(
            f"a daemon is running on Dagster's instance in {home} already, and a second one would start every run "
            "twice; open the UI of its webserver instead, or unset DAGSTER_HOME to use an instance of your own"
        )


def _refuse_ambiguous_url(home: Path) -> None:
    """Raise CommandError if Dagster could read a part of the password in a database URL as the host, and show it."""
    try:
        settings = yaml.safe_load((home / "dagster.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return  # Dagster reports it, or creates the file
    for key, url in _entries(settings):
        if isinstance(url, dict):
            url = os.environ.get(str(url.get("env")))
        if str(key).endswith("_url") and isinstance(url, str) and is_ambiguous(url):
            raise CommandError(f"{key} in {home / 'dagster.yaml'} can be read in several ways; {ENCODING_HINT}")


def _entries(settings: object) -> Iterator[tuple[object, object]]:
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield key, value
            yield from _entries(value)


def _lock(home: Path) -> AbstractContextManager[None]:
    """Return the lock of an instance's folder; none if the folder can't be written to, as in production."""
    return folder_lock(home) if home.is_dir() and is_writable(home) else nullcontext()


def _prepare(home: Path) -> None:
    create_private_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        write_atomically(settings, (files("campaign_sync.cli") / "embedded_dagster.yaml").read_bytes())
    elif _FORMER_STORAGE in (text := settings.read_text(encoding="utf-8")):
        write_atomically(settings, text.replace(_FORMER_STORAGE, EmbeddedStorage.__module__).encode())
