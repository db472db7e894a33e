"""Revisions of the product's tables: reading and migrating a database's revision, and comparing its tables."""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from campaign_sync.storage.erasure_tables import metadata
from campaign_sync.storage.errors import RevisionError

VERSION_TABLE = "campaign_sync_version"

_UPGRADE_LOCK = 0x63616D70
"""Key of the advisory lock under which PostgreSQL lets one process migrate at a time."""


@cache
def revisions() -> tuple[str, ...]:
    """Return all revisions that this version knows, oldest first. The last one is what it works with."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(str(script.revision) for script in scripts)[::-1]


def revision_of(connection: Connection, place: str) -> str | None:
    """Return a database's revision; None where it has no tables of ours. `place` names it in the message.

    Raises:
        RevisionError: a newer version of the product migrated it.
    """
    current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    require_known(current, place)
    return current


def require_known(revision: str | None, place: str) -> None:
    """Raise RevisionError if a newer version of the product migrated the database. `place` names it."""
    if revision is not None and revision not in revisions():
        raise RevisionError(
            f"the state database {place} (storage.state_url) is at revision {revision}, which this version of "
            "campaign-sync doesn't know; run the newer version that migrated it"
        )


def migrate(
    connection: Connection, place: str, to: str = "head", before_changes: Callable[[Connection], None] = lambda _: None
) -> str | None:
    """Migrate a database to a revision while other processes wait; those find nothing left to do.

    On PostgreSQL it begins when all transactions have ended that have read the revision, and keeps new ones waiting.

    Args:
        connection: to the database.
        place: where it is, for messages.
        to: the revision.
        before_changes: called once no other transaction can change anything; raises what the database is left for.

    Returns:
        The revision it was at.

    Raises:
        RevisionError: a newer version of the product migrated it.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    before = revision_of(connection, place)
    if before is not None and connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {VERSION_TABLE} IN ACCESS EXCLUSIVE MODE")
    if before not in (None, revisions()[-1]):
        before_changes(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    connection.commit()
    return before


def differences(connection: Connection) -> list[str]:
    """Return in words how the tables differ from those of this version. Tables that aren't ours are left out."""
    options = {"version_table": VERSION_TABLE, "include_object": _is_ours, "compare_server_default": False}
    changes = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return sorted(sentence for change in changes for sentence in _in_words(change))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("campaign_sync.storage") / "migrations"))
    return config


def _is_ours(_: Any, name: str | None, kind: str, reflected: bool, __: Any) -> bool:
    return kind != "table" or not reflected or name in metadata.tables


def _in_words(change: Any) -> Iterator[str]:
    """Yield a sentence for each difference that Alembic reports. Changes of one column come as a list."""
    if isinstance(change, list):
        for modification in change:
            action, _, table, column = modification[:4]
            yield f"column {table}.{column} is of another kind ({action.removeprefix('modify_')})"
        return
    action, subject = change[0], change[-1]
    problem = "is missing" if action.startswith("add_") else "is there and shouldn't be"
    kind = action.partition("_")[2]
    table = change[2] if kind == "column" else getattr(getattr(subject, "table", None), "name", None)
    name = f"{table}.{subject.name}" if table and table != subject.name else subject.name
    yield f"{kind} {name} {problem}"
