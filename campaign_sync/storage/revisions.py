"""The revisions of the product's tables: which one a database is at, how it gets to another, whether its tables fit."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from campaign_sync.storage.errors import RevisionError
from campaign_sync.storage.tables import metadata

VERSION_TABLE = "campaign_sync_version"

_UPGRADE_LOCK = 0x63616D70
"""Key of the advisory lock under which PostgreSQL lets one process migrate at a time."""


@cache
def revisions() -> tuple[str, ...]:
    """All revisions this version knows, the oldest first. The last one is what it works with."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(str(script.revision) for script in scripts)[::-1]


def revision_of(connection: Connection, place: str) -> str | None:
    """The revision a database is at; None where it has no tables of ours. `place` is what the message calls it.

    Raises:
        RevisionError: a newer version of the product migrated it.
    """
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    if found is not None and found not in revisions():
        raise RevisionError(
            f"the state database {place} (storage.state_url) is at revision {found}, which this version of "
            "campaign-sync doesn't know; run the newer version that migrated it"
        )
    return found


def migrate(connection: Connection, place: str, to: str = "head") -> str | None:
    """Bring a database to a revision while every other process waits; whoever waited finds nothing left to do.

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
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    connection.commit()
    return before


def differences(connection: Connection) -> list[str]:
    """How the tables differ from those this version works with, in words. Tables that aren't ours don't count."""
    options = {"version_table": VERSION_TABLE, "include_object": _is_ours, "compare_server_default": False}
    found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return sorted(told for difference in found for told in _in_words(difference))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("campaign_sync.storage") / "migrations"))
    return config


def _is_ours(_: Any, name: str | None, kind: str, reflected: bool, __: Any) -> bool:
    return kind != "table" or not reflected or name in metadata.tables


def _in_words(difference: Any) -> Iterator[str]:
    """One or several sentences for what Alembic found; what changes one column comes as a list."""
    if isinstance(difference, list):
        for one in difference:
            what, _, table, column = one[:4]
            yield f"column {table}.{column} is of another kind ({what.removeprefix('modify_')})"
        return
    kind, subject = difference[0], difference[-1]
    lacking = "is missing" if kind.startswith("add_") else "is there and shouldn't be"
    what = kind.partition("_")[2]
    table = difference[2] if what == "column" else getattr(getattr(subject, "table", None), "name", None)
    name = f"{table}.{subject.name}" if table and table != subject.name else subject.name
    yield f"{what} {name} {lacking}"
