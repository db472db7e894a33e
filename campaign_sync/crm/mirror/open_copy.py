"""An open copy: picks, people, consents and bounces in one read-only connection."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, StaticPool, create_engine

from campaign_sync.crm.mirror.base import SCHEMA, Base
from campaign_sync.crm.mirror.consents import ConsentLoader, private_database, remove_leftovers
from campaign_sync.crm.mirror.loading import copy_errors, pause_garbage_collection, quoted
from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.crm.mirror.picks import CopiedPicks
from campaign_sync.crm.mirror.unshown import FeedbackOverlay
from campaign_sync.crm.port import CopyTimes
from campaign_sync.crm.sql.crm_snapshot import FrozenSnapshot
from campaign_sync.crm.sql.engine import crm_errors, stored_text
from campaign_sync.domain.consent import ConsentWords, OptIn


class CopiedSnapshot(FrozenSnapshot):
    """Reads a copy, and says of when it is."""

    def __init__(self, connection: Connection, words: ConsentWords, copy_times: CopyTimes) -> None:
        super().__init__(connection, words, CopiedPicks)
        self._copy_times = copy_times

    @property
    def copy_times(self) -> CopyTimes:
        """Return the moments that the copy shows. See `CrmSnapshot.copy_times`."""
        return self._copy_times


@dataclass(frozen=True)
class OpenCopy:
    """A copy of the CRM as it was at one moment."""

    connection: Connection
    snapshot: CopiedSnapshot
    now: datetime
    """When it was opened."""


@dataclass(frozen=True)
class Copies:
    """Opens copies of a CRM.

    Args:
        base: the copy of picks and people.
        words: how the CRM calls what happens to a consent.
        opt_ins: those of the configuration.
        memory: what the CRM showed before, and what was written to it.
    """

    base: Base
    words: ConsentWords
    opt_ins: tuple[OptIn, ...]
    memory: ConsentMemory

    @contextmanager
    def open(self, opt_in_ids: Collection[str] | None, max_age: timedelta) -> Iterator[OpenCopy]:
        """Open a copy whose consents are read now.

        Args:
            opt_in_ids: the opt-ins whose consents are needed; all if None.
            max_age: how old people and picks may be.

        Raises:
            CrmError: the CRM can't be read completely, or the copy can't be stored.
        """
        remove_leftovers(self.base.folder)
        with private_database(self.base.folder) as database:
            with pause_garbage_collection():
                facts = self.base.attach(database, max_age)
                now = datetime.now(UTC)
                # Consents are read after the people: an earlier read could lack the withdrawal of a person who is new.
                consents_as_of = self._load_consents(database, opt_in_ids, now)
            with _connected(database, self.base.file) as connection:
                with crm_errors(connection.engine, "adding what the CRM doesn't show yet"):
                    FeedbackOverlay(connection, self.words, self.memory, now).add(opt_in_ids)
                    connection.exec_driver_sql("PRAGMA query_only=ON")
                snapshot = CopiedSnapshot(connection, self.words, CopyTimes(facts.as_of, consents_as_of))
                yield OpenCopy(connection, snapshot, now)

    def _load_consents(
        self, database: sqlite3.Connection, opt_in_ids: Collection[str] | None, now: datetime
    ) -> datetime:
        """Load the consents of now, and return the moment that they show."""
        with copy_errors("copying consents", (sqlite3.Error,)), self.base.source.read(self.base.needs) as reader:
            ConsentLoader(database, self.words, self.opt_ins, self.memory, now).load(reader, opt_in_ids)
            return reader.as_of


@contextmanager
def _connected(database: sqlite3.Connection, file: Path) -> Iterator[Connection]:
    """Open a SQLAlchemy connection on the database, in which the tables of people have their names of the contract."""
    with copy_errors("opening the copy"):
        database.text_factory = stored_text
        tables = database.execute(f"SELECT name FROM {SCHEMA}.sqlite_master WHERE type = 'table'").fetchall()  # noqa: S608
        for (name,) in tables:  # what isn't in a view has no columns for SQLAlchemy
            view = f"CREATE TEMP VIEW {quoted(name)} AS SELECT * FROM {SCHEMA}.{quoted(name)}"  # noqa: S608
            database.execute(view)
    engine = create_engine(f"sqlite:///{file}", creator=lambda: database, poolclass=StaticPool, hide_parameters=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        yield connection
