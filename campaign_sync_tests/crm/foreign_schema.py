"""A CRM with a schema of its own: a table `person`, states of consents, and lists in other words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from campaign_sync.config import SqlSettings
from campaign_sync.crm.mirror.source import SourceRows
from campaign_sync.crm.port import CrmNeeds
from campaign_sync.crm.sql.source import SqlSource
from campaign_sync.crm.sql.source_reader import SqlSourceReader
from campaign_sync_tests.databases import writing_engine

MAPPING: dict[str, Any] = {
    "tables": {
        "contact": {"table": "person", "columns": {"id": "nr", "email": "mail"}},
        "lead": {"query": "SELECT nr AS id, mail AS email FROM prospect WHERE mail LIKE '%@%';"},
        "opt_in": {
            "query": "SELECT 'news' AS opt_in_id, 'nord' AS mandator, 'News: monthly' AS description",
            "constants": {"media_type": "email"},
        },
        "consent_state": {
            "table": "person",
            "columns": {"entity_id": "nr", "kind": "newsletter", "changed_at": "newsletter_at"},
            "constants": {"entity_type": "contact", "opt_in_id": "news", "source": "CRM"},
        },
        "address_state": {"table": "bounced", "columns": {"address": "mail"}, "constants": {"bounce_kind": "hard"}},
        "marketing_list": {"table": "list", "columns": {"name": "title"}},
        "marketing_list_member": {
            "table": "list_person",
            "columns": {"marketing_list_id": "list_id", "entity_id": "person_nr"},
            "constants": {"entity_type": "contact"},
        },
        "report": {"table": "saved_report", "constants": {"entity_type": "contact"}},
    },
    "write_back": {
        "withdrawal": [
            """UPDATE person SET newsletter = 0, newsletter_at = :occurred_at
            WHERE :entity_type = 'contact' AND nr = :entity_id AND newsletter = 1
            AND (newsletter_at IS NULL OR newsletter_at <= :occurred_at)"""
        ],
        "bounce": [
            """INSERT INTO bounced (mail) SELECT :address FROM (SELECT 1 AS present) AS single_row
            WHERE NOT EXISTS (SELECT 1 FROM bounced WHERE mail = :address)"""
        ],
    },
}

_TABLES = """
CREATE TABLE person (
    nr integer PRIMARY KEY, mail varchar(200), town varchar(100), age integer, secret varchar(20),
    newsletter integer, newsletter_at {time}
);
CREATE TABLE prospect (nr {uuid} PRIMARY KEY, mail varchar(200));
CREATE TABLE bounced (mail varchar(200) PRIMARY KEY, bounced_at {time});
CREATE TABLE list (id integer PRIMARY KEY, title varchar(100), kind varchar(10), entity_type varchar(10), query text);
CREATE TABLE list_person (list_id integer, person_nr integer);
CREATE TABLE saved_report (name varchar(100), view_name varchar(100));
CREATE VIEW adults AS SELECT nr AS entity_id, age, 'of age: yes' AS remark FROM person WHERE age >= 18
"""

_TYPES = {
    "sqlite": {"time": "timestamp", "uuid": "text"},
    "postgresql": {"time": "timestamp with time zone", "uuid": "uuid"},
    "mariadb": {"time": "datetime(6)", "uuid": "uuid"},
}


class ForeignCrm:
    """The tables of `MAPPING` in an empty database."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.engine = writing_engine(url)
        self.execute(_TABLES.format_map(_TYPES[self.engine.dialect.name]))
        self.settings = SqlSettings.model_validate({"url": SecretStr(url)} | MAPPING | settings)
        self.source = SqlSource(self.settings)

    def execute(self, statements: str, *rows: dict[str, Any]) -> None:
        """Run statements, the last one for each of the rows."""
        with self.engine.begin() as connection:
            for statement in statements.strip().split(";\n"):
                connection.execute(text(statement), list(rows) or None)

    def people(self, *rows: tuple[int, str | None]) -> None:
        self.execute(
            "INSERT INTO person (nr, mail, town, age) VALUES (:nr, :mail, 'Köln', 40)",
            *({"nr": nr, "mail": mail} for nr, mail in rows),
        )

    @contextmanager
    def reading(self, *columns: str) -> Iterator[SqlSourceReader]:
        with self.source.read(CrmNeeds(columns=frozenset(columns))) as reader:
            yield reader


def all_rows(rows: SourceRows | None) -> list[tuple[Any, ...]]:
    """Return the rows, after a comparison with the source's own count."""
    assert rows is not None
    read = [tuple(row) for chunk in rows.chunks for row in chunk]
    assert rows.expected() == len(read)
    assert all(len(row) == len(rows.columns) for row in read)
    return read
