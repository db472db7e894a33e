"""SuiteCRM's own schema, read by the preset, for the conformance tests."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import text

from campaign_sync.config import SqlSettings
from campaign_sync.crm.port import Crm, CrmNeeds
from campaign_sync.crm.sql import ADAPTER
from campaign_sync.crm.testing import (
    COLUMNS,
    EVERYBODY,
    OPT_INS,
    Capability,
    Consent,
    CrmUnderTest,
    Person,
    crm_context,
)
from campaign_sync.domain.entity import Entity
from campaign_sync_tests.crm.lossy_driver import losing
from campaign_sync_tests.crm.test_suitecrm import MODULES, SuiteCrm

_TABLES = {"contact": "contacts", "lead": "leads", "account": "accounts"}

_OUT_OF_REACH = "mariadb://me@127.0.0.1:9/crm"


class SuiteTables(CrmUnderTest):
    """SuiteCRM. Its consents belong to addresses, are for everything, and only grants can have a date."""

    capabilities = frozenset(
        {
            *(Capability.UNDATED, Capability.ANY_MEMBER, Capability.REMOVABLE_CONSENTS, Capability.LOSES_ROWS),
            *(Capability.UNREACHABLE, Capability.REFUSES_WRITES, Capability.REFUSES_SOME),
        }
    )
    opt_ins = OPT_INS[:1]
    by_address = True
    largest_chunk = 100

    def __init__(self, url: str, folder: Path) -> None:
        self.url = self._reachable = url
        self._folder = folder
        self._suite = SuiteCrm(url)
        self._execute("ALTER TABLE contacts CONVERT TO CHARACTER SET utf8mb4")  # as in SuiteCRM 8
        for table in ("contacts", "leads"):
            self._execute(f"ALTER TABLE {table} ADD COLUMN city varchar(100) CHARACTER SET utf8mb4")
        self._list = self._suite.add("prospect_lists", name=EVERYBODY.name, list_type="default")
        self._emails: dict[Entity, str | None] = {}

    def open(self) -> Crm:
        opt_ins = {
            opt_in.opt_in_id: {"mandator": opt_in.mandator, "description": opt_in.description}
            for opt_in in self.opt_ins
        }
        settings = {"url": SecretStr(self.url), "preset": "suitecrm", "opt_ins": opt_ins}
        needs = CrmNeeds(frozenset({EVERYBODY}), frozenset(COLUMNS))
        return ADAPTER.open(SqlSettings.model_validate(settings), crm_context(self._folder, needs))

    def add_people(self, people: Sequence[Person]) -> None:
        for person in people:
            table = _TABLES[person.entity.entity_type.value]
            values = (
                {"name": "ACME"}
                if table == "accounts"
                else {"first_name": person.first_name, "last_name": "", "city": person.city}
            )
            self._suite.add(table, id=person.entity.entity_id, **values)
            self._emails[person.entity] = person.email
            if person.email:
                address = self._suite.address(person.email)
                self._suite.link(table, person.entity.entity_id, address, primary_address=1)

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        for entity_type, entity_id in members:
            module = MODULES[_TABLES[entity_type]] if entity_type in _TABLES else entity_type
            self._suite.add(
                "prospect_lists_prospects", prospect_list_id=self._list, related_id=entity_id, related_type=module
            )

    def add_consents(self, consents: Sequence[Consent]) -> None:
        for consent in consents:
            value = "opt_out = 1" if consent.kind == "withdrawn" else "opt_out = 0, confirm_opt_in = 'opt-in'"
            self._set(consent, value)

    def remove_consent(self, consent: Consent) -> None:
        self._set(consent, "opt_out = 0, confirm_opt_in = NULL")

    def withdrawn(self) -> Collection[tuple[str, str]]:
        flags = self._suite.flags("opt_out")
        return [(email.strip().lower(), OPT_INS[0].opt_in_id) for email, is_out in flags.items() if is_out]

    def bounced(self) -> Mapping[str, str]:
        flags = self._suite.flags("invalid_email")
        return {email.strip().lower(): "hard" for email, is_invalid in flags.items() if is_invalid}

    def losing_rows(self) -> AbstractContextManager[object]:
        return losing("confirmed-opt-in")

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.url = _OUT_OF_REACH
        yield
        self.url = self._reachable

    @contextmanager
    def refusing_writes(self, entities: Collection[Entity] = ()) -> Iterator[None]:
        emails = ", ".join(f"'{self._emails[entity]}'" for entity in entities)
        condition = f"NEW.email_address IN ({emails})" if emails else "1 = 1"
        self._execute(
            f"CREATE TRIGGER refusal BEFORE UPDATE ON email_addresses FOR EACH ROW IF {condition} THEN "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'anna@example.org'; END IF"
        )
        yield
        self._execute("DROP TRIGGER refusal")

    def _set(self, consent: Consent, values: str) -> None:
        spelling = "CONVERT(LOWER(TRIM(email_address)) USING utf8mb4) COLLATE utf8mb4_bin"
        statement = f"UPDATE email_addresses SET {values} WHERE {spelling} = :email"
        with self._suite.engine.begin() as connection:
            connection.execute(text(statement), {"email": self.subject(consent.person)})

    def _execute(self, statement: str) -> None:
        with self._suite.engine.begin() as connection:
            connection.exec_driver_sql(statement)
