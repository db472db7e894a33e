"""The rows of a query as columns: Arrow texts where a column holds nothing else, otherwise the stored values."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from sqlalchemy import ColumnElement, Connection, Dialect, Label, Select, Text, case, cast, func, literal_column, or_
from sqlalchemy.types import UserDefinedType

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.engine import stored_text
from campaign_sync.domain.consent_columns import Numbers
from campaign_sync.domain.suppression import Mask

Column: TypeAlias = pa.Array | Sequence[Any]
"""Arrow texts (`large_string`), NULL being null; or values of any type, and bytes that aren't UTF-8."""

Columns: TypeAlias = list[Column]
"""Columns of the same length."""

_WRITES_JSON = "campaign_sync: writes JSON"

_UGLY_TEXT = "".join(map(chr, range(0x100))) + "\u2028"

_MOST_ARGUMENTS = 90
"""How many columns are written as one text. SQLite's functions take 100 arguments, or more."""

_JSON_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")

_Converter: TypeAlias = Callable[[Any], Any]

_TEXT = pa.large_string()

_TEXT_TYPES = frozenset({19, 25, 1042, 1043})
"""PostgreSQL's numbers for name, text, char and varchar (pg_type.oid, which never changes for these)."""

_LARGEST_BLOCK = 2**30
"""Bytes of rows that are parsed at once; no value of PostgreSQL is larger."""


class StoredText(UserDefinedType[Any]):
    """A column of a table of SQLite's whose values are texts, bytes or NULL: it makes texts of numbers (affinity)."""

    cache_ok = True


def sqlite_columns(connection: Connection, query: Select[Any], chunk_rows: int) -> Iterator[Columns]:
    """Yield the rows of a query from SQLite, at most `chunk_rows` at once.

    SQLite writes the columns of `StoredText` of each row as one text in JSON, which is one value for the driver instead
    of twenty, and which Arrow parses. Others are read value by value, as are all where JSON would change a value.
    """
    columns = list(query.selected_columns)
    in_json = [number for number, column in enumerate(columns) if isinstance(column.type, StoredText)][:_MOST_ARGUMENTS]
    if not in_json or not _writes_json(connection):
        in_json = []
    singly = [number for number in range(len(columns)) if number not in in_json]
    converters = [_processor(columns[number].type, connection.dialect, None) for number in singly]
    written = [_json_row([_unlabelled(columns[number]) for number in in_json])] if in_json else []
    result = connection.execute(query.with_only_columns(*written, *(columns[number] for number in singly)))
    cursor: Any = result.cursor
    driver: Any = connection.connection.dbapi_connection
    while True:
        # Texts as bytes, which Arrow takes whole. Other statements of the connection expect texts.
        texts, driver.text_factory = driver.text_factory, bytes
        try:
            rows = cursor.fetchmany(chunk_rows)
        finally:
            driver.text_factory = texts
        if not rows:
            result.close()
            return
        read = [list(map(itemgetter(number), rows)) for number in range(len(rows[0]))]
        del rows
        parsed = zip(in_json, _parsed_json(read[0], len(in_json)) if in_json else (), strict=True)
        values = zip(singly, map(_stored_column, read[len(written) :], converters), strict=True)
        yield [column for _, column in sorted((*parsed, *values), key=itemgetter(0))]


def postgresql_columns(connection: Connection, query: Select[Any], chunk_rows: int) -> Iterator[Columns]:
    """Yield the rows of a query from PostgreSQL, at most `chunk_rows` at once.

    The database writes each row as one text, which is one value for the driver instead of twenty, and which Arrow
    parses. A cursor and no COPY: other statements may run between two chunks, and the rows never are in memory at once.
    """
    converters = _postgresql_converters(connection, query)
    columns = [_unlabelled(column) for column in query.selected_columns]
    # What is before the first and behind the last comma are the parentheses, with these zeros.
    edge: ColumnElement[int] = literal_column("0")
    rows = query.with_only_columns(cast(func.row(edge, *columns, edge), Text))
    result = connection.execute(rows, execution_options={"yield_per": chunk_rows})
    # The driver's rows, of which SQLAlchemy's would be made only to be thrown away.
    while texts := result.cursor_strategy.fetchmany(result, result.cursor, chunk_rows):
        written = "\n".join(map(itemgetter(0), texts)).encode()
        del texts
        # The driver has decoded it.
        read = _parsed(written, len(columns), "", _TEXT, is_utf8=True)
        yield [
            column if convert is None else _converted(column, convert)
            for column, convert in zip(read, converters, strict=True)
        ]


