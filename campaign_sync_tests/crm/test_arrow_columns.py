"""The rows of queries as columns: the values that the driver returns, whatever characters are in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
