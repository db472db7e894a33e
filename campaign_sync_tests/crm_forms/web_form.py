"""What the forms that are web APIs have in common: consents and bounces are values of each record."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm_forms.population import FIRST_DAY, Columns, Consent, Population
from campaign_sync_tests.crm_forms.rows import Row, Rows


@dataclass(frozen=True)
class RecordFields:
    """The names of a table of people, and of what the product writes into it."""

    table: str
    columns: Mapping[str, str]
    """Its field for a column of the population."""
    granted: str
    granted_at: str
    bounced: str
    bounced_at: str
    no_mail: str | None
    """The box for no mail at all, without a date; None if the table has none."""


class WebForm(ABC):
    """A population behind a web API. Every holder of an address has its consent and its bounce."""

    secrets: ClassVar[dict[str, str]]
    """The environment variables of the login."""
    key: ClassVar[str | None]
    """The field with the id of a row; None if it is named after the table."""
    member_table: ClassVar[str]
    """The table of memberships."""
    fields: ClassVar[Mapping[EntityType, RecordFields]]
    """The tables of people."""
    bounce: ClassVar[str | bool]
    """What an address has that bounced."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._ids: dict[Entity, str] = {}
        self._addresses: dict[Entity, str | None] = {}
        self._members: dict[Entity, list[str]] = {}
        self._left: set[str] = set()
        self._bounced_before: set[str] = set()

    @abstractmethod
    def add_members(self, marketing_list: str, members: Iterable[Entity]) -> None:
        """Add members to a marketing list, which is made if there is none."""

    def store(self, population: Population) -> None:
        """Fill the CRM."""
        for entity_type in EntityType:
            self._add_records(
                population,
                [entity for entity in population.records if entity.entity_type is entity_type],
            )
        for name, members in population.members.items():
            self.add_members(name, members)
        self._left = {key for key, consent in population.consents.items() if not consent.granted}
        self._bounced_before = set(population.bounced)

    def opt_out(self, address: str) -> None:
        """Tick the box for no mail at all, which leaves the consent as it was."""
        self._left.add(address)
        self._change(address, Consent(False, None))

    def grant(self, address: str, at: datetime) -> None:
        """Grant the consents of everybody with an address, with a date."""
        self._change(address, Consent(True, at))

    def grant_undated(self, address: str) -> None:
        """Grant the consents of everybody with an address, without a date."""
        self._change(address, Consent(True, None))

    def add(self, entity: Entity, columns: Columns, marketing_list: str, at: datetime) -> None:
        """Add a record with a dated consent to a marketing list."""
        key = address_key(columns["email"]) or ""
        self._add_records(Population({entity: columns}, {}, {key: Consent(True, at)}), [entity])
        self.add_members(marketing_list, [entity])

    def move(self, entity: Entity, email: str, at: datetime) -> None:
        """Give a record another address, and a dated consent for it."""
        names = self.fields[entity.entity_type]
        values = {names.columns["email"]: email, **_consent_values(names, Consent(True, at))}
        self._rows.change(names.table, self._ids[entity], values)
        self._addresses[entity] = address_key(email)

    def delete(self, entity: Entity) -> None:
        """Remove a record and its memberships."""
        self._rows.remove(self.fields[entity.entity_type].table, self._ids.pop(entity))
        for member in self._members.pop(entity, ()):
            self._rows.remove(self.member_table, member)

    def withdrawn(self) -> set[str]:
        """Return the addresses whose consents the product has withdrawn."""
        return {
            address
            for names, address, row in self._people()
            if row.get(names.granted_at) and not row.get(names.granted)
        } - self._left

    def bounced(self) -> set[str]:
        """Return the addresses that the product has marked as bounced."""
        return {address for names, address, row in self._people() if row.get(names.bounced_at)} - self._bounced_before

    def note_members(self, members: Iterable[Entity], ids: Iterable[str]) -> None:
        """Keep the ids of memberships."""
        for entity, key in zip(members, ids, strict=True):
            self._members.setdefault(entity, []).append(key)

    def id_of(self, entity: Entity) -> str:
        """Return the CRM's id of a record."""
        return self._ids[entity]

    def original_ids(self) -> dict[str, str]:
        """Return the id in the population of each record, by the CRM's id."""
        return {key: entity.entity_id for entity, key in self._ids.items()}

    def _people(self) -> Iterator[tuple[RecordFields, str, Row]]:
        addresses = {self._ids[entity]: address for entity, address in self._addresses.items() if entity in self._ids}
        for names in self.fields.values():
            for row in self._rows.all(names.table):
                if address := addresses.get(row[self.key or f"{names.table}id"]):
                    yield names, address, row

    def _add_records(self, population: Population, entities: list[Entity]) -> None:
        if not entities:
            return
        names = self.fields[entities[0].entity_type]
        rows = []
        for entity in entities:
            columns = population.records[entity]
            self._addresses[entity] = key = address_key(columns["email"])
            values: dict[str, Any] = {theirs: columns.get(ours) for ours, theirs in names.columns.items()}
            rows.append({**values, **self._first_values(names, population, key or "")})
        self._ids |= dict(zip(entities, self._rows.add(names.table, rows), strict=True))

    def _change(self, address: str, consent: Consent) -> None:
        for entity, key in self._addresses.items():
            if key == address and entity in self._ids:
                names = self.fields[entity.entity_type]
                self._rows.change(names.table, self._ids[entity], _consent_values(names, consent))

    def _first_values(self, names: RecordFields, population: Population, key: str) -> dict[str, Any]:
        """Return the consent and the bounce of a new record; who left was a subscriber before."""
        values: dict[str, Any] = {}
        if consent := population.consents.get(key):
            before = {names.granted: True, names.granted_at: iso(FIRST_DAY)} if not consent.granted else {}
            values = {**before, **_consent_values(names, consent)}
        if at := population.bounced.get(key):
            values |= {names.bounced: self.bounce, names.bounced_at: iso(at)}
        return values


def _consent_values(names: RecordFields, consent: Consent) -> dict[str, Any]:
    if consent.granted:
        mail = {names.no_mail: False} if names.no_mail else {}
        return {names.granted: True, names.granted_at: consent.at and iso(consent.at), **mail}
    # An empty box without a date says nothing. Without a box for no mail at all, it has a date.
    return {names.no_mail: True} if names.no_mail else {names.granted: False, names.granted_at: iso(FIRST_DAY)}


def iso(moment: datetime) -> str:
    """Return a moment as both APIs write it; neither keeps fractions of a second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
