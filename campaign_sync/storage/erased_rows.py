"""The removal of erased people from the state database, and from the pages that deleted rows leave behind."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Table, and_, delete, or_, select, text, update

from campaign_sync.domain.address import POSSIBLE_ADDRESS
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.erasure import Erasure, ErasureKey, SubjectKind
from campaign_sync.storage import consent_tables, tables
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.id_batches import batches

_RECORD = re.compile(rf"\b({'|'.join(EntityType)}):([^\s,;\"'<>()]*\w)", re.IGNORECASE)
"""A record of the CRM within a text."""

_LISTED = (
    (tables.unsubscribed_recipient, "recipient_id", "since"),
    (tables.list_unsubscribe, "recipient_id", "since"),
    (tables.blocked_address, "address", "first_seen"),
    (tables.unmatched_feedback, "recipient_id", "occurred_at"),
)
"""Tables whose rows keep an address from being written to, with its column and that of the time. They stay, with a hash
instead of the address."""

_OF_RECORDS = (
    (tables.rejection, "last_seen"),
    (tables.refused_withdrawal, "occurred_at"),
    (consent_tables.unshown_withdrawal, "occurred_at"),
)
"""Tables whose rows about a record are deleted, with the column of the time."""

_OF_PSEUDONYMS = (
    (tables.known_withdrawal, ("entity", "address"), "withdrawn_at"),
    (consent_tables.consent_observation, ("subject",), "since"),
    (consent_tables.unshown_withdrawal, ("address",), "occurred_at"),
    (consent_tables.shown_withdrawal, ("subject", "address"), "written_at"),
    (consent_tables.unshown_bounce, ("address",), "occurred_at"),
)
"""Tables whose rows about a pseudonym are deleted, with the column of the time. An erasure ends all consents, so that
none of them is needed as a suppression any more."""

_TEXTS = (
    (tables.feedback_import, "dismissed_because"),
    (tables.size_acceptance, "reason"),
    (tables.withdrawal_acceptance, "reason"),
    (tables.approval, "reason"),
)
"""Texts that people typed, who may have named an address or a record."""

_TOUCHED = sorted(
    {
        tables.write_back.name,
        tables.inquiry.name,
        *(table.name for table, *_ in (*_LISTED, *_OF_RECORDS, *_OF_PSEUDONYMS, *_TEXTS)),
    }
)

_ROWS_AT_ONCE = 10_000

_PATIENCE_SECONDS = 30
"""How long the compaction waits for others that use the database."""


@dataclass(frozen=True)
class SubjectLookup:
    """How the people of erasures are recognized in rows."""

    of_recipient_id: Callable[[str], Erasure | None]
    of_address: Callable[[str], Erasure | None]
    """In any spelling."""
    of_record: Callable[[str, str], Erasure | None]
    token_of_address: Callable[[str], str | None]
    key: ErasureKey


class ErasedRows:
    """Removes erased people from the tables. Rows whose consent or event is newer than the erasure stay as they are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def remove(self, lookup: SubjectLookup, erasures: Iterable[Erasure]) -> Counter[Erasure]:
        """Remove the people of these erasures from all tables. Return how many rows were changed or deleted."""
        by_id = {erasure.id: erasure for erasure in erasures}
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            removal = _Removal(connection, lookup, by_id)
            removal.run()
        return removal.rows

    def compact(self) -> None:
        """Rewrite what holds the people, so that neither free pages nor the write-ahead log have deleted rows.

        Raises:
            StateError: the database is in use. Try again.
        """
        options = {"isolation_level": "AUTOCOMMIT"}
        with self._engine.connect().execution_options(**options) as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(f"PRAGMA busy_timeout={_PATIENCE_SECONDS * 1000}")
                connection.exec_driver_sql("VACUUM")
                busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                if busy:
                    raise StateError(
                        "the state database (storage.state_url) is in use, so its write-ahead log still has deleted "
                        "rows; try again with `campaign-sync erase --retry`"
                    )
                return
            connection.execute(text(f"SET lock_timeout = '{_PATIENCE_SECONDS}s'"))
            quote = connection.dialect.identifier_preparer.quote
            for name in _TOUCHED:
                connection.execute(text(f"VACUUM (FULL, ANALYZE) {quote(name)}"))
            # The most frequent values of columns, as they were before. Skipped for who doesn't own the database.
            connection.execute(text("VACUUM (FULL) pg_catalog.pg_statistic"))
            connection.execute(text("RESET lock_timeout"))