def take(column: Column, positions: Numbers) -> Column:
    """Return the values at these positions; None at negative ones."""
    if isinstance(column, pa.Array):
        return column.take(pa.array(positions, mask=positions < 0))
    return [None if position < 0 else column[position] for position in positions.tolist()]


def values_of(column: Column) -> Sequence[Any]:
    """Return the values of a column as Python has them."""
    values: Sequence[Any] = column.to_pylist() if isinstance(column, pa.Array) else column
    return values


def map_values(column: Column, function: Callable[[Any], str]) -> pa.Array:
    """Return the text that a function returns of every value; it is called once for each distinct text."""
    if not isinstance(column, pa.Array):
        return pa.array(map(function, column), _TEXT)
    encoded = column.dictionary_encode(null_encoding="encode")
    return pa.array(map(function, encoded.dictionary.to_pylist()), _TEXT).take(encoded.indices)


def are_present(column: Column) -> Mask:
    """Return which values of a column aren't None."""
    if isinstance(column, pa.Array):
        valid: Mask = column.is_valid().to_numpy(zero_copy_only=False)
        return valid
    return np.fromiter((value is not None for value in column), np.bool_, len(column))


def group_starts(keys: pa.Array) -> Numbers:
    """Return the position of each group's first row; a group is a run of equal keys."""
    changes = pc.fill_null(pc.not_equal(keys[1:], keys[:-1]), True)
    return np.concatenate([[0], changes.to_numpy(zero_copy_only=False).nonzero()[0] + 1]).astype(np.intp)


