"""What PostgreSQL was asked, by its own log: connections and statements of each database and process."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import NullPool, create_engine

from campaign_sync_tests.databases import FOLDER_VARIABLE

_ENTRY = re.compile(r"^<(?P<database>[^|]*)\|(?P<application>[^|]*)>LOG:  (?P<message>.*)")
_STATEMENT = re.compile(r"(?:statement|execute [^:]*): (?P<statement>.*)", re.DOTALL)
_TRANSACTION = re.compile(r"BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE", re.IGNORECASE)


class Source(NamedTuple):
    """Where connections and statements come from: the database, and the process by its application name."""

    database: str
    process: str


class Load(NamedTuple):
    """What PostgreSQL was asked. Statements that only begin or end a transaction aren't counted."""

    connections: Counter[Source]
    statements: Counter[Source]

    def of(self, database: str, process: str | None = None) -> tuple[int, int]:
        """Return the connections and statements to a database, of all processes or one."""
        connections, statements = (
            sum(count for source, count in counter.items() if _matches(source, database, process)) for counter in self
        )
        return connections, statements


class ServerLog:
    """The log of the server that the tests started (`databases.py`), which from now on has all statements.

    Args:
        databases: URL by the name to be used for a database.
    """

    def __init__(self, databases: Mapping[str, str]) -> None:
        self._path = Path(os.environ[FOLDER_VARIABLE], "log")
        self._names = {url.rpartition("/")[2].partition("?")[0]: name for name, url in databases.items()}
        engine = create_engine(next(iter(databases.values())), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for setting in ("log_statement = 'all'", "log_connections = 'on'", "log_line_prefix = '<%d|%a>'"):
                connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}".replace("%", "%%"))
            connection.exec_driver_sql("SELECT pg_reload_conf()")

    def position(self) -> int:
        """Return the end of the log."""
        return self._path.stat().st_size

    def since(self, position: int) -> Load:
        """Count what came after a position."""
        load = Load(Counter(), Counter())
        with self._path.open("rb") as log:
            log.seek(position)
            for line in log:
                entry = _ENTRY.match(line.decode("utf-8", "replace"))
                if entry and entry["database"] in self._names:
                    self._count(load, self._names[entry["database"]], entry["application"], entry["message"])
        return load

    def _count(self, load: Load, database: str, process: str, message: str) -> None:
        if message.startswith("connection authorized"):
            named = re.search(r"application_name=(\S+)", message)
            load.connections[Source(database, named[1] if named else "")] += 1
        elif (statement := _STATEMENT.match(message)) and not _TRANSACTION.match(statement["statement"]):
            load.statements[Source(database, process)] += 1


def _matches(source: Source, database: str, process: str | None) -> bool:
    return source.database == database and process in (None, source.process)


def server_process() -> int:
    """Return the id of the server's first process."""
    return int(Path(os.environ[FOLDER_VARIABLE], "data", "postmaster.pid").read_text(encoding="ascii").split()[0])
