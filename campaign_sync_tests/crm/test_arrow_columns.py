"""The rows of queries as columns: the values that the driver returns, whatever characters are in them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Select, Text, literal, literal_column, select, text, union_all

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.arrow_columns import values_of
from campaign_sync.crm.sql.engine import crm_engine, read_only
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.crm.testing.reads import consenting
from campaign_sync_tests.crm.small_crm import SmallCrm

_ALPHABET = st.sampled_from('"\\,()\n\r\t\x0b\x1f NULL0.äß\u0308\u2028\ufeff\U0001f600') | st.characters(
    codec="utf-8", exclude_characters="\0"
)
_ODD_BYTES = st.binary(max_size=4) | st.sampled_from([b"\xed\xa0\x80", b"a\0b", b"\xff", b"\xc3", b'"', b"\\", b"\n"])
_STORED = st.one_of(
    st.none(),
    st.sampled_from(["null", "", "0", "[1]", '{"a": 1}', "\\n", "\\u0041", '\\"', "\r\n", "a\0b", "\x00", "\x7f\x80"]),
    st.text(_ALPHABET | st.characters(max_codepoint=0x1F), max_size=8),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    _ODD_BYTES,
    _ODD_BYTES.map(lambda value: (value,)),
)
"""What SQLite may hold; a tuple of bytes means a text of these bytes."""

_TEXTS = st.none() | st.text(_ALPHABET, max_size=8)


@contextmanager
def reading(url: str) -> Iterator[SqlReader]:
    with read_only(crm_engine(url)) as connection:
        yield SqlReader(connection)


def columns_of(reader: SqlReader, query: Select[Any], chunk_rows: int) -> list[list[object]]:
    """Return the values of each column of all chunks."""
    chunks = [list(map(values_of, columns)) for columns in reader.columns(query, chunk_rows, "reading")]
    return [[value for chunk in chunks for value in chunk[number]] for number in range(len(query.selected_columns))]


def one_row(*values: str) -> Select[Any]:
    """Return a query of one row with these values, as SQL has them."""
    columns: list[Any] = [literal_column(value) for value in values]
    return select(*columns).select_from(text("(SELECT 1) AS source"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=6), chunk_rows=st.integers(1, 4))
def test_texts_and_missing_values_are_read_as_they_are(
    small_direct: SmallCrm, rows: list[tuple[str | None, str | None]], chunk_rows: int
) -> None:
    numbered = (
        select(literal(number).label("n"), literal(first, Text).label("a"), literal(second, Text).label("b"))
        for number, (first, second) in enumerate(rows)
    )
    source = union_all(*numbered).subquery("rows_of_test")
    query: Select[Any] = select(source.c.a, source.c.b, source.c.a.label("again")).select_from(source)
    with reading(small_direct.url) as reader:
        read = columns_of(reader, query.order_by(source.c.n), chunk_rows)
    assert read == [[row[0] for row in rows], [row[1] for row in rows], [row[0] for row in rows]]


@pytest.fixture(scope="module", params=["UTF-8", "UTF-16le"])
def sqlite_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with a table, and a view of it, whose values are read one by one."""
    file = tmp_path_factory.mktemp("columns") / "crm.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"""
            PRAGMA encoding = '{request.param}';
            CREATE TABLE rows_of_test (
                n INTEGER PRIMARY KEY, a TEXT, "b""[" VARCHAR(10) COLLATE NOCASE, c INTEGER, d, e BOOLEAN, f CHAR
            );
            CREATE VIEW view_of_test AS SELECT * FROM rows_of_test;
        """)
    return file


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(*[_STORED] * 6), min_size=1, max_size=6), chunk_rows=st.integers(1, 4))
def test_rows_in_json_are_what_single_values_are(
    sqlite_file: Path, rows: list[tuple[Any, ...]], chunk_rows: int
) -> None:
    with closing(sqlite3.connect(sqlite_file)) as database, database:
        database.execute("DELETE FROM rows_of_test")
        for row in rows:
            places = ", ".join("CAST(? AS TEXT)" if isinstance(value, tuple) else "?" for value in row)
            values = [value[0] if isinstance(value, tuple) else value for value in row]
            database.execute(f'INSERT INTO rows_of_test (a, "b""[", c, d, e, f) VALUES ({places})', values)
    with reading(f"sqlite:///{sqlite_file}") as reader:
        read = []
        for name in ("rows_of_test", "view_of_test"):
            source = reader.table(name)
            columns: list[Any] = [*source.c, reader.without_bytes(source.c.a), source.c.f.label("again")]
            query = select(*columns).select_from(source)
            chunks = list(reader.columns(query.order_by(source.c.n), chunk_rows, "reading"))
            read.append(
                [
                    [(isinstance(column, pa.Array), list(map(repr, values_of(column)))) for column in chunk]
                    for chunk in chunks
                ]
            )
    assert read[0] == read[1]


def test_a_computed_column_is_read_value_by_value(tmp_path: Path) -> None:
    file = tmp_path / "crm.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE rows_of_test (a TEXT, quoted TEXT AS (json_quote(a)) VIRTUAL)")
        database.execute("INSERT INTO rows_of_test (a) VALUES ('abc')")
    with reading(f"sqlite:///{file}") as reader:
        assert columns_of(reader, select(*reader.table("rows_of_test").c["a", "quoted"]), 10) == [["abc"], ['"abc"']]


def test_a_number_where_only_texts_can_be_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "crm.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript("""
            CREATE TABLE rows_of_test (a INTEGER); INSERT INTO rows_of_test VALUES (7);
            PRAGMA writable_schema = ON;
            UPDATE sqlite_master SET sql = 'CREATE TABLE rows_of_test (a TEXT)';
        """)
    with reading(f"sqlite:///{file}") as reader, pytest.raises(CrmError, match="declared as text holds a number"):
        columns_of(reader, select(reader.table("rows_of_test").c["a"]), 10)


def test_values_of_other_types_are_those_of_the_driver(postgres_url: str) -> None:
    written = (
        *(
            "12.50::numeric",
            "'NaN'::numeric",
            "0.1::float8",
            "1e20::float8",
            "9007199254740993::bigint",
            "true",
            "NULL",
        ),
        *("'2020-02-29'::date", "'2020-02-29 13:45:00.5'::timestamp", "'2020-02-29 13:45:00+02'::timestamptz"),
        *("'{a,b}'::text[]", "'1 day'::interval", "'10.0.0.1'::inet", "'ab'::char(4)", "'00123'::text", "''::text"),
        *("'00000000-0000-0000-0000-00000000000a'::uuid", "'[1]'::json", "'12:30'::time"),
    )
    query = one_row(*written)
    with reading(postgres_url) as reader:
        (row,) = reader.rows(query, "reading")
        read = [values[0] for values in columns_of(reader, query, 10)]
    assert list(map(repr, read)) == list(map(repr, row))


def test_a_date_that_python_lacks_is_refused(postgres_url: str) -> None:
    with reading(postgres_url) as reader:
        with pytest.raises(CrmError, match="a date or time can't be read"):
            columns_of(reader, one_row("'0044-03-15 BC'::date"), 10)
        assert columns_of(reader, one_row("'a'::text"), 10) == [["a"]]


def test_bytes_of_sqlite_are_neither_kind_nor_time_nor_address(small_sqlite: SmallCrm) -> None:
    small_sqlite.allow_anything()
    for column in ("kind", "occurred_at"):
        small_sqlite.person(column, f"{column}@example.org")
        small_sqlite.consent(column, event_id=column)
        small_sqlite.execute(f"UPDATE consent_event SET {column} = CAST({column} AS BLOB) WHERE id = '{column}'")
    small_sqlite.person("email", "email@example.org")
    small_sqlite.consent("email")
    small_sqlite.execute("UPDATE contact SET email = CAST(email AS BLOB) WHERE id = 'email'")
    kinds = small_sqlite.selected().set_index("entity_id")["consent_kind"]
    assert kinds.to_dict() == {"email": "granted", "kind": "not understood", "occurred_at": "not understood"}
    with small_sqlite.crm.snapshot() as snapshot:
        assert consenting(snapshot, "news") == []


def test_a_key_of_bytes_is_refused(small_sqlite: SmallCrm) -> None:
    small_sqlite.person("c1", "anna@example.org")
    small_sqlite.execute("UPDATE marketing_list_member SET entity_id = CAST(entity_id AS BLOB)")
    with pytest.raises(CrmError, match=r"entity_id must yield text and yields other values"):
        small_sqlite.selected()
