"""Records in a file that all processes share: read as a whole now and then, and what changed since for every view."""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from campaign_sync.crm.mirror.loading import copy_errors, quoted
from campaign_sync.crm.mirror.retention import RECORDS_FILE, mark_used
from campaign_sync.crm.mirror.shared_file import build_shared_file, complete_file, copies_lock
from campaign_sync.domain.instant import CLOCK_TOLERANCE
from campaign_sync.domain.progress import Progress, report

_log = logging.getLogger(__name__)

OVERLAP: Final = timedelta(minutes=15)
"""How much further back changes are asked for: a change shows when it is committed, with the time of its begin.

It covers the longest transactions. After a load of very many records everything is read again until it is as long ago.
"""

MOST_CHANGES: Final = 20_000
"""If more records of a table changed, all are read again."""

_FORMAT = 3
"""Changes whenever the tables of the file do."""

_CHUNK = 5_000
"""How many records a row of the file has, as JSON: decoding them together takes a third of the time."""

Values = Any
"""The values of a record, of kinds that JSON has."""

Record = tuple[str, Values]
"""The key of a record, and its values."""


@dataclass(frozen=True)
class RecordTable:
    """Records of one kind."""

    name: str
    query: str
    """What is read of them: a file that has something else isn't used."""


Table = TypeVar("Table", bound=RecordTable, contravariant=True)


class RecordApi(Protocol[Table]):
    """Reads the records of a CRM."""

    def begin(self) -> datetime | None:
        """Return the time by the CRM's own clock, before everything is read; None if the CRM doesn't say.

        Raises:
            CrmError: the CRM can't be reached, or too few calls are left.
        """

    def everything(self, table: Table) -> Iterator[Sequence[Record]]:
        """Yield all records that matter.

        Raises:
            CrmError: not all came.
        """

    def changed(self, table: Table, since: datetime, most: int) -> Mapping[str, Values | None] | None:
        """Return the records that changed since a moment, by their keys.

        Args:
            table: which records.
            since: by the CRM's own clock.
            most: how many there may be.

        Returns:
            Those that don't matter (any more) are None, or have values that mean nothing. None if they are too many, or
            the CRM can't say which changed.
        """


@dataclass(frozen=True)
class SharedRecords:
    """The file of records in a folder.

    Args:
        folder: where the file is stored, for its owner alone.
        place: which CRM is read, by whom; without secrets.
        max_age: how old a file may be. What changed since is asked for in any case, so this is the age of what no
            change shows: records that were removed, and values that are calculated.
    """

    folder: Path
    place: str
    max_age: timedelta

    @contextmanager
    def open(self, api: RecordApi[Table], tables: Sequence[Table]) -> "Iterator[OpenRecords]":
        """Open the records as they are now.

        Args:
            api: reads the CRM.
            tables: all that are stored.

        Raises:
            CrmError: the CRM can't be read completely, or the file can't be written.
        """
        file, is_own = self._young(api, tables)
        try:
            changes = _changes(api, tables, file.as_of)
            if changes is None and not is_own:
                _log.info("it isn't known what changed, or it is too much, so all records are read again")
                file.connection.close()
                file = self._built(api, tables)
                changes = _changes(api, tables, file.as_of)
            yield OpenRecords(file.connection, changes or {})
        finally:
            file.connection.close()

    @property
    def _path(self) -> Path:
        return self.folder / RECORDS_FILE

    def _young(self, api: RecordApi[Table], tables: Sequence[Table]) -> "tuple[_File, bool]":
        """Open a file that is young enough, and return whether it was built for that."""
        identity = _identity(self.place, tables)
        if file := self._usable(identity):
            return file, False
        with copies_lock(self.folder):
            if file := self._usable(identity):  # another process has built it meanwhile
                return file, False
            return self._built(api, tables), True

    def _built(self, api: RecordApi[Table], tables: Sequence[Table]) -> "_File":
        with copies_lock(self.folder):
            build = partial(_build, api, tables, _identity(self.place, tables))
            build_shared_file(self._path, build, "copying records")
            with copy_errors("opening the copy"):
                return _opened(self._path)

    def _usable(self, identity: str) -> "_File | None":
        try:
            file = _opened(self._path)
        except sqlite3.DatabaseError:  # missing, damaged, or in the format of another version
            return None
        age = datetime.now(UTC) - file.completed_at
        if file.identity == identity and -CLOCK_TOLERANCE <= age < self.max_age:
            mark_used(self._path)
            return file
        file.connection.close()
        return None


class OpenRecords:
    """Reads the records as they are now.

    Args:
        connection: to the file.
        changes: what changed since it was read, by the names of tables.
    """

    def __init__(self, connection: sqlite3.Connection, changes: Mapping[str, Mapping[str, Values | None]]) -> None:
        self._connection, self._changes = connection, changes

    def values(self, table: RecordTable) -> Iterator[Sequence[Values]]:
        """Yield the values of all records of a table, in chunks."""
        changes = self._changes.get(table.name, {})
        query = f"SELECT records FROM {quoted(table.name)}"  # noqa: S608
        with copy_errors("reading the copy", (sqlite3.Error,)), closing(self._connection.execute(query)) as rows:
            for (records,) in rows:
                yield [values for key, values in json.loads(records) if key not in changes]
        yield [values for values in changes.values() if values is not None]


@dataclass(frozen=True)
class _File:
    """A complete file."""

    connection: sqlite3.Connection
    identity: str
    completed_at: datetime
    """When the last record had come: a read may take longer than a file may be old."""
    as_of: datetime | None
    """By the CRM's own clock."""


def _identity(place: str, tables: Sequence[RecordTable]) -> str:
    described = json.dumps([_FORMAT, place, *([table.name, table.query] for table in tables)])
    return hashlib.sha256(described.encode()).hexdigest()


def _build(api: RecordApi[Table], tables: Sequence[Table], identity: str, connection: sqlite3.Connection) -> None:
    as_of = api.begin()
    for table in tables:
        connection.execute(f"CREATE TABLE {quoted(table.name)} (records TEXT)")
        statement = f"INSERT INTO {quoted(table.name)} VALUES (?)"  # noqa: S608
        done = 0
        for records in api.everything(table):
            parts = (records[start : start + _CHUNK] for start in range(0, len(records), _CHUNK))
            connection.executemany(statement, ((json.dumps(part),) for part in parts))
            done += len(records)
            report(Progress("", "CRM", f"read consents and bounces of {table.name}", done, None))
    connection.execute(
        "CREATE TABLE facts AS SELECT ? AS identity, ? AS completed_at, ? AS as_of",
        (identity, datetime.now(UTC).isoformat(), as_of and as_of.isoformat()),
    )


def _opened(path: Path) -> _File:
    connection = sqlite3.connect(complete_file(path), uri=True, isolation_level=None, check_same_thread=False)
    try:
        identity, completed_at, as_of = connection.execute("SELECT identity, completed_at, as_of FROM facts").fetchone()
    except BaseException:
        connection.close()
        raise
    return _File(connection, identity, datetime.fromisoformat(completed_at), as_of and datetime.fromisoformat(as_of))


def _changes(
    api: RecordApi[Table], tables: Sequence[Table], as_of: datetime | None
) -> dict[str, Mapping[str, Values | None]] | None:
    """Return what changed, by the names of tables; None if that is too much, or isn't known."""
    if as_of is None:
        return None
    changes = {}
    for table in tables:
        changed = api.changed(table, as_of - OVERLAP, MOST_CHANGES)
        if changed is None:
            return None
        changes[table.name] = changed
    return changes
