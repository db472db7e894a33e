"""The copy of picks and people: a file that all processes share, built by the first that needs it."""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.mirror.loading import (
    copy_errors,
    create_table,
    insert_rows,
    load_table,
    quoted,
    require_columns,
    require_unique_ids,
)
from campaign_sync.crm.mirror.retention import FILE, mark_used
from campaign_sync.crm.mirror.shared_file import build_shared_file, complete_file, copies_lock
from campaign_sync.crm.mirror.source import MEMBER_COLUMNS, Source, SourceReader
from campaign_sync.crm.mirror.stored_values import Stored
from campaign_sync.crm.port import CrmError, CrmNeeds, Pick
from campaign_sync.crm.sql.picks import pick_title
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.instant import CLOCK_TOLERANCE

SCHEMA = "base"
"""The name under which the file is attached."""

_FORMAT = 3
"""Changes whenever the tables of the file do."""

_RETRY_PICKS_AFTER = timedelta(minutes=5)
"""How long a copy is used that lacks a pick, because the CRM didn't yield it."""

PICK_COLUMNS = ("digest", "number", "entity_type", "problem", "retryable")
"""The columns of the table `pick`: per pick the number of its table, the only type of its members, and why it lacks."""

_HOLDERS = ("address", "entity_type", "entity_id")


@dataclass(frozen=True)
class BaseFacts:
    """What a copy of picks and people was built for, and when."""

    picks: frozenset[str]
    """Digests of the picks."""
    columns: frozenset[str]
    configuration: str
    completed_at: datetime
    """When the last row had come: a read may take longer than a copy may be old."""
    as_of: datetime
    """The moment that the data show, by the source."""
    lacks_picks: bool
    version: str | None
    """By the source; None where only the age decides."""

    def has(self, needs: CrmNeeds, configuration: str) -> bool:
        """Return whether the copy has what is needed."""
        return (
            self.configuration == configuration
            and self.picks >= set(map(pick_digest, loaded_picks(needs)))
            and self.columns >= needs.columns
        )

    def is_current(self, version: str | None, max_age: timedelta, now: datetime) -> bool:
        """Return whether the copy is of this version and, if it lacks a pick or has no version, young enough."""
        if self.version != version:
            return False
        if version is not None and not self.lacks_picks:
            return True
        longest = min(max_age, _RETRY_PICKS_AFTER) if self.lacks_picks else max_age
        return -CLOCK_TOLERANCE <= now - self.completed_at < longest


def loaded_picks(needs: CrmNeeds) -> list[Pick]:
    """Return the picks that a source yields, in a stable order. Filters are evaluated on the copy."""
    return sorted((pick for pick in needs.picks if pick.kind != "filter"), key=pick_digest)


def pick_digest(pick: Pick) -> str:
    """Return what identifies a pick in the copy."""
    identity = json.dumps([pick.kind, pick.name, pick.entity_type])
    return hashlib.sha256(identity.encode()).hexdigest()


@dataclass(frozen=True)
class Base:
    """The file of picks and people in a folder.

    Args:
        source: the CRM.
        needs: the picks and columns that lists name.
        configuration: what else the rows depend on; a copy made with another one isn't used.
        folder: where the file is stored, for its owner alone.
    """

    source: Source
    needs: CrmNeeds
    configuration: str
    folder: Path

    @property
    def file(self) -> Path:
        """The file."""
        return self.folder / FILE

    def attach(self, connection: sqlite3.Connection, max_age: timedelta) -> BaseFacts:
        """Attach a copy that serves the needs to a connection, after building it where there is none.

        Args:
            connection: to the copy of consents.
            max_age: how old a copy may be, where the source doesn't know which version it is.

        Raises:
            CrmError: the CRM can't be read completely, or the file can't be written.
        """
        version = self.source.version()
        facts = self._attach_usable(connection, version, max_age)
        if facts is None:
            with copies_lock(self.folder):
                facts = self._attach_usable(connection, version, max_age) or self._build_and_attach(connection, version)
        return facts

    def _attach_usable(
        self, connection: sqlite3.Connection, version: str | None, max_age: timedelta
    ) -> BaseFacts | None:
        try:
            facts = attach_file(connection, self.file)
        except sqlite3.DatabaseError:  # missing, damaged, or in the format of another version
            _detach(connection)
            return None
        if facts.has(self.needs, self.configuration) and facts.is_current(version, max_age, datetime.now(UTC)):
            mark_used(self.file)
            return facts
        _detach(connection)
        return None

    def _build_and_attach(self, connection: sqlite3.Connection, version: str | None) -> BaseFacts:
        build_shared_file(self.file, lambda copy: self._build(copy, version), "copying people")
        with copy_errors("opening the copy"):
            return attach_file(connection, self.file)

    def _build(self, connection: sqlite3.Connection, version: str | None) -> None:
        with self.source.read(self.needs) as reader:
            lacks_picks = self._load_picks(connection, reader)
            _load_people(connection, reader)
            digests = json.dumps([pick_digest(pick) for pick in loaded_picks(self.needs)])
            columns = json.dumps(sorted(self.needs.columns))
            connection.execute(
                "CREATE TABLE facts AS SELECT ? AS format, ? AS picks, ? AS columns, ? AS configuration, "
                "? AS completed_at, ? AS as_of, ? AS lacks_picks, ? AS version",
                (
                    _FORMAT,
                    digests,
                    columns,
                    self.configuration,
                    *_iso(datetime.now(UTC), reader.as_of),
                    lacks_picks,
                    version,
                ),
            )

    def _load_picks(self, connection: sqlite3.Connection, reader: SourceReader) -> bool:
        """Load all picks, and return whether the CRM didn't yield one. That stops only the lists that name it."""
        connection.execute(f"CREATE TABLE pick ({', '.join(PICK_COLUMNS)})")
        lacks_picks = False
        for number, pick in enumerate(loaded_picks(self.needs)):
            problem, retryable, entity_type = None, True, pick.entity_type
            try:
                entity_type = _load_pick_or_again(connection, reader, pick, pick_table(number)) or entity_type
            except CrmError as error:
                problem, retryable, lacks_picks = str(error), error.retryable, True
                connection.execute(f"DROP TABLE IF EXISTS {pick_table(number)}")
            row = (pick_digest(pick), number, entity_type, problem, retryable)
            connection.execute("INSERT INTO pick VALUES (?, ?, ?, ?, ?)", row)
        return lacks_picks