def concat_rows(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several chunks as one."""
    if len(parts) == 1:
        return parts[0]
    return [
        pa.concat_arrays(columns)
        if all(isinstance(column, pa.Array) for column in columns)
        else list(chain.from_iterable(map(values_of, columns)))
        for columns in zip(*parts, strict=True)
    ]


def slice_rows(columns: Columns, start: int, end: int) -> Columns:
    """Return the rows from one position to another."""
    return [column[start:end] for column in columns]


def without_outer_blanks(keys: pa.Array) -> pa.Array:
    """Return the keys as Python's `strip` leaves them."""
    if not pc.any(pc.match_substring_regex(keys, r"\A[^!-~]|[^!-~]\z")).as_py():
        return keys
    return pa.array([key.strip() for key in keys.to_pylist()], _TEXT)


def _unlabelled(column: Any) -> ColumnElement[Any]:
    element: ColumnElement[Any] = column.element if isinstance(column, Label) else column
    return element


def _parsed(written: bytes, columns: int, null: str, data_type: pa.DataType, *, is_utf8: bool) -> list[pa.Array]:
    r"""Return the columns between the first and the last one of lines with quoted values, `\` before `"` and itself.

    Args:
        written: the lines.
        columns: how many there are without the first and the last one.
        null: what is written in place of NULL.
        data_type: of the columns.
        is_utf8: whether texts are known to be UTF-8.

    Raises:
        ArrowInvalid: a text isn't UTF-8.
    """
    names = [str(number) for number in range(columns + 2)]
    table = pacsv.read_csv(
        pa.BufferReader(written),
        pacsv.ReadOptions(use_threads=False, block_size=min(len(written) + 1, _LARGEST_BLOCK), column_names=names),
        pacsv.ParseOptions(escape_char="\\", newlines_in_values=True, ignore_empty_lines=False),
        pacsv.ConvertOptions(
            check_utf8=not is_utf8,
            column_types=dict.fromkeys(names, data_type),
            null_values=[null],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            include_columns=names[1:-1],
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def _writes_json(connection: Connection) -> bool:
    """Return whether this SQLite writes texts as JSON that `_parsed_json` reads; it is asked once per connection."""
    if _WRITES_JSON not in connection.info:
        driver: Any = connection.connection.dbapi_connection
        encoding = driver.execute("PRAGMA encoding").fetchone()[0]
        try:
            (written,) = driver.execute("SELECT json_array(?, NULL)", (_UGLY_TEXT,)).fetchone()
        except sqlite3.OperationalError:
            written = "null"  # built without JSON
        # In UTF-16, SQLite changes a text that isn't well-formed when it is put together with others.
        connection.info[_WRITES_JSON] = encoding == "UTF-8" and json.loads(written) == [_UGLY_TEXT, None]
    return bool(connection.info[_WRITES_JSON])


def _json_row(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """Return a row as one text: a JSON array with 0 before and behind the values."""
    edge: ColumnElement[int] = literal_column("0")
    # Bytes, which JSON can't hold, are greater than any text.
    are_bytes = [column >= literal_column("x'' COLLATE BINARY") for column in columns]
    as_texts = [
        case((is_bytes, cast(column, Text)), else_=column) for is_bytes, column in zip(are_bytes, columns, strict=True)
    ]
    rows = (func.json_array(edge, *values, edge) for values in (as_texts, columns))
    return case((or_(*are_bytes), next(rows)), else_=next(rows))


def _parsed_json(rows: Sequence[bytes], columns: int) -> list[Column]:
    written = b"\n".join(rows)
    quotes = written.count(b'"')
    if b"\\" in written:
        unpaired = written.replace(b"\\\\", b"")
        quotes = unpaired.count(b'"') - unpaired.count(b'\\"')
        if unpaired.count(b"\\") != unpaired.count(b'\\"'):  # control characters, which Arrow reads as they are
            written = _JSON_ESCAPE.sub(_unescaped, written)
    read: list[Column]
    try:
        read = _parsed(written, columns, "null", _TEXT, is_utf8=False)
    except pa.ArrowInvalid:
        read = _parsed(written, columns, "null", pa.large_binary(), is_utf8=True)
        read = [_stored_column(column.to_pylist(), None) for column in read]
    nulls = sum(column.null_count if isinstance(column, pa.Array) else column.count(None) for column in read)
    if quotes // 2 + nulls != columns * len(rows):
        raise CrmError(
            "a column that is declared as text holds a number, which SQLite doesn't store there: the file is damaged, "
            "or its schema was edited; look for it with PRAGMA integrity_check"
        )
    return read


def _unescaped(match: re.Match[bytes]) -> bytes:
    escape = match[0]
    if escape in (b"\\\\", b'\\"'):
        return escape
    return str(json.loads(b'"%s"' % escape)).encode()


def _stored_column(values: Sequence[Any], convert: _Converter | None) -> Column:
    if convert is None:
        try:
            return pa.array(values, pa.large_binary()).cast(_TEXT)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # numbers, or bytes that aren't UTF-8
    texts = (stored_text(value) if isinstance(value, bytes) else value for value in values)
    return list(texts if convert is None else map(convert, texts))


def _postgresql_converters(connection: Connection, query: Select[Any]) -> list[_Converter | None]:
    """Return how each column's text becomes what the driver returns for it; None where it is a text."""
    result = connection.execute(query.limit(0))
    cursor: Any = result.cursor
    codes = [description[1] for description in cursor.description]
    result.close()
    return [
        None if code in _TEXT_TYPES else _typecast(connection, code, _processor(column.type, connection.dialect, code))
        for code, column in zip(codes, query.selected_columns, strict=True)
    ]


def _typecast(connection: Connection, code: int, process: _Converter | None) -> _Converter:
    from psycopg2 import extensions  # type: ignore[import-untyped]  # the driver may be missing where SQLite is read

    driver: Any = connection.connection.dbapi_connection
    typecast = driver.string_types.get(code) or extensions.string_types.get(code)
    cursor = driver.cursor()

    def convert(text: str) -> object:
        value = typecast(text, cursor) if typecast else text
        return process(value) if process else value

    return convert


def _processor(column_type: Any, dialect: Dialect, code: object) -> _Converter | None:
    processor: _Converter | None = column_type.dialect_impl(dialect).result_processor(dialect, code)
    return processor


def _converted(column: pa.Array, convert: _Converter) -> Column:
    encoded = column.dictionary_encode()
    values = [convert(text) for text in encoded.dictionary.to_pylist()]
    return [None if number is None else values[number] for number in encoded.indices.to_pylist()]
