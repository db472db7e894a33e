"""Tables and queries of a foreign schema as streams of rows, in one read-only transaction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, TextClause, text

from campaign_sync.config import TableMapping
from campaign_sync.crm.mirror.source import SourceRows
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.column_values import Converter, converter_of
from campaign_sync.crm.sql.engine import MYSQL, crm_errors
from campaign_sync.crm.sql.query_text import strip_query_end

_CHUNK_ROWS = 5_000

_STREAMING = {"stream_results": True, "max_row_buffer": _CHUNK_ROWS}
"""SQLAlchemy ignores `yield_per` for statements in text."""

_TIMES = frozenset({"occurred_at", "changed_at", "bounced_at"})


@dataclass(frozen=True)
class Relation:
    """A table or query of the CRM."""

    source: str
    """The SQL after FROM."""
    columns: tuple[str, ...]
    place: str
    """Where it is configured; for messages."""
    ignores_case: bool = False
    """Whether the database takes names of columns that differ in case for the same."""

    def stored(self, name: str) -> str | None:
        """Return a column as the database spells it; None if there is no such column, or several but for the case."""
        if name in self.columns:
            return name
        same = [column for column in self.columns if column.casefold() == name.casefold()] if self.ignores_case else []
        return same[0] if len(same) == 1 else None


@dataclass(frozen=True)
class _Column:
    """A column that is yielded: one of the relation, or a constant."""

    stored: str | None
    constant: str | None
    convert: Converter


class MappedStreams:
    """Reads relations in the transaction of a connection, one at a time, each to its end.

    Args:
        connection: its transaction is read-only and sees one moment.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect
        self._is_open = False
        self._result: CursorResult[Any] | None = None

    def close(self) -> None:
        """End a stream that wasn't read to its end. The driver fetches the rest: the connection can't be used before.

        Call it before the connection is closed.
        """
        if self._result is not None:
            self._result.close()

    def relation(self, mapping: TableMapping, place: str) -> Relation:
        """Return a mapped table or query with its columns.

        Raises:
            CrmError: the database refuses it: a syntax error, a missing table, a missing privilege. Or it lacks a
                column that the mapping names: read as empty, it could make a consent of one opt-in that of all.
        """
        source = self._table(mapping.table) if mapping.table else _subquery(mapping.query or "", place)
        relation = self._relation(source, place)
        if flaws := [_no_column(relation, name) for name in mapping.columns.values() if not relation.stored(name)]:
            raise CrmError("; ".join(flaws))
        return relation

    def query(self, sql: str, place: str) -> Relation:
        """Return a query with its columns. Raises CrmError if the database refuses it."""
        return self._relation(_subquery(sql, place), place)

    def table(self, name: str, place: str) -> Relation:
        """Return a table or view with its columns. Raises CrmError if the database refuses it."""
        return self._relation(self._table(name), place)

    def rows(
        self,
        relation: Relation,
        names: Sequence[str],
        mapping: TableMapping | None = None,
        where: tuple[str, object] | None = None,
        limit: int | None = None,
    ) -> SourceRows:
        """Return the rows of a relation.

        Args:
            relation: what is read.
            names: the columns that are yielded. Those that neither the relation nor a constant has are None.
            mapping: the relation's names for these columns, and constants.
            where: a column (by its name here) and its value, if not all rows are wanted.
            limit: how many rows are yielded; all are counted.
        """
        columns = [_column(name, relation, mapping) for name in names]
        selected = ", ".join(self._selected(name, of) for name, of in _with_names(columns, names)) or "1"
        tail, parameters = f"FROM {_escaped(relation.source)}", {}
        if where:
            stored = _stored_name(where[0], mapping)
            tail += f" WHERE {_escaped(self._compared(relation.stored(stored) or stored))} = :wanted"
            parameters = {"wanted": where[1]}
        query = text(f"SELECT {_escaped(selected)} {tail}" + (f" LIMIT {limit}" if limit else ""))
        count = text(f"SELECT count(*) {tail}")
        return SourceRows(
            tuple(names),
            self._converted(query, parameters, columns, relation.place),
            lambda: self._count(count, parameters, relation.place),
        )

    def counts(self, relation: Relation, name: str, mapping: TableMapping) -> Sequence[tuple[object, int]]:
        """Return the values of a column of words, and how often each occurs."""
        column = _column(name, relation, mapping)
        value = self._quoted(column.stored) if column.stored else "NULL"
        query = text(f"SELECT {_escaped(value)}, count(*) FROM {_escaped(relation.source)} GROUP BY 1")  # noqa: S608
        with self._reading(relation.place), self._savepoint():
            rows = self._connection.execute(query).all()
        words = column.convert([row[0] for row in rows], relation.place) if column.stored else [column.constant]
        return [(word, int(row[1])) for word, row in zip(words, rows, strict=False)]

    def _converted(
        self, query: TextClause, parameters: Mapping[str, object], columns: Sequence[_Column], place: str
    ) -> Iterator[Sequence[Sequence[object]]]:
        for chunk in self._stream(query, parameters, place):
            stored = iter(zip(*chunk, strict=True))
            values = [
                [column.constant] * len(chunk) if column.stored is None else column.convert(next(stored), place)
                for column in columns
            ]
            yield list(zip(*values, strict=True))

    def _stream(
        self, query: TextClause, parameters: Mapping[str, object], place: str
    ) -> Iterator[Sequence[Sequence[Any]]]:
        with self._reading(place):
            with self._savepoint():
                result = self._connection.execute(query, dict(parameters), execution_options=_STREAMING)
                self._result = result
                chunks = result.partitions(_CHUNK_ROWS)
                chunk = next(chunks, None)
            try:
                while chunk:
                    yield chunk
                    chunk = next(chunks, None)
            finally:
                result.close()
                self._result = None

    def _count(self, query: TextClause, parameters: Mapping[str, object], place: str) -> int:
        with self._reading(place), self._savepoint():
            return int(self._connection.execute(query, dict(parameters)).scalar_one())

    @contextmanager
    def _reading(self, place: str) -> Iterator[None]:
        """Send no other statement before a stream has ended: a driver may discard its rows."""
        if self._is_open:
            raise RuntimeError("a stream of this connection is still open")
        self._is_open, problem = True, None
        try:
            with crm_errors(self._connection.engine, f"reading {place}"):
                yield
        except UnicodeDecodeError:
            problem = "a text isn't UTF-8; the database lets any bytes in (SQL_ASCII?), convert it to UTF-8"
        except (ValueError, OverflowError):
            problem = "a date or time can't be read (before the year 1 or after 9999?); correct it in the CRM"
        finally:
            self._is_open = False
        if problem:
            raise CrmError(f"reading {place}: {problem}")

    def _savepoint(self) -> AbstractContextManager[object]:
        """On PostgreSQL, keep the transaction usable if a statement fails. Elsewhere it is, without."""
        return self._connection.begin_nested() if self._dialect.name == "postgresql" else nullcontext()

    def _relation(self, source: str, place: str) -> Relation:
        with self._reading(place), self._savepoint():
            statement = f"SELECT * FROM {_escaped(source)} WHERE 1 = 0"  # noqa: S608 - trusted: from the configuration
            result = self._connection.execute(text(statement))
            columns = tuple(map(str, result.keys()))
            result.close()
        return Relation(source, columns, place, self._dialect.name in (*MYSQL, "sqlite"))

    def _table(self, name: str) -> str:
        return ".".join(map(self._quoted, name.split("."))) + " AS crm_rows"

    def _quoted(self, name: str) -> str:
        return self._dialect.identifier_preparer.quote_identifier(name)

    def _compared(self, stored: str) -> str:
        """Return a column as it is compared with text. SQLite alone takes a number for another value than its text."""
        quoted = self._quoted(stored)
        return f"CAST({quoted} AS TEXT)" if self._dialect.name == "sqlite" else quoted

    def _selected(self, stored: str, name: str) -> str:
        quoted = self._quoted(stored)
        # Drivers can't represent `infinity`.
        return f"CAST({quoted} AS text)" if name in _TIMES and self._dialect.name == "postgresql" else quoted


