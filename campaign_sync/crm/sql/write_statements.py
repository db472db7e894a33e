"""Configured statements that write feedback into a foreign schema, run for each withdrawal or bounce."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, TextClause, bindparam, text
from sqlalchemy.exc import DBAPIError, StatementError

from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.chunks import chunks
from campaign_sync.crm.sql.database_errors import is_about_row
from campaign_sync.crm.sql.engine import MYSQL, crm_errors, read_only
from campaign_sync.crm.sql.schema import UtcTime

Parameters = Mapping[str, Any]

_CHUNK = 500
"""How many withdrawals or bounces go into one transaction."""

_OF_RECORDS = frozenset({"entity_type", "entity_id", "email"})

_EXPLAINABLE = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)

Record = TypeVar("Record", Withdrawal, BounceMark)


class WriteStatements:
    """The statements for one kind of feedback.

    Args:
        engine: the CRM.
        statements: SQL with named parameters.
        doing: what they are for; for messages.
        setting: where they are configured; for messages.
    """

    def __init__(self, engine: Engine, statements: Sequence[str], doing: str, setting: str) -> None:
        self._engine, self._doing, self._setting = engine, doing, setting
        self._statements = [_prepared(statement) for statement in statements]
        self._names = [_names(statement) for statement in self._statements]
        self.parameters = frozenset(name for names in self._names for name in names)

    def flaws(self) -> Iterator[str]:
        """Yield why the database refuses a statement; none is run.

        Only those that the database can explain are tried: INSERT, UPDATE, DELETE, and WITH before them.
        """
        for number, statement in enumerate(self._statements, start=1):
            if not _EXPLAINABLE.match(statement.text):
                continue
            place = f"checking statement {number} of {self._setting}"
            try:
                with crm_errors(self._engine, place), self._explaining() as connection:
                    connection.execute(_prepared(f"EXPLAIN {statement.text}"), dict.fromkeys(_names(statement)))
            except CrmError as error:
                yield str(error)

    def _explaining(self) -> AbstractContextManager[Connection]:
        # MariaDB explains no UPDATE in a read-only transaction.
        return self._engine.connect() if self._engine.dialect.name in MYSQL else read_only(self._engine)

    def write(
        self, records: Sequence[Record], parameters: Callable[[Record], Sequence[Parameters]]
    ) -> Iterator[Sequence[Record]]:
        """Run the statements, and yield, part by part, the records for which they were committed.

        A record that the database refuses, such as by a constraint or a lock, is left out; the others are written.

        Raises:
            CrmError: the database can't be reached, or refuses a statement whatever its values.
        """
        for chunk in chunks(records, _CHUNK):
            yield self._accepted(chunk, parameters)

    def _accepted(
        self, chunk: Sequence[Record], parameters: Callable[[Record], Sequence[Parameters]]
    ) -> Sequence[Record]:
        if self._commit(chunk, parameters):
            return chunk
        # A transaction of its own for each: after a deadlock, a database has rolled back the savepoints as well.
        return [record for record in chunk if self._commit([record], parameters)]

    def _commit(self, records: Sequence[Record], parameters: Callable[[Record], Sequence[Parameters]]) -> bool:
        """Run the statements in one transaction. Returns whether it was committed: no record was refused."""
        with crm_errors(self._engine, self._doing):
            try:
                with self._engine.begin() as connection:
                    for record in records:
                        self._run(connection, parameters(record))
            except (StatementError, ValueError) as error:  # psycopg2 raises ValueError for a text with NUL
                if isinstance(error, DBAPIError) and not is_about_row(error):
                    raise
                return False
        return True

    def _run(self, connection: Connection, parameters: Sequence[Parameters]) -> None:
        for values in parameters:
            for statement, names in zip(self._statements, self._names, strict=True):
                connection.execute(statement, {name: values[name] for name in names})


def withdrawal_parameters(withdrawal: Withdrawal) -> Sequence[Parameters]:
    """Return the parameters of the statements for a withdrawal."""
    values = {
        "event_id": withdrawal.event_id,
        "entity_type": withdrawal.entity.entity_type.value,
        "entity_id": withdrawal.entity.entity_id,
        "email": withdrawal.email,
        "opt_in_id": withdrawal.opt_in_id,
        "mandator": withdrawal.mandator,
        "occurred_at": withdrawal.occurred_at,
        "source": withdrawal.source,
        "evidence": withdrawal.evidence,
    }
    return [values]


def bounce_parameters(named: Collection[str], bounce: BounceMark) -> Sequence[Parameters]:
    """Return the parameters of the statements for a bounce, for every record if the statements name one.

    Args:
        named: the parameters of the statements.
        bounce: the bounced address.
    """
    values = {
        "event_id": bounce.event_id,
        "address": bounce.address,
        "bounce_kind": bounce.kind.value,
        "occurred_at": bounce.occurred_at,
        "mandator": bounce.mandator,
        "source": bounce.source,
    }
    if not _OF_RECORDS & set(named):
        return [values]
    return [
        {**values, "entity_type": entity.entity_type.value, "entity_id": entity.entity_id, "email": email}
        for entity, email in bounce.holders
    ]


def _prepared(statement: str) -> TextClause:
    clause = text(statement)
    return clause.bindparams(bindparam("occurred_at", type_=UtcTime())) if "occurred_at" in _names(clause) else clause


def _names(statement: TextClause) -> Collection[str]:
    return list(statement.compile().params)
