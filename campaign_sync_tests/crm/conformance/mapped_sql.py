"""A CRM in a SQL database with a schema of its own, mapped in the configuration, for the conformance tests."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from campaign_sync.config import SqlSettings
from campaign_sync.crm.port import Crm
from campaign_sync.crm.sql.open import open_sql
from campaign_sync.crm.testing import OPT_INS, Capability, Consent, CrmUnderTest, Person, crm_context
from campaign_sync.domain.entity import Entity
from campaign_sync_tests.databases import writing_engine

_PEOPLE = {
    kind: {"query": f"SELECT nr AS id, mail AS email, first_name, city FROM person WHERE kind = '{kind}'"}
    for kind in ("contact", "lead", "account")
}

_SECTION: dict[str, Any] = {
    "people_max_age": "1s",
    "opt_ins": {
        opt_in.opt_in_id: {"mandator": opt_in.mandator, "description": opt_in.description} for opt_in in OPT_INS
    },
    "tables": _PEOPLE
    | {
        "consent_state": {
            "table": "consent",
            "columns": {"entity_type": "person_kind", "entity_id": "person_nr", "kind": "word", "changed_at": "stated"},
            "constants": {"source": "CRM"},
        },
        "address_state": {"table": "bounced", "columns": {"address": "mail", "bounced_at": "moment"}},
        "marketing_list": {"query": "SELECT 7 AS id, 'Everybody' AS name", "constants": {"kind": "static"}},
        "marketing_list_member": {
            "query": "SELECT 7 AS marketing_list_id, person_kind AS entity_type, person_nr AS entity_id FROM member"
        },
        "report": {"query": "SELECT 'Visitors' AS name, 'contact' AS entity_type, 'visitor' AS view_name"},
    },
    "write_back": {
        "withdrawal": [
            """UPDATE consent SET word = 'withdrawn', stated = :occurred_at
            WHERE person_kind = :entity_type AND person_nr = :entity_id AND opt_in_id = :opt_in_id
            AND word <> 'withdrawn' AND (stated IS NULL OR stated <= :occurred_at)"""
        ],
        "bounce": [
            """UPDATE bounced SET bounce_kind = :bounce_kind, moment = :occurred_at
            WHERE mail = :address AND bounce_kind = 'soft'""",
            """INSERT INTO bounced (mail, bounce_kind, moment) SELECT :address, :bounce_kind, :occurred_at
            FROM (SELECT 1 AS present) AS single_row
            WHERE NOT EXISTS (SELECT 1 FROM bounced WHERE mail = :address)""",
        ],
    },
}

_TABLES = (
    "CREATE TABLE person (kind varchar(9), nr varchar(64), mail text, first_name text, city text)",
    """CREATE TABLE consent (
        person_kind varchar(64), person_nr varchar(64), opt_in_id varchar(64), word varchar(64), stated {time}
    )""",
    "CREATE INDEX consent_of_person ON consent (person_nr)",
    "CREATE TABLE member (person_kind varchar(64), person_nr varchar(64))",
    "CREATE TABLE bounced (mail varchar(200), bounce_kind varchar(9), moment {time})",
    "CREATE TABLE visit (entity_id varchar(64), visits integer)",
    "CREATE VIEW visitor AS SELECT entity_id, visits FROM visit",
    "CREATE TABLE refused (nr varchar(64))",
)

_REMOVAL = "DELETE FROM consent WHERE person_nr = :nr AND person_kind = :kind AND opt_in_id = :opt_in_id"

_TIMES = {"sqlite": "timestamp", "postgresql": "timestamp with time zone", "mariadb": "datetime(6) NULL"}

_CONDITION = "EXISTS (SELECT 1 FROM refused WHERE nr = {nr} OR nr = '*')"

_REFUSALS = {
    "sqlite": (
        f"""CREATE TRIGGER refusal BEFORE UPDATE ON consent BEGIN
        SELECT RAISE(ABORT, 'anna@example.org') WHERE {_CONDITION.format(nr="NEW.person_nr")}; END""",
    ),
    "postgresql": (
        f"""CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN
        IF {_CONDITION.format(nr="NEW.person_nr")} THEN RAISE EXCEPTION 'anna@example.org'; END IF;
        RETURN NEW; END $$ LANGUAGE plpgsql""",
        "CREATE TRIGGER refusal BEFORE UPDATE ON consent FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
    "mariadb": (
        f"""CREATE TRIGGER refusal BEFORE UPDATE ON consent FOR EACH ROW
        IF {_CONDITION.format(nr="NEW.person_nr")}
        THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'anna@example.org'; END IF""",
    ),
}

_OUT_OF_REACH = {
    "postgresql": "postgresql://reader@127.0.0.1:9/crm",
    "mariadb": "mariadb://reader@127.0.0.1:9/crm",
}
"""The port `discard`, on which no server listens."""


class MappedSql(CrmUnderTest):
    """The tables in an empty database, with triggers that refuse changes of the records in `refused`."""

    capabilities = frozenset(Capability) - {Capability.EVENTS, Capability.LOSES_ROWS, Capability.CUT}
    largest_chunk = 5_000

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder = url, folder
        self._engine = writing_engine(url)
        self._dialect = self._engine.dialect.name
        if self._dialect == "mariadb":
            self._run(f"ALTER DATABASE {self._engine.url.database} COLLATE utf8mb4_bin")
        for statement in (*_TABLES, *_REFUSALS[self._dialect]):
            self._run(statement.replace("{time}", _TIMES[self._dialect]))

    def open(self) -> Crm:
        section = SqlSettings.model_validate({"url": SecretStr(self.url)} | _SECTION)
        return open_sql(section, crm_context(self._folder))

    def add_people(self, people: Sequence[Person]) -> None:
        rows: list[dict[str, object]] = [
            {"kind": person.entity.entity_type.value, "nr": person.entity.entity_id}
            | {"mail": person.email, "first_name": person.first_name, "city": person.city}
            for person in people
        ]
        self._run("INSERT INTO person VALUES (:kind, :nr, :mail, :first_name, :city)", *rows)

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        self._run("INSERT INTO member VALUES (:kind, :nr)", *({"kind": kind, "nr": nr} for kind, nr in members))

    def add_consents(self, consents: Sequence[Consent]) -> None:
        self._run(_REMOVAL, *map(self._key, consents))
        rows = [
            self._key(consent)
            | {"word": consent.kind, "stated": consent.at and consent.at.replace(tzinfo=None).isoformat(" ")}
            for consent in consents
        ]
        self._run("INSERT INTO consent VALUES (:kind, :nr, :opt_in_id, :word, :stated)", *rows)

    def remove_consent(self, consent: Consent) -> None:
        self._run(_REMOVAL, self._key(consent))

    def withdrawn(self) -> Collection[tuple[str, str]]:
        query = "SELECT person_kind, person_nr, opt_in_id FROM consent WHERE word = 'withdrawn'"
        return [(f"{kind}:{nr}", opt_in_id) for kind, nr, opt_in_id in self._rows(query)]

    def bounced(self) -> Mapping[str, str]:
        return dict(map(tuple, self._rows("SELECT mail, bounce_kind FROM bounced")))

    def set_report(self, rows: Sequence[tuple[str, int]]) -> None:
        self._run("INSERT INTO visit VALUES (:nr, :visits)", *({"nr": nr, "visits": visits} for nr, visits in rows))

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        reachable = self.url
        self.url = _OUT_OF_REACH.get(self._dialect, f"{self.url}.gone")
        yield
        self.url = reachable

    @contextmanager
    def refusing_writes(self, entities: Collection[Entity] = ()) -> Iterator[None]:
        refused = [entity.entity_id for entity in entities] or ["*"]
        self._run("INSERT INTO refused VALUES (:nr)", *({"nr": nr} for nr in refused))
        yield
        self._run("DELETE FROM refused")

    def _key(self, consent: Consent) -> dict[str, object]:
        entity = consent.person.entity
        return {"kind": entity.entity_type.value, "nr": entity.entity_id, "opt_in_id": consent.opt_in_id}

    def _run(self, statement: str, *rows: Mapping[str, object]) -> None:
        if rows or ":" not in statement:
            with self._engine.begin() as connection:
                connection.execute(text(statement), list(rows) or None)

    def _rows(self, query: str) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(text(query)).all()
