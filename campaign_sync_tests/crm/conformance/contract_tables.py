"""A CRM with the contract's tables, read where it is, for the conformance tests."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, Table, insert, select, text

from campaign_sync.config import SqlSettings
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.source import SqlSource
from campaign_sync.crm.testing import OPT_INS, Capability, Consent, CrmUnderTest, Person, crm_context
from campaign_sync.domain.entity import Entity
from campaign_sync_tests.crm.lossy_driver import cutting, losing
from campaign_sync_tests.databases import writing_engine

_OUT_OF_REACH = {"postgresql": "postgresql+psycopg2://me@127.0.0.1:9/crm", "mariadb": "mariadb://me@127.0.0.1:9/crm"}
"""The port `discard`, on which no server listens."""

_SELECTION = "ORDER BY picked.entity_id"


class ContractTables(CrmUnderTest):
    """The tables in an empty database, with what makes rows odd allowed."""

    capabilities = frozenset(Capability) - {Capability.REFUSES_SOME, Capability.CUT}
    largest_chunk = 1_000

    def __init__(self, url: str) -> None:
        schema.create_crm(url)
        self.url = self._reachable = url
        self._engine = writing_engine(url)
        self._numbers = count()
        self.dialect = self._engine.dialect.name
        if self.dialect == "postgresql":
            self.capabilities |= {Capability.CUT}
        self._allow_anything()
        self._add(schema.opt_in, [asdict(opt_in) for opt_in in OPT_INS])
        self._add(schema.marketing_list, [{"id": "all", "name": "Everybody", "kind": "static"}])
        self.execute("CREATE TABLE visit (position INTEGER, entity_id TEXT, visits INTEGER)")
        self.execute("CREATE VIEW visitor AS SELECT entity_id, visits FROM visit")
        self._add(schema.report, [{"id": "v", "name": "Visitors", "entity_type": "contact", "view_name": "visitor"}])

    def open(self) -> Crm:
        return SqlCrm(self.url)

    def add_people(self, people: Sequence[Person]) -> None:
        for kind in self.entity_types:
            rows = [
                {
                    "id": person.entity.entity_id,
                    "email": person.email,
                    "first_name": person.first_name,
                    "city": person.city,
                }
                for person in people
                if person.entity.entity_type is kind
            ]
            self._add(schema.metadata.tables[kind.value], rows)

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        self._add(
            schema.marketing_list_member,
            [
                {"marketing_list_id": "all", "entity_type": entity_type, "entity_id": entity_id}
                for entity_type, entity_id in members
            ],
        )

    def add_consents(self, consents: Sequence[Consent]) -> None:
        self._add(
            schema.consent_event,
            [
                {
                    "id": f"event-{next(self._numbers):06}",
                    "entity_type": consent.person.entity.entity_type.value,
                    "entity_id": consent.person.entity.entity_id,
                    "opt_in_id": consent.opt_in_id,
                    "kind": consent.kind,
                    "occurred_at": consent.at,
                    "source": "form",
                }
                for consent in consents
            ],
        )

    def set_report(self, rows: Sequence[tuple[str, int]]) -> None:
        for position, (entity_id, visits) in enumerate(rows):
            self.execute(f"INSERT INTO visit VALUES ({position}, '{entity_id}', {visits})")

    def remove_consent(self, consent: Consent) -> None:
        self.execute(f"DELETE FROM consent_event WHERE entity_id = '{consent.person.entity.entity_id}'")

    def withdrawn(self) -> Collection[tuple[str, str]]:
        events = schema.consent_event
        query = select(events.c.entity_type, events.c.entity_id, events.c.opt_in_id).where(events.c.kind == "withdrawn")
        with self._engine.begin() as connection:
            return [(f"{kind}:{entity_id}", opt_in_id) for kind, entity_id, opt_in_id in connection.execute(query)]

    def bounced(self) -> Mapping[str, str]:
        states = schema.address_state
        with self._engine.begin() as connection:
            rows = connection.execute(select(states.c.address, states.c.bounce_kind))
            return {row.address: row.bounce_kind for row in rows}

    def losing_rows(self) -> AbstractContextManager[object]:
        return losing(_SELECTION, part=2)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.url = _OUT_OF_REACH.get(self.dialect, f"{self._reachable}.gone")
        yield
        self.url = self._reachable

    def cut(self) -> AbstractContextManager[object]:
        return cutting(_SELECTION, self._reachable)

    @contextmanager
    def refusing_writes(self, entities: Collection[Entity] = ()) -> Iterator[None]:
        records = ", ".join(f"'{entity.entity_id}'" for entity in entities)
        condition = f"NEW.entity_id IN ({records})" if records else "1 = 1"
        for statement in _REFUSALS[self.dialect]:
            self.execute(statement.format(condition=condition))
        yield
        self.execute(f"DROP TRIGGER refusal{' ON consent_event' if self.dialect == 'postgresql' else ''}")

    def execute(self, statement: str) -> None:
        """Execute a statement in the database."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def _add(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            with self._engine.begin() as connection:
                connection.execute(insert(table), rows)

    def _allow_anything(self) -> None:
        if self.dialect == "sqlite":
            with self._engine.begin() as connection:
                _without_constraints(connection)
        elif self.dialect == "mariadb":
            self.execute("ALTER TABLE consent_event MODIFY occurred_at DATETIME(6) NULL")
        else:
            self.execute("ALTER TABLE consent_event ALTER COLUMN occurred_at DROP NOT NULL")


def _without_constraints(connection: Connection) -> None:
    for statement in (
        "ALTER TABLE consent_event RENAME TO strict",
        "CREATE TABLE consent_event AS SELECT * FROM strict",
        "DROP TABLE strict",
        "CREATE UNIQUE INDEX event_id ON consent_event (id)",
        "CREATE INDEX event_of_opt_in ON consent_event (opt_in_id, entity_type, entity_id)",
    ):
        connection.execute(text(statement))


_BEFORE = "CREATE TRIGGER refusal BEFORE INSERT ON consent_event"

_RAISE = "RAISE check_violation USING MESSAGE = 'anna@example.org'"

_SIGNAL = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'anna@example.org'"

_REFUSALS = {
    "sqlite": [f"{_BEFORE} WHEN {{condition}} BEGIN SELECT RAISE(ABORT, 'anna@example.org'); END"],
    "postgresql": [
        f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS $$ BEGIN {_RAISE}; END $$ LANGUAGE plpgsql",
        f"{_BEFORE} FOR EACH ROW WHEN ({{condition}}) EXECUTE FUNCTION refuse()",
    ],
    "mariadb": [f"{_BEFORE} FOR EACH ROW IF {{condition}} THEN {_SIGNAL}; END IF"],
}


class CopiedTables(ContractTables):
    """The same tables, read from a copy."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url)
        self._folder = folder
        self.capabilities |= {Capability.REFUSES_SOME}

    def open(self) -> Crm:
        settings = SqlSettings.model_validate({"url": SecretStr(self.url)})
        return MirrorCrm(SqlSource(settings), settings, crm_context(self._folder), "contract tables")

    def losing_rows(self) -> AbstractContextManager[object]:
        return losing(self._people)

    def cut(self) -> AbstractContextManager[object]:
        return cutting(self._people, self._reachable)

    @property
    def _people(self) -> str:
        return f"{self._engine.dialect.identifier_preparer.quote_identifier('contact')} AS crm_rows"