def pick_table(number: int) -> str:
    """Return the name of the table with the members of a pick."""
    return f"pick_{number}"


def attach_file(connection: sqlite3.Connection, file: Path) -> BaseFacts:
    """Attach a complete copy. It never changes: a newer one is another file of this name."""
    connection.execute("ATTACH DATABASE ? AS base", (complete_file(file),))
    (version,) = connection.execute("SELECT format FROM base.facts").fetchone()
    if version != _FORMAT:
        raise sqlite3.DatabaseError("another format")
    picks, columns, configuration, completed_at, as_of, lacks_picks, source_version = connection.execute(
        "SELECT picks, columns, configuration, completed_at, as_of, lacks_picks, version FROM base.facts"
    ).fetchone()
    return BaseFacts(
        frozenset(json.loads(picks)),
        frozenset(json.loads(columns)),
        configuration,
        datetime.fromisoformat(completed_at),
        datetime.fromisoformat(as_of),
        bool(lacks_picks),
        source_version,
    )


def _load_pick_or_again(
    connection: sqlite3.Connection, reader: SourceReader, pick: Pick, table: str
) -> EntityType | None:
    """Load a pick as `_load_pick` does, and once more if that may help: its list would lack it for minutes."""
    try:
        return _load_pick(connection, reader, pick, table)
    except CrmError as error:
        if not error.retryable:
            raise
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    return _load_pick(connection, reader, pick, table)


def _load_pick(connection: sqlite3.Connection, reader: SourceReader, pick: Pick, table: str) -> EntityType | None:
    """Load the members of a pick, and return their only possible type; None if there are several."""
    rows, title = reader.pick(pick), f"the {pick_title(pick)}"
    require_columns(rows, MEMBER_COLUMNS, title)
    load_table(connection, table, rows, title)
    connection.execute(f"CREATE INDEX {quoted(f'{table}_member')} ON {quoted(table)} (entity_type, entity_id)")
    return rows.entity_type


def _load_people(connection: sqlite3.Connection, reader: SourceReader) -> None:
    create_table(connection, "address_holder", _HOLDERS)
    for entity_type in EntityType:
        rows = reader.people(entity_type)
        if missing := {"id", "email"} - set(rows.columns):
            raise CrmError(f"{entity_type} has no column {', '.join(sorted(missing))}; the CRM must yield it")
        positions = rows.columns.index("id"), rows.columns.index("email")
        load_table(
            connection,
            entity_type.value,
            rows,
            entity_type.value,
            partial(_add_holders, connection, entity_type, positions),
        )
        connection.execute(f"CREATE INDEX {entity_type}_id ON {entity_type} (id)")
        require_unique_ids(connection, entity_type.value)
    connection.execute("CREATE INDEX address_holder_address ON address_holder (address, entity_type, entity_id)")


def _add_holders(
    connection: sqlite3.Connection,
    entity_type: EntityType,
    positions: tuple[int, int],
    columns: Sequence[Sequence[Stored]],
) -> None:
    """Add the people of a chunk whose ids and addresses are at these positions."""
    ids, emails = (columns[position] for position in positions)
    keyed = zip(map(address_key, emails), ids, strict=True)
    holders = ((key, entity_type.value, id.strip()) for key, id in keyed if key and isinstance(id, str))
    insert_rows(connection, "address_holder", _HOLDERS, holders)


def _iso(*moments: datetime) -> list[str]:
    return [moment.astimezone(UTC).isoformat() for moment in moments]


def _detach(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.OperationalError):  # it isn't attached
        connection.execute("DETACH DATABASE base")
