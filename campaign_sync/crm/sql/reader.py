"""Tables, views and queries of a CRM in a SQL database, with their values as stored."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Dialect,
    FromClause,
    Row,
    Select,
    String,
    TableClause,
    Text,
    case,
    cast,
    collate,
    column,
    func,
    inspect,
    null,
    or_,
    select,
    table,
    true,
    type_coerce,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import Boolean, NullType, TypeDecorator, TypeEngine, UserDefinedType

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.arrow_columns import (
    Columns,
    StoredText,
    concat_rows,
    group_starts,
    postgresql_columns,
    slice_rows,
    sqlite_columns,
)
from campaign_sync.crm.sql.engine import crm_errors
from campaign_sync.domain.instant import parse_instant

_BLANKS = "".join(character for character in map(chr, range(0x3001)) if character.isspace())
"""The characters that Python's `strip` removes, for databases in Unicode."""

AnyRow = Row[*tuple[Any, ...]]
"""A row of a query whose columns aren't known to the type checker."""

Chunk = TypeVar("Chunk", Sequence[AnyRow], Columns)

_CHUNK_ROWS = 20_000

_MOST_VALUES = 10_000

_ASCII_BLANKS = "".join(character for character in _BLANKS if character.isascii())


class _AsStored(UserDefinedType[Any]):
    """A column of SQLite, whose declared type says little about its values: each is read as it is stored.

    Converted are only 0 and 1 in a boolean column, and ISO dates and times in a column of these.
    """

    cache_ok = True

    def __init__(self, declared: TypeEngine[Any]) -> None:
        self.declared = declared

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return a converter for truth values or times; None for all other columns."""
        if isinstance(self.declared, Boolean):
            return lambda value: bool(value) if type(value) is int and value in (0, 1) else value
        if isinstance(self.declared, Date | DateTime):
            return lambda value: _time(value) if isinstance(value, str) else value
        return None


class SqlReader:
    """Reads from a CRM in the transaction of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.dialect = connection.dialect.name
        self._tables: dict[str, TableClause] = {}
        self._with_clean_key: dict[tuple[FromClause, str], FromClause] = {}

    def table(self, name: str, named_by: str = "the CRM contract") -> TableClause:
        """Return a table or view with its actual columns.

        Raises:
            CrmError: it doesn't exist.
        """
        if name not in self._tables:
            schema, _, bare = name.rpartition(".")
            with crm_errors(self.connection.engine, f"inspecting {name}"):
                try:
                    infos = inspect(self.connection).get_columns(bare, schema=schema or None)
                except NoSuchTableError:
                    raise CrmError(f"the CRM has no table or view {name}, which {named_by} asks for") from None
            stores = self._stores_rows(schema, bare)
            columns = [
                column(info["name"], self._type(info["type"], stores and "computed" not in info)) for info in infos
            ]
            self._tables[name] = table(bare, *columns, schema=schema or None)
        return self._tables[name]

    def moment(self, stored: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column of times as `domain.instant_columns` parses them: drivers can't represent `infinity`.

        Raises:
            CrmError: the column's type holds no times.
        """
        if self.dialect == "sqlite":
            return type_coerce(self.without_bytes(stored), NullType()).label(stored.name)
        if not isinstance(stored.type, DateTime | TypeDecorator | NullType | String):  # text may hold times as well
            where = f"{getattr(stored, 'table', '')}.{stored.name}"
            raise CrmError(f"{where} is {stored.type} and must be a time; give it as a timestamp in a view")
        return cast(stored, Text).label(stored.name)

    def without_bytes(self, stored: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column with NULL in place of SQLite's bytes, as `columns` takes bytes for texts."""
        if self.dialect != "sqlite":
            return stored
        return case((func.typeof(stored) == "blob", null()), else_=stored).label(stored.name)

    def clean_key(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a key without outer blanks. A value that isn't text stays as it is."""
        if self.dialect == "sqlite":
            # `columns` would take bytes for a text; a number is refused.
            return case(
                (func.typeof(key) == "text", func.trim(key, _BLANKS)), (func.typeof(key) == "blob", 0), else_=key
            )
        if self.dialect == "postgresql":
            return func.btrim(key, self._blanks)
        return func.trim(key)

    def may_be_odd(self, key: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return, fast, which keys don't begin and end with a printable ASCII character, or aren't text."""
        if self.dialect == "sqlite":  # numbers come before all texts, and bytes after them
            first, last = collate(key, "BINARY"), collate(func.substr(key, -1), "BINARY")
        elif self.dialect == "postgresql":
            first, last = collate(cast(key, Text), "C"), collate(func.right(cast(key, Text), 1), "C")
        else:
            return true()
        return or_(first < "!", first > "\x7f", last < "!", last > "~")

    def is_key(self, name: str, columns: Iterable[str]) -> bool:
        """Return whether a table has exactly this primary key. Views have none."""
        with crm_errors(self.connection.engine, f"inspecting {name}"):
            return set(inspect(self.connection).get_pk_constraint(name)["constrained_columns"]) == set(columns)

    def with_clean_key(self, source: FromClause, name: str, *, unique: bool = False) -> FromClause:
        """Return a table with its key without outer blanks; the table itself, with its indexes, where no key has any.

        Args:
            source: the table.
            name: the column of the key.
            unique: whether keys must be unique.

        Raises:
            CrmError: several keys differ only in outer blanks and must be unique.
            CrmError: keys aren't text.
        """
        if (source, name) not in self._with_clean_key:
            self._with_clean_key[source, name] = self._cleaned(source, name, unique=unique)
        return self._with_clean_key[source, name]

    def rows(self, query: Select[Any], doing: str) -> list[AnyRow]:
        """Return all rows of a query; `doing` says in messages what it was for."""
        return [row for chunk in self.stream(query, _CHUNK_ROWS, doing) for row in chunk]

    def all_rows(self, query: Select[Any], doing: str) -> list[AnyRow]:
        """Return all rows of a query, compared with the database's own count of them. See `stream_all`."""
        return [row for chunk in self.stream_all(query, _CHUNK_ROWS, doing) for row in chunk]

    def stream_all(self, query: Select[Any], chunk_rows: int, doing: str) -> Iterator[Sequence[AnyRow]]:
        """Yield the rows of a query, then compare their number with the database's own count in the same transaction.

        Args:
            query: without DISTINCT, GROUP BY and LIMIT.
            chunk_rows: the largest number of rows at once.
            doing: what it is for, in messages.

        Raises:
            CrmError: rows were lost on the way, or the query yields other rows each time.
        """
        received = 0
        for chunk in self.stream(query, chunk_rows, doing):
            received += len(chunk)
            yield chunk
        self._require_all(query, received, doing)

    def all_columns(self, query: Select[Any], doing: str) -> Columns:
        """Return all rows of a query as columns, compared with the database's own count of them. See `stream_all`."""
        parts = [*self.columns(query, _CHUNK_ROWS, doing)]
        return concat_rows(parts) if parts else [pa.array([], pa.large_string()) for _ in query.selected_columns]

    def columns(self, query: Select[Any], chunk_rows: int, doing: str) -> Iterator[Columns]:
        """Yield the rows of a query as columns, compared with the database's own count of them. See `stream_all`."""
        received = 0
        read = sqlite_columns if self.dialect == "sqlite" else postgresql_columns
        for columns in self._chunks(lambda: read(self.connection, query, chunk_rows), doing):
            received += len(columns[0])
            yield columns
        self._require_all(query, received, doing)

    def _require_all(self, query: Select[Any], received: int, doing: str) -> None:
        counting = select(func.count()).select_from(query.order_by(None).subquery())
        expected = int(self.rows(counting, f"counting after {doing}")[0][0])
        if received != expected:
            raise CrmError(
                f"{doing}: the CRM counts {expected:,} rows, and {received:,} arrived; nothing was changed. Run it "
                "again. If that doesn't help, rows are lost on the way (driver, connection pooler, proxy), or a query "
                "or view yields other rows each time it is run, as with random(); make it yield the same ones"
            )

    def stream(self, query: Select[Any], chunk_rows: int, doing: str) -> Iterator[Sequence[AnyRow]]:
        """Yield the rows of a query, at most `chunk_rows` at once."""
        options = {"yield_per": chunk_rows}
        return self._chunks(lambda: self.connection.execute(query, execution_options=options).partitions(), doing)

    def _chunks(self, execute: Callable[[], Iterator[Chunk]], doing: str) -> Iterator[Chunk]:
        """Yield the chunks of rows that a query yields when it is executed."""
        try:
            with crm_errors(self.connection.engine, doing):
                # The savepoint keeps the snapshot usable for other lists if the query of this list fails. A transaction
                # of SQLite stays usable without.
                with nullcontext() if self.dialect == "sqlite" else self.connection.begin_nested():
                    chunks = execute()
                    chunk = next(chunks, None)
                while chunk:
                    yield chunk
                    chunk = next(chunks, None)
        except UnicodeDecodeError:
            raise CrmError(
                f"{doing}: a text isn't UTF-8; the database lets any bytes in (SQL_ASCII?), convert it to UTF-8"
            ) from None
        except ValueError:
            raise CrmError(
                f"{doing}: a date or time can't be read (before the year 1 or after 9999?); correct it in the CRM"
            ) from None

    def type_code(self, query: Select[Any], doing: str) -> int:
        """Return the database's number for the type of a query's first column. None of its rows is fetched."""
        with crm_errors(self.connection.engine, doing), self.connection.begin_nested():
            result = self.connection.execute(query.limit(0))
            code = int(result.cursor.description[0][1]) if result.cursor else 0  # type: ignore[call-overload]
            result.close()
            return code

    def groups(self, query: Select[Any], chunk_rows: int, doing: str) -> Iterator[Columns]:
        """Yield all rows of a query ordered by its first column, in chunks that never split a group of equal keys.

        Raises:
            CrmError: a key isn't text; see `stream_all` for others.
        """
        held: list[Columns] = []
        for columns in self.columns(query, chunk_rows, doing):
            keys = columns[0]
            if not isinstance(keys, pa.Array):
                yield columns  # it is refused, with the place of the keys
                return
            end = int(group_starts(keys)[-1])
            if end or (held and held[-1][0][-1] != keys[0]):
                yield concat_rows([*held, slice_rows(columns, 0, end)])
                held = [slice_rows(columns, end, len(keys))]
            else:
                held.append(columns)
        if held:
            yield concat_rows(held)

    def _stores_rows(self, schema: str, bare: str) -> bool:
        """Return whether this is a table of SQLite's with a page of its own: neither a view, nor virtual."""
        if self.dialect != "sqlite":
            return False
        stored = table("sqlite_master", column("name"), column("rootpage"), schema=schema or "main")
        named = stored.c.name.collate("NOCASE") == bare
        return bool(self.connection.execute(select(stored.c.rootpage).where(named, stored.c.rootpage > 0)).all())

    def _type(self, declared: TypeEngine[Any], is_stored: bool) -> TypeEngine[Any]:
        if self.dialect != "sqlite":
            return declared
        return StoredText() if is_stored and isinstance(declared, String) else _AsStored(declared)

    @cached_property
    def most_values(self) -> int:
        """How many values the conditions of a query may name: of the few that older builds of SQLite take, half."""
        if self.dialect != "sqlite":
            return _MOST_VALUES
        driver: Any = self.connection.connection.dbapi_connection
        return min(_MOST_VALUES, int(driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)) // 2)

    @cached_property
    def _blanks(self) -> str:
        encoding = self.connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        return _BLANKS if encoding == "UTF8" else _ASCII_BLANKS

    def _cleaned(self, source: FromClause, name: str, *, unique: bool) -> FromClause:
        key, clean = source.c[name], self.clean_key(source.c[name])
        place = f"{source.description}.{name}"
        doing = f"looking for outer blanks in {place}"
        odd = key != clean
        if not self.rows(select(key).where(self.may_be_odd(key)).limit(1), doing):
            return source
        if self.dialect == "sqlite":
            not_text = func.typeof(key).not_in(["text", "null"])
            first = self.rows(select(func.typeof(key)).where(odd | not_text).limit(1), doing)
            for row in first and self.rows(select(func.typeof(key)).where(not_text).limit(1), doing):
                raise CrmError(f"{place} yields values of type {row[0]} and must yield text; cast it to TEXT in a view")
        else:
            first = self.rows(select(key).where(odd).limit(1), doing)
        if not first:
            return source
        same = select(func.count()).select_from(source).group_by(clean).having(func.count() > 1)
        if unique and (keys := len(self.rows(same, doing))):
            raise CrmError(
                f"{place}: {keys} keys are there twice, only with other blanks around them; make them differ"
            )
        return (
            select(*(clean.label(name) if source_column is key else source_column for source_column in source.c))
            .cte(f"clean_{source.description}")
            .prefix_with("MATERIALIZED", dialect="sqlite")  # so that SQLite gives it an index for the join
        )


def _time(text: str) -> object:
    moment = parse_instant(text)
    if moment is not None:
        return moment
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) if len(text) == 10 else text
    except ValueError:
        return text
