"""Invented people with every ugliness of the demonstration, and what happens to them, whatever CRM holds them.

Consents are of addresses, as most CRMs keep them: everybody with an address has its consent.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.sandbox import demo_people

FIRST_DAY = datetime(2026, 3, 1, 6, tzinfo=UTC)
NEWSLETTER, PARTNERS, STAFF = "Newsletter Nord", "Partner Süd", "Eigene Leute"

Columns = dict[str, str | None]


@dataclass(frozen=True)
class Consent:
    """The consent of an address as a CRM shows it."""

    granted: bool
    at: datetime | None
    """Its own date; None where the CRM keeps none."""


@dataclass
class Population:
    """Everybody in a CRM, and what the CRM says of them."""

    records: dict[Entity, Columns]
    members: dict[str, list[Entity]]
    """By marketing list."""
    consents: dict[str, Consent] = field(default_factory=dict)
    """By normalized address."""
    bounced: dict[str, datetime] = field(default_factory=dict)
    """By normalized address."""

    def holders(self) -> dict[str, list[Entity]]:
        """Return who has which address, by normalized address."""
        holders: dict[str, list[Entity]] = {}
        for entity, columns in self.records.items():
            if key := address_key(columns["email"]):
                holders.setdefault(key, []).append(entity)
        return holders

    def of_type(self, entity_type: EntityType) -> Iterator[tuple[str, Columns]]:
        """Yield the records of a type with their ids."""
        for entity, columns in self.records.items():
            if entity.entity_type is entity_type:
                yield entity.entity_id, columns


def populate(size: int, seed: int = 1) -> Population:
    """Return about `size` people: contacts, leads and accounts, some of whom share an address."""
    rng = random.Random(seed)
    shares = {EntityType.CONTACT: 0.56, EntityType.LEAD: 0.26, EntityType.ACCOUNT: 0.18}
    rows: dict[EntityType, list[Columns]] = {}
    for entity_type, share in shares.items():
        ids = [f"{entity_type.value[0]}{number:05}" for number in range(int(size * share))]
        rows[entity_type] = demo_people.people(entity_type, ids, len(ids) // 2, rng)
    for contact, lead in list(zip(rows[EntityType.CONTACT], rows[EntityType.LEAD], strict=False))[::25]:
        lead["email"] = contact["email"]
    records = {
        Entity(entity_type, str(row["id"])): {name: value for name, value in row.items() if name != "id"}
        for entity_type, people in rows.items()
        for row in people
    }
    contacts, leads, accounts = (
        [entity for entity in records if entity.entity_type is entity_type] for entity_type in shares
    )
    members = {
        NEWSLETTER: [*contacts[: len(contacts) // 2], *leads[: len(leads) // 2]],
        PARTNERS: accounts[: len(accounts) // 2],
        STAFF: contacts[7 :: len(contacts) // 20],
    }
    population = Population(records, members)
    for key in population.holders():
        population.consents[key] = _first_consent(rng)
        if rng.random() < 0.01:
            population.bounced[key] = FIRST_DAY - timedelta(days=rng.randint(1, 700))
    population.consents = {key: consent for key, consent in population.consents.items() if rng.random() > 0.03}
    return population


def _first_consent(rng: random.Random) -> Consent:
    at = FIRST_DAY - timedelta(days=rng.randint(1, 1500), seconds=rng.randint(0, 86_399))
    chance = rng.random()
    if chance < 0.04:
        return Consent(False, None)
    return Consent(True, at if chance < 0.6 else None)