def missing_columns(relation: Relation, mapping: TableMapping, required: Sequence[str]) -> list[str]:
    """Return a sentence for each required column that neither the relation nor a constant has."""
    return [
        _no_column(relation, _stored_name(name, mapping))
        for name in required
        if name not in mapping.constants and not relation.stored(_stored_name(name, mapping))
    ]


def _no_column(relation: Relation, name: str) -> str:
    return (
        f"{relation.place} has no column {name}; name its column in {relation.place}.columns, it has "
        f"{', '.join(relation.columns)}"
    )


def has_column(relation: Relation, mapping: TableMapping, name: str) -> bool:
    """Return whether a relation, or a constant, has a column of the contract."""
    return not missing_columns(relation, mapping, [name])


def _column(name: str, relation: Relation, mapping: TableMapping | None) -> _Column:
    if mapping and name in mapping.constants:
        return _Column(None, mapping.constants[name], converter_of(name))
    return _Column(relation.stored(_stored_name(name, mapping)), None, converter_of(name))


def _with_names(columns: Sequence[_Column], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for column, name in zip(columns, names, strict=True):
        if column.stored is not None:
            yield column.stored, name


def _stored_name(name: str, mapping: TableMapping | None) -> str:
    return mapping.columns.get(name, name) if mapping else name


def _subquery(sql: str, place: str) -> str:
    query = strip_query_end(sql).strip()
    if not query:
        raise CrmError(f"{place} is an empty query")
    return f"(\n{query}\n) AS crm_rows"


def _escaped(sql: str) -> str:
    """Return SQL whose colons begin no parameters."""
    return sql.replace(":", "\\:")


RowFilter = Callable[[Sequence[object]], bool]


def filtered(rows: SourceRows, keep: RowFilter) -> SourceRows:
    """Return only the rows that are to be kept; the others don't count as expected, either."""
    dropped = 0

    def chunks() -> Iterator[Sequence[Sequence[object]]]:
        nonlocal dropped
        for chunk in rows.chunks:
            kept = [row for row in chunk if keep(row)]
            dropped += len(chunk) - len(kept)
            yield kept

    return SourceRows(rows.columns, chunks(), lambda: rows.expected() - dropped)
