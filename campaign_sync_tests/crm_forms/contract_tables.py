"""A population in the contract's tables, with a consent event for each record of an address."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.sql import schema
from campaign_sync.domain.entity import Entity
from campaign_sync_tests.crm_forms.population import FIRST_DAY, Columns, Population
from campaign_sync_tests.databases import writing_engine

_LONG_AGO = FIRST_DAY - timedelta(days=2000)


class ContractTables:
    """The contract's tables in an empty database. An undated grant is an old event, as events have dates."""

    def __init__(self, url: str, opt_in_id: str, mandator: str) -> None:
        self.settings: dict[str, Any] = {"adapter": "sql", "url": url}
        self._url, self._opt_in_id, self._mandator = url, opt_in_id, mandator
        self._events = 0
        schema.create_crm(url)
        self._engine = writing_engine(url)

    def store(self, population: Population) -> None:
        """Fill the tables."""
        holders = population.holders()
        with self._engine.begin() as connection:
            connection.execute(
                insert(schema.opt_in).values(
                    opt_in_id=self._opt_in_id, mandator=self._mandator, description="Newsletter", media_type="email"
                )
            )
            for entity_type, table in schema.ENTITY_TABLES.items():
                rows = [{"id": key, **columns} for key, columns in population.of_type(entity_type)]
                connection.execute(insert(table), rows)
            for name, members in population.members.items():
                connection.execute(insert(schema.marketing_list).values(id=name, name=name, kind="static"))
                connection.execute(insert(schema.marketing_list_member), [_member(name, member) for member in members])
            events = [
                self._event(entity, "granted" if consent.granted else "withdrawn", consent.at or _LONG_AGO)
                for key, consent in population.consents.items()
                for entity in holders[key]
            ]
            connection.execute(insert(schema.consent_event), events)
            bounces = [
                {"address": key, "bounce_kind": "hard", "bounced_at": at} for key, at in population.bounced.items()
            ]
            connection.execute(insert(schema.address_state), bounces)

    def opt_out(self, address: str) -> None:
        """Withdraw the consents of everybody with an address."""
        self._add_events(address, "withdrawn", FIRST_DAY)

    def grant(self, address: str, at: datetime) -> None:
        """Grant the consents of everybody with an address, with a date."""
        self._add_events(address, "granted", at)

    def grant_undated(self, address: str) -> None:
        """Remove the withdrawals of everybody with an address, as a restored or edited CRM does."""
        event = schema.consent_event
        with self._engine.begin() as connection:
            for entity in self._holders(address):
                connection.execute(
                    delete(event).where(event.c.entity_id == entity.entity_id, event.c.kind == "withdrawn")
                )

    def add(self, entity: Entity, columns: Columns, marketing_list: str, at: datetime) -> None:
        """Add a record with a dated consent to a marketing list."""
        with self._engine.begin() as connection:
            connection.execute(insert(schema.ENTITY_TABLES[entity.entity_type]).values(id=entity.entity_id, **columns))
            connection.execute(insert(schema.marketing_list_member).values(_member(marketing_list, entity)))
            connection.execute(insert(schema.consent_event).values(self._event(entity, "granted", at)))

    def move(self, entity: Entity, email: str, at: datetime) -> None:
        """Give a record another address, and a dated consent for it."""
        table = schema.ENTITY_TABLES[entity.entity_type]
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == entity.entity_id).values(email=email))
            connection.execute(insert(schema.consent_event).values(self._event(entity, "granted", at)))

    def delete(self, entity: Entity) -> None:
        """Remove a record and its memberships."""
        table, member = schema.ENTITY_TABLES[entity.entity_type], schema.marketing_list_member
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.id == entity.entity_id))
            connection.execute(delete(member).where(member.c.entity_id == entity.entity_id))

    def withdrawn(self) -> set[str]:
        """Return the addresses whose consents the product has withdrawn."""
        event = schema.consent_event
        withdrawn = set()
        with self._engine.begin() as connection:
            for table in schema.ENTITY_TABLES.values():
                query = select(table.c.email).join(event, event.c.entity_id == table.c.id)
                for row in connection.execute(query.where(event.c.source.like("optimizely:%"))):
                    withdrawn.add(address_key(row.email) or "")
        return withdrawn

    def bounced(self) -> set[str]:
        """Return the addresses that the product has marked as bounced."""
        state = schema.address_state
        with self._engine.begin() as connection:
            query = select(state.c.address).where(state.c.source.like("optimizely:%"))
            return {address_key(address) or "" for address in connection.execute(query).scalars()}

    def _add_events(self, address: str, kind: str, at: datetime) -> None:
        events = [self._event(entity, kind, at) for entity in self._holders(address)]
        with self._engine.begin() as connection:
            connection.execute(insert(schema.consent_event), events)

    def _holders(self, address: str) -> list[Entity]:
        with self._engine.begin() as connection:
            return [
                Entity(entity_type, row.id)
                for entity_type, table in schema.ENTITY_TABLES.items()
                for row in connection.execute(select(table.c.id, table.c.email))
                if address_key(row.email) == address
            ]

    def _event(self, entity: Entity, kind: str, at: datetime) -> dict[str, Any]:
        self._events += 1
        return {
            "id": f"e{self._events}",
            "entity_type": entity.entity_type.value,
            "entity_id": entity.entity_id,
            "opt_in_id": self._opt_in_id,
            "kind": kind,
            "occurred_at": at,
        }


def _member(marketing_list: str, entity: Entity) -> dict[str, str]:
    return {
        "marketing_list_id": marketing_list,
        "entity_type": entity.entity_type.value,
        "entity_id": entity.entity_id,
    }
