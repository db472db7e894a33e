"""A small CRM that a test fills in a few lines."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Table, insert, select, text

from campaign_sync.crm.port import Crm, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.domain.consent import STANDARD_WORDS_ONLY
from campaign_sync_tests.databases import writing_engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYBODY = Pick("marketing_list", "Everybody")


class SmallCrm:
    """The contract's tables in an empty database, with the opt-ins `news` and `offers` (nord) and `press` (sued)."""

    def __init__(self, url: str) -> None:
        schema.create_crm(url)
        self.url = url
        self.words = STANDARD_WORDS_ONLY
        self._engine = writing_engine(url)
        self._events = 0
        for opt_in_id, mandator in (("news", "nord"), ("offers", "nord"), ("press", "sued")):
            self.add(
                schema.opt_in, opt_in_id=opt_in_id, mandator=mandator, description=opt_in_id.title(), media_type="email"
            )
        self.add(schema.marketing_list, id="all", name="Everybody", kind="static")

    @property
    def crm(self) -> Crm:
        """The CRM as the product reads it, with the words of `words`."""
        return SqlCrm(self.url, self.words)

    def add(self, table: Table, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(table), values)

    def execute(self, statement: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement))

    def person(self, entity_id: str, email: str | None, *, kind: str = "contact", **values: Any) -> None:
        """Add a record that is a member of `Everybody`."""
        self.add(schema.metadata.tables[kind], id=entity_id, email=email, **values)
        self.add(schema.marketing_list_member, marketing_list_id="all", entity_type=kind, entity_id=entity_id)

    def consent(
        self,
        entity_id: str,
        opt_in_id: str = "news",
        event: str = "granted",
        *,
        kind: str = "contact",
        days: int = 0,
        event_id: str | None = None,
    ) -> None:
        """Add a consent event, some days after noon of the first of March."""
        self._events += 1
        self.add(
            schema.consent_event,
            id=event_id or f"event-{self._events}",
            entity_type=kind,
            entity_id=entity_id,
            opt_in_id=opt_in_id,
            kind=event,
            occurred_at=NOON + timedelta(days=days),
            source="form",
        )

    def allow_anything(self) -> None:
        """Remove the constraints of `consent_event`: other CRMs have views instead."""
        if self.url.startswith("sqlite"):
            self.execute("ALTER TABLE consent_event RENAME TO strict")
            self.execute("CREATE TABLE consent_event AS SELECT * FROM strict")
            self.execute("CREATE INDEX event_of_opt_in ON consent_event (opt_in_id, entity_type, entity_id)")
            return
        if self.url.startswith("mariadb"):
            self.execute("ALTER TABLE consent_event DROP FOREIGN KEY consent_event_ibfk_1")
            for column in ("entity_type", "entity_id", "opt_in_id", "kind", "occurred_at"):
                self.execute(f"ALTER TABLE consent_event MODIFY {column} VARCHAR(64) NULL")
            return
        self.execute("ALTER TABLE consent_event DROP CONSTRAINT consent_event_opt_in_id_fkey")
        for column in ("entity_type", "entity_id", "opt_in_id", "kind", "occurred_at"):
            self.execute(f"ALTER TABLE consent_event ALTER COLUMN {column} DROP NOT NULL")

    def event(
        self,
        event_id: str,
        entity_type: str | None,
        entity_id: str | None,
        opt_in_id: str | None,
        kind: str | None,
        at: object,
    ) -> None:
        """Add a row of `consent_event` with exactly these values."""
        columns = ("id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at", "source")
        values = (event_id, entity_type, entity_id, opt_in_id, kind, at, "form")
        names = ", ".join(columns)
        with self._engine.begin() as connection:
            statement = text(
                f"INSERT INTO consent_event ({names}) VALUES ({', '.join(f':{column}' for column in columns)})"
            )
            connection.execute(statement, dict(zip(columns, values, strict=True)))

    def selected(
        self, pick: Pick = EVERYBODY, opt_in_id: str = "news", columns: Sequence[str] = (), chunk_rows: int = 20_000
    ) -> pd.DataFrame:
        with self.crm.snapshot() as snapshot:
            return pd.concat(list(snapshot.select(pick, opt_in_id, columns, chunk_rows=chunk_rows)), ignore_index=True)

    def suppressed(self, mandator: str = "nord") -> pd.DataFrame:
        with self.crm.snapshot() as snapshot:
            return snapshot.suppression(mandator)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with self._engine.begin() as connection:
            return [dict(row._mapping) for row in _ordered(connection, table)]


def _ordered(connection: Connection, table: Table) -> Sequence[Any]:
    return connection.execute(select(table).order_by(*table.primary_key.columns)).all()