class _Removal:
    def __init__(self, connection: Connection, lookup: SubjectLookup, by_id: dict[str, Erasure]) -> None:
        self._connection, self._lookup, self._by_id = connection, lookup, by_id
        self.rows: Counter[Erasure] = Counter()

    def run(self) -> None:
        self._write_backs()
        for table, column, time in _LISTED:
            self._replace_addresses(table, column, time)
        self._detach_unmatched()
        for table, time in _OF_RECORDS:
            self._delete_records(table, time)
        self._delete_refused_by_address()
        for table, columns, time in _OF_PSEUDONYMS:
            for column in columns:
                for erasure, pseudonyms in self._pseudonyms(table, column).items():
                    self._delete_pseudonyms(table, column, time, erasure, pseudonyms)
        self._hash_inquiries()
        for table, column in _TEXTS:
            self._clean_texts(table, column)

    def _replace_addresses(self, table: Table, column: str, time: str) -> None:
        key = list(table.primary_key)
        rows = self._connection.execute(select(*key, table.c[time].label("at"))).all()
        for row in rows:
            address = row._mapping[column]
            erasure = self._lookup.of_recipient_id(address)
            if erasure is None or row.at > erasure.until:
                continue
            token = self._lookup.token_of_address(address)
            values = {part.name: row._mapping[part.name] for part in key}
            is_it, hashed = _is(table, values), {**values, column: token}
            if self._connection.execute(select(*key).where(_is(table, hashed))).first():
                self._connection.execute(delete(table).where(is_it))
            else:
                self._connection.execute(update(table).where(is_it).values({column: token}))
            self.rows[erasure] += 1

    def _detach_unmatched(self) -> None:
        """Let unmatched feedback name no record of an erased person."""
        table = tables.unmatched_feedback
        for kind, entity_id, erasure in self._erased_records(table):
            is_theirs = _is(table, {"entity_type": kind, "entity_id": entity_id})
            change = update(table).where(is_theirs, table.c.occurred_at <= erasure.until)
            self.rows[erasure] += self._connection.execute(change.values(entity_type=None, entity_id=None)).rowcount

    def _erased_records(self, table: Table) -> Iterator[tuple[str, str, Erasure]]:
        columns = table.c["entity_type", "entity_id"]
        rows = self._connection.execute(select(*columns).where(table.c.entity_id.is_not(None)).distinct()).all()
        for kind, entity_id in rows:
            if erasure := self._lookup.of_record(kind, entity_id):
                yield kind, entity_id, erasure

    def _delete_records(self, table: Table, time: str) -> None:
        for kind, entity_id, erasure in self._erased_records(table):
            is_theirs = _is(table, {"entity_type": kind, "entity_id": entity_id})
            self._delete(table, and_(is_theirs, table.c[time] <= erasure.until), erasure)

    def _delete_refused_by_address(self) -> None:
        table = tables.refused_withdrawal
        for address in self._connection.execute(select(table.c.recipient_id).distinct()).scalars().all():
            if erasure := self._lookup.of_recipient_id(address):
                is_theirs = (table.c.recipient_id == address) & (table.c.occurred_at <= erasure.until)
                self._delete(table, is_theirs, erasure)

    def _write_backs(self) -> None:
        """Let entries in the CRM name no erased person: they stay, for reports count them."""
        table = tables.write_back
        for kind, entity_id, erasure in list(self._erased_records(table)):
            is_theirs = _is(table, {"entity_type": kind, "entity_id": entity_id})
            self._anonymize(self._connection.execute(select(table).where(is_theirs)).all(), erasure)
        for erasure, pseudonyms in self._pseudonyms(table, "recipient").items():
            for batch in batches(pseudonyms):
                rows = self._connection.execute(select(table).where(table.c.recipient.in_(batch))).all()
                self._anonymize(rows, erasure)

    def _anonymize(self, rows: Sequence[Row[Any]], erasure: Erasure) -> None:
        table, shown = tables.write_back, consent_tables.shown_withdrawal
        keyed = self._lookup.key.of_record
        for row in rows:
            if row.written_at > erasure.until:
                continue
            if row.event_id:
                self._connection.execute(delete(shown).where(shown.c.event_id == row.event_id))
            values = {
                "id": keyed(row.id),
                "recipient": keyed(row.recipient),
                "entity_type": None,
                "entity_id": None,
                "event_id": keyed(row.event_id) if row.event_id else None,
            }
            self._connection.execute(update(table).where(table.c.id == row.id).values(values))
            self.rows[erasure] += 1

    def _pseudonyms(self, table: Table, column: str) -> dict[Erasure, list[str]]:
        """Return the pseudonyms of erased people in a column. Only their hashes are known."""
        query = select(table.c[column]).distinct().execution_options(yield_per=_ROWS_AT_ONCE)
        pseudonyms: dict[Erasure, list[str]] = {}
        for values in self._connection.execute(query).scalars().partitions():
            digests = self._lookup.key.digests(SubjectKind.PSEUDONYM, values)
            for pseudonym, digest in zip(values, digests, strict=True):
                for erasure in self._of_pseudonyms.get(digest, ()):
                    pseudonyms.setdefault(erasure, []).append(pseudonym)
        return pseudonyms

    @cached_property
    def _of_pseudonyms(self) -> dict[bytes | None, list[Erasure]]:
        erasures: dict[bytes | None, list[Erasure]] = {}
        for erasure in self._by_id.values():
            for kind, digest in erasure.subjects:
                if kind is SubjectKind.PSEUDONYM:
                    erasures.setdefault(bytes.fromhex(digest), []).append(erasure)
        return erasures

    def _delete_pseudonyms(
        self, table: Table, column: str, time: str, erasure: Erasure, pseudonyms: Sequence[str]
    ) -> None:
        is_older = or_(table.c[time].is_(None), table.c[time] <= erasure.until)
        for batch in batches(pseudonyms):
            self._delete(table, and_(table.c[column].in_(batch), is_older), erasure)

    def _hash_inquiries(self) -> None:
        """Let inquiries name an erased person by a hash: who asked can be found with the key of erasures only."""
        table = tables.inquiry
        for erasure, pseudonyms in self._pseudonyms(table, "subject").items():
            for pseudonym in pseudonyms:
                hashed = update(table).where(table.c.subject == pseudonym)
                values = {"subject": self._lookup.key.of_pseudonym(pseudonym)}
                self.rows[erasure] += self._connection.execute(hashed.values(values)).rowcount

    def _clean_texts(self, table: Table, column: str) -> None:
        key = list(table.primary_key)
        may_name = or_(table.c[column].like("%@%"), table.c[column].like("%:%"))
        for row in self._connection.execute(select(*key, table.c[column]).where(may_name)).all():
            typed: str = row._mapping[column]
            named = [
                *((match[0], self._lookup.of_address(match[0])) for match in POSSIBLE_ADDRESS.finditer(typed)),
                *((match[0], self._lookup.of_record(match[1].lower(), match[2])) for match in _RECORD.finditer(typed)),
            ]
            erasures = {name: erasure for name, erasure in named if erasure}
            for name, erasure in erasures.items():
                typed = typed.replace(name, "…")
                self.rows[erasure] += 1
            if erasures:
                is_it = _is(table, {part.name: row._mapping[part.name] for part in key})
                self._connection.execute(update(table).where(is_it).values({column: typed}))

    def _delete(self, table: Table, condition: ColumnElement[bool], erasure: Erasure) -> None:
        self.rows[erasure] += self._connection.execute(delete(table).where(condition)).rowcount


def _is(table: Table, values: dict[str, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in values.items()))
