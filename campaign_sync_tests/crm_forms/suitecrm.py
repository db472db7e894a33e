"""A population in SuiteCRM's own schema on MariaDB."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm_forms.population import FIRST_DAY, Columns, Consent, Population
from campaign_sync_tests.databases import writing_engine

_SCHEMA = Path(__file__).parents[1] / "crm" / "suitecrm.sql"

_TABLES = {EntityType.CONTACT: "contacts", EntityType.LEAD: "leads", EntityType.ACCOUNT: "accounts"}

_MODULES = {EntityType.CONTACT: "Contacts", EntityType.LEAD: "Leads", EntityType.ACCOUNT: "Accounts"}


class SuiteCrm:
    """SuiteCRM's tables in an empty database: consents are flags of addresses, which it compares without case."""

    def __init__(self, url: str, opt_in_id: str, mandator: str) -> None:
        self.settings: dict[str, Any] = {
            "adapter": "sql",
            "url": url,
            "preset": "suitecrm",
            "opt_ins": {opt_in_id: {"mandator": mandator, "description": "Newsletter"}},
        }
        self._engine = writing_engine(url)
        self._left: set[str] = set()
        self._bounced_before: set[str] = set()
        self._address_ids: dict[str, str] = {}
        for statement in _SCHEMA.read_text(encoding="utf-8").split(";\n"):
            self._run(statement)

    def store(self, population: Population) -> None:
        """Fill the tables."""
        for entity_type in EntityType:
            records = list(population.of_type(entity_type))
            self._run(_insert_record(entity_type), [_record(entity_type, *record) for record in records])
        self._add_addresses(population, population.records.items())
        for name, members in population.members.items():
            self._run("INSERT INTO prospect_lists (id, name, list_type) VALUES (:id, :id, 'default')", [{"id": name}])
            self._run(
                "INSERT INTO prospect_lists_prospects (id, prospect_list_id, related_id, related_type) "
                "VALUES (:id, :list, :record, :module)",
                [_member(name, member) for member in members],
            )
        self._left = {key for key, consent in population.consents.items() if not consent.granted}
        self._bounced_before = set(population.bounced)

    def opt_out(self, address: str) -> None:
        """Set the flag of an address, as a person in SuiteCRM does."""
        self._left.add(address)
        self._change("opt_out = 1", address)

    def grant(self, address: str, at: datetime) -> None:
        """Confirm the opt-in of an address, with a date."""
        self._change(
            "opt_out = 0, confirm_opt_in = 'confirmed-opt-in', confirm_opt_in_date = :at", address, at=_utc(at)
        )

    def grant_undated(self, address: str) -> None:
        """Remove the flag of an address."""
        self._change("opt_out = 0, confirm_opt_in = 'opt-in', confirm_opt_in_date = NULL", address)

    def add(self, entity: Entity, columns: Columns, marketing_list: str, at: datetime) -> None:
        """Add a record with a dated consent to a marketing list."""
        self._run(_insert_record(entity.entity_type), [_record(entity.entity_type, entity.entity_id, columns)])
        key = address_key(columns["email"]) or ""
        self._add_addresses(Population({entity: columns}, {}, {key: Consent(True, at)}), [(entity, columns)])
        self._run(
            "INSERT INTO prospect_lists_prospects (id, prospect_list_id, related_id, related_type) "
            "VALUES (:id, :list, :record, :module)",
            [_member(marketing_list, entity)],
        )

    def move(self, entity: Entity, email: str, at: datetime) -> None:
        """Give a record another address, and a dated consent for it."""
        self._run("UPDATE email_addr_bean_rel SET deleted = 1 WHERE bean_id = :id", [{"id": entity.entity_id}])
        self._add_addresses(Population({}, {}, {email: Consent(True, at)}), [(entity, {"email": email})])

    def delete(self, entity: Entity) -> None:
        """Mark a record and its memberships as deleted, as SuiteCRM does."""
        self._run(f"UPDATE {_TABLES[entity.entity_type]} SET deleted = 1 WHERE id = :id", [{"id": entity.entity_id}])
        self._run("UPDATE prospect_lists_prospects SET deleted = 1 WHERE related_id = :id", [{"id": entity.entity_id}])

    def withdrawn(self) -> set[str]:
        """Return the addresses whose flag the product has set."""
        return self._flagged("opt_out") - self._left

    def bounced(self) -> set[str]:
        """Return the addresses that the product has marked as invalid."""
        return self._flagged("invalid_email") - self._bounced_before

    def _flagged(self, flag: str) -> set[str]:
        with self._engine.connect() as connection:
            rows = connection.execute(text(f"SELECT email_address FROM email_addresses WHERE {flag} = 1"))
            return {address_key(row[0]) or "" for row in rows}

    def _change(self, what: str, address: str, **values: object) -> None:
        """Change every row of an address, in whatever spelling it is stored."""
        ids = [identity for identity, key in self._address_ids.items() if key == address]
        self._run(f"UPDATE email_addresses SET {what} WHERE id = :id", [{"id": row, **values} for row in ids])

    def _add_addresses(self, population: Population, people: Iterable[tuple[Entity, Columns]]) -> None:
        """Add the addresses of people. Two spellings of an address are two rows, as imports make them."""
        rows: dict[str, dict[str, object]] = {}
        relations = []
        for entity, columns in people:
            email = columns["email"]
            if email is None:
                continue
            number = len(self._address_ids) + len(rows) + 1
            key = address_key(email) or ""
            consent = population.consents.get(key)
            if email not in rows:
                granted_at = consent.at if consent and consent.granted else None
                rows[email] = {
                    "id": f"address-{number}",
                    "email": email,
                    "caps": email.upper(),
                    "invalid": int(key in population.bounced),
                    "opt_out": int(consent is not None and not consent.granted),
                    "word": _word(consent),
                    "at": _utc(granted_at),
                    "edited": _utc(FIRST_DAY),
                }
            relations.append(
                {
                    "id": f"{entity.entity_id}-{rows[email]['id']}",
                    "address": rows[email]["id"],
                    "record": entity.entity_id,
                    "module": _MODULES[entity.entity_type],
                }
            )
        self._address_ids |= {str(row["id"]): address_key(str(row["email"])) or "" for row in rows.values()}
        self._run(
            "INSERT INTO email_addresses (id, email_address, email_address_caps, invalid_email, opt_out, "
            "confirm_opt_in, confirm_opt_in_date, date_modified) "
            "VALUES (:id, :email, :caps, :invalid, :opt_out, :word, :at, :edited)",
            list(rows.values()),
        )
        self._run(
            "INSERT INTO email_addr_bean_rel (id, email_address_id, bean_id, bean_module, primary_address) "
            "VALUES (:id, :address, :record, :module, 1)",
            relations,
        )

    def _run(self, statement: str, values: list[dict[str, object]] | None = None) -> None:
        if values == []:
            return
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)


