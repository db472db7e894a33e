"""Everything that a PostgreSQL database holds, as its tables give it out and as its files have it."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import NullPool, create_engine

from campaign_sync_tests.databases import FOLDER_VARIABLE, URL_VARIABLE

_TABLES = """
    SELECT quote_ident(nspname) || '.' || quote_ident(relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND nspname !~ '^(pg_|information_schema$)'
"""
_MORE = ("SELECT * FROM pg_stats", "SELECT loid, data FROM pg_largeobject", "SELECT * FROM pg_settings")
_FILE = "SELECT pg_relation_filepath(oid) FROM pg_class WHERE pg_relation_filepath(oid) IS NOT NULL"


def postgres_contents(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield the rows of each table, statistics and large objects; of a server of this machine its files, too."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            cursor = connection.connection.cursor()
            for query in (*(f"TABLE {name}" for name in connection.exec_driver_sql(_TABLES).scalars()), *_MORE):
                output = io.BytesIO()
                cursor.copy_expert(f"COPY ({query}) TO STDOUT", output)
                yield query, output.getvalue()
            connection.exec_driver_sql("CHECKPOINT")
            files = connection.exec_driver_sql(_FILE).scalars().all()
        if URL_VARIABLE not in os.environ:
            data = Path(os.environ[FOLDER_VARIABLE], "data")
            for file in files:
                if (data / file).exists():
                    yield file, (data / file).read_bytes()
    finally:
        engine.dispose()


def analyze(url: str) -> None:
    """Let the database note the most frequent values of all columns, as it does by itself from time to time."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
