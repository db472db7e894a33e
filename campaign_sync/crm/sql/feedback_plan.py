"""What the vendor's feedback changes in a CRM whose tables can be read with SQL, before anything is written."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, column, select, table

from campaign_sync.crm.address_key import address_key, rows_by_address
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.chunks import by_type
from campaign_sync.crm.sql.consent_table import entity_type_of
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.crm.sql.schema import address_state, consent_event, opt_in
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import FINAL_BOUNCES, Bounce, BounceKind, CrmEntry, Unsubscribe, bounce_precedence
from campaign_sync.domain.instant import parse_instant
from campaign_sync.domain.text import normalize_text
from campaign_sync.domain.withdrawn_consents import withdrawn_consents

_WITHDRAWALS = uuid.UUID("a0f6c3a4-5f0e-4f0b-9d56-3d0d7f8f4b11")
"""Namespace of withdrawal ids. It must never change: by its id a withdrawal is known to be written already."""

_NEVER = datetime.min.replace(tzinfo=UTC)
"""In place of the time of a stored bounce that has none: every dated one is newer."""

_EVENTS = table("consent_event", *map(column, ("id", "entity_type", "entity_id", "opt_in_id")))

Feedback = TypeVar("Feedback", Bounce, Unsubscribe)


@dataclass(frozen=True)
class ConsentTargets:
    """What unsubscribes can be about."""

    opt_ins: Mapping[str, Mapping[str, str]]
    """The opt-ins of each mandator as the CRM spells them, by normalized id."""
    people: Mapping[str, Sequence[Entity]]
    """The records that have an address, by its key."""
    types: Mapping[EntityType, Sequence[str]]
    """The spellings of each entity type in the CRM's consent events."""


@dataclass(frozen=True)
class PlannedWithdrawal:
    """The withdrawal of one consent because of an unsubscribe."""

    unsubscribe: Unsubscribe
    entity: Entity
    opt_in_id: str
    """As the CRM spells it."""
    event_id: str
    is_new: bool
    """Whether the CRM lacks it."""

    @property
    def entry(self) -> CrmEntry:
        """The CRM's entry for the unsubscribe."""
        return CrmEntry(self.unsubscribe, self.is_new, self.entity, normalize_text(self.opt_in_id), self.event_id)

    @property
    def evidence(self) -> str:
        """The evidence of the withdrawal."""
        attribution = self.entry.attribution
        because = f", {attribution.meaning}" if attribution else ""
        return f"unsubscribed from mandator {self.unsubscribe.mandator} in Optimizely Campaign{because}"


def plan_withdrawals(
    unsubscribes: Sequence[Unsubscribe], targets: ConsentTargets, connection: Connection
) -> list[PlannedWithdrawal]:
    """Return the entry for each consent that unsubscribes withdraw; those that the CRM has already aren't new."""
    holders = {
        unsubscribe: targets.people.get(address_key(unsubscribe.address) or unsubscribe.address, [])
        for unsubscribe in unsubscribes
    }
    named = {consent.entity for unsubscribe in unsubscribes for consent in unsubscribe.consents} | {
        unsubscribe.entity for unsubscribe in unsubscribes if unsubscribe.entity
    }
    concerned = {entity for group in holders.values() for entity in group} | named
    earlier = _EarlierEvents.read(connection, concerned, targets.types)
    known, planned = set(earlier.event_ids), []
    for unsubscribe in unsubscribes:
        of_mandator = targets.opt_ins[unsubscribe.mandator]
        for entity, opt_in_id in withdrawn_consents(unsubscribe, holders[unsubscribe], earlier.opt_ins, of_mandator):
            event_id = withdrawal_id(unsubscribe, entity, normalize_text(opt_in_id))
            planned.append(PlannedWithdrawal(unsubscribe, entity, opt_in_id, event_id, event_id not in known))
            known.add(event_id)
    return planned


class _EarlierEvents:
    """The consent events that some entities have already."""

    def __init__(self) -> None:
        self.opt_ins: defaultdict[Entity, set[str]] = defaultdict(set)
        """The normalized ids of the opt-ins that each entity has events for."""
        self.event_ids: set[str] = set()

    @classmethod
    def read(
        cls, connection: Connection, entities: Collection[Entity], types: Mapping[EntityType, Sequence[str]]
    ) -> "_EarlierEvents":
        """Read the events of these entities. `types` are the CRM's spellings of entity types."""
        earlier = cls()
        source = SqlReader(connection).with_clean_key(_EVENTS, "entity_id")
        for entity_type, ids in by_type(entities):
            query = select(*source.c["id", "entity_id", "opt_in_id"]).where(
                source.c.entity_type.in_(types.get(entity_type, ())), source.c.entity_id.in_(ids)
            )
            for row in connection.execute(query):
                entity = Entity(entity_type, row.entity_id.strip())
                earlier.opt_ins[entity].add(normalize_word(row.opt_in_id))
                earlier.event_ids.add(row.id.strip())
        return earlier