def _word(consent: Consent | None) -> str:
    if consent is None or not consent.granted:
        return "not-opt-in"
    return "confirmed-opt-in" if consent.at else "opt-in"


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=None, microsecond=0) if moment else None


def _insert_record(entity_type: EntityType) -> str:
    names = ("id", *_COLUMNS[entity_type].values())
    return f"INSERT INTO {_TABLES[entity_type]} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"


_PERSON = {
    "first_name": "first_name",
    "last_name": "last_name",
    "salutation": "salutation",
    "postal_code": "primary_address_postalcode",
    "city": "primary_address_city",
    "country": "primary_address_country",
}

_COLUMNS = {
    EntityType.CONTACT: _PERSON,
    EntityType.LEAD: _PERSON,
    EntityType.ACCOUNT: {
        "company": "name",
        "postal_code": "billing_address_postalcode",
        "city": "billing_address_city",
    },
}
"""SuiteCRM's column for a column of a population."""


def _record(entity_type: EntityType, entity_id: str, columns: Columns) -> dict[str, object]:
    return {"id": entity_id} | {theirs: columns[ours] for ours, theirs in _COLUMNS[entity_type].items()}


def _member(marketing_list: str, entity: Entity) -> dict[str, object]:
    return {
        "id": f"{marketing_list[:3]}-{entity.entity_id}",
        "list": marketing_list,
        "record": entity.entity_id,
        "module": _MODULES[entity.entity_type],
    }
