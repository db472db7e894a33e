"""The rows of a query as columns: Arrow texts where a column holds nothing else, otherwise the stored values."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from sqlalchemy import ColumnElement, Connection, Dialect, Label, Select, Text, cast, func, literal_column

from campaign_sync.crm.sql.engine import stored_text
from campaign_sync.domain.consent_columns import Numbers

Column: TypeAlias = pa.Array | Sequence[Any]
"""Arrow texts (`large_string`), NULL being null; or values of any type, and bytes that aren't UTF-8."""

Columns: TypeAlias = list[Column]
"""Columns of the same length."""

_Converter: TypeAlias = Callable[[Any], Any]

_TEXT = pa.large_string()

_TEXT_TYPES = frozenset({19, 25, 1042, 1043})
"""PostgreSQL's numbers for name, text, char and varchar (pg_type.oid, which never changes for these)."""

_LARGEST_BLOCK = 2**30
"""Bytes of rows that are parsed at once; no value of PostgreSQL is larger."""


def sqlite_columns(connection: Connection, query: Select[Any], chunk_rows: int) -> Iterator[Columns]:
    """Yield the rows of a query from SQLite, at most `chunk_rows` at once."""
    result = connection.execute(query)
    cursor: Any = result.cursor
    converters = [_processor(column.type, connection.dialect, None) for column in query.selected_columns]
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
        yield [
            _stored_column(values, convert) for values, convert in zip(zip(*rows, strict=True), converters, strict=True)
        ]


def postgresql_columns(connection: Connection, query: Select[Any], chunk_rows: int) -> Iterator[Columns]:
    """Yield the rows of a query from PostgreSQL, at most `chunk_rows` at once.

    The database writes each row as one text, which is one value for the driver instead of twenty, and which Arrow
    parses. A cursor and no COPY: other statements may run between two chunks, and the rows never are in memory at once.
    """
    converters = _postgresql_converters(connection, query)
    columns = [column.element if isinstance(column, Label) else column for column in query.selected_columns]
    # What is before the first and behind the last comma are the parentheses, with these zeros.
    edge: ColumnElement[int] = literal_column("0")
    rows = query.with_only_columns(cast(func.row(edge, *columns, edge), Text))
    result = connection.execute(rows, execution_options={"yield_per": chunk_rows})
    names = [str(number) for number in range(len(columns) + 2)]
    for texts in result.scalars().partitions():
        written = "\n".join(texts).encode()
        table = pacsv.read_csv(
            pa.BufferReader(written),
            pacsv.ReadOptions(use_threads=False, block_size=min(len(written) + 1, _LARGEST_BLOCK), column_names=names),
            pacsv.ParseOptions(escape_char="\\", newlines_in_values=True, ignore_empty_lines=False),
            pacsv.ConvertOptions(
                check_utf8=False,  # the driver has decoded it
                column_types=dict.fromkeys(names, _TEXT),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                include_columns=names[1:-1],
            ),
        )
        read = (column.combine_chunks() for column in table.columns)
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