def by_key(feedback: Iterable[Feedback]) -> dict[str, list[Feedback]]:
    """Return bounces or unsubscribes by the key of their address, or the address itself if it has none."""
    grouped = defaultdict(list)
    for entry in feedback:
        grouped[address_key(entry.address) or entry.address].append(entry)
    return dict(grouped)


def addresses_of(feedback: Iterable[Bounce | Unsubscribe]) -> tuple[str, ...]:
    """Return the addresses, each once."""
    return tuple(dict.fromkeys(entry.address for entry in feedback))


def decisive_bounces(reported: Mapping[str, Sequence[Bounce]]) -> dict[str, Bounce]:
    """Return the bounce of each address that takes precedence."""
    return {key: max(group, key=_precedence) for key, group in reported.items()}


def bounces_on_record(connection: Connection, keys: Collection[str]) -> dict[str, Row[Any]]:
    """Return the row of `address_state` for each address; of several spellings, the row that takes precedence."""
    stored: dict[str, Row[Any]] = {}
    query, read = address_states(connection), partial(streamed, connection)
    rows = rows_by_address(read, query, address_state.c.address, keys, connection.dialect.name)
    for row in sorted(rows, key=stored_precedence):
        stored[address_key(row.address) or ""] = row
    return stored


def is_new_bounce(bounce: Bounce, stored: Row[Any]) -> bool:
    """Return whether a bounce replaces a row of `address_state`."""
    known = stored_precedence(stored)
    return _precedence(bounce) > known if bounce.dated else (bounce.kind in FINAL_BOUNCES) > known[0]


def shows_bounce(stored: Row[Any], kind: BounceKind, occurred_at: datetime) -> bool:
    """Return whether a row of `address_state` is this bounce, or takes precedence. Some CRMs have no date for it."""
    known, reported = stored_precedence(stored), bounce_precedence(kind, occurred_at)
    return known >= reported or (known[0] == reported[0] and parse_instant(stored.bounced_at) is None)


def address_states(connection: Connection) -> Select[Any]:
    """Return the query for the addresses that bounced."""
    columns = address_state.c
    return select(*[columns.address, columns.bounce_kind, SqlReader(connection).moment(columns.bounced_at)])


def stored_precedence(stored: Row[Any]) -> tuple[bool, datetime]:
    """Return the precedence of a row of `address_state`, which may be in any spelling and without a time."""
    return bounce_precedence(normalize_word(stored.bounce_kind), parse_instant(stored.bounced_at) or _NEVER)


def _precedence(bounce: Bounce) -> tuple[bool, datetime]:
    return bounce_precedence(bounce.kind, bounce.occurred_at)


def entity_types(connection: Connection) -> dict[EntityType, list[str]]:
    """Return the spellings of each entity type in the CRM's consent events."""
    spellings: defaultdict[EntityType, list[str]] = defaultdict(list)
    for raw in connection.execute(select(consent_event.c.entity_type).distinct()).scalars():
        if entity_type := entity_type_of(raw):
            spellings[entity_type].append(raw)
    return dict(spellings)


def opt_ins_by_mandator(connection: Connection, mandators: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the opt-in ids of each mandator as the CRM spells them, by normalized id.

    Raises:
        CrmError: the CRM defines no opt-in at all for a mandator.
    """
    opt_ins: dict[str, dict[str, str]] = {mandator: {} for mandator in mandators}
    for row in connection.execute(select(opt_in.c.mandator, opt_in.c.opt_in_id)):
        mandator = normalize_text(str(row.mandator))
        if mandator in opt_ins:
            opt_ins[mandator][normalize_word(row.opt_in_id)] = row.opt_in_id
    unknown = sorted(mandator for mandator, opt_in_ids in opt_ins.items() if not opt_in_ids)
    if unknown:
        # Otherwise a differently spelled mandator would lose every unsubscribe silently.
        raise CrmError(
            f"the CRM defines no opt-in for mandator {', '.join(unknown)}, so its unsubscribes can't be recorded; "
            "opt_in.mandator must hold the mandator's name in the configuration"
        )
    return opt_ins


def withdrawal_id(unsubscribe: Unsubscribe, entity: Entity, opt_in_id: str) -> str:
    """Return the id of the entry for a withdrawal; `opt_in_id` is as the CRM spells it, normalized as text."""
    moment = unsubscribe.occurred_at.astimezone(UTC)
    identity = "\n".join([*entity, opt_in_id, moment.isoformat(), unsubscribe.source])
    return str(uuid.uuid5(_WITHDRAWALS, identity))


def streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """Yield the rows of a query without holding them all."""
    for chunk in connection.execute(query, execution_options={"yield_per": 20_000}).partitions():
        yield from chunk
