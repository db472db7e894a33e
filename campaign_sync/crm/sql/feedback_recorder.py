"""The write-back of the vendor's feedback into a CRM in a SQL database. A repetition writes nothing."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    case,
    column,
    insert,
    select,
    table,
    update,
)

from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.port import CrmError, OnWritten, WriteBack
from campaign_sync.crm.sql.chunks import IDS_PER_QUERY, by_type, chunks, writing, written
from campaign_sync.crm.sql.consent_table import entity_type_of
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.crm.sql.schema import address_state, consent_event, opt_in
from campaign_sync.domain.consent import ConsentKind, normalize_word
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import FINAL_BOUNCES, Bounce, CrmEntry, Unsubscribe, bounce_precedence
from campaign_sync.domain.instant import parse_instant
from campaign_sync.domain.text import normalize_text
from campaign_sync.domain.withdrawn_consents import withdrawn_consents

_WITHDRAWALS = uuid.UUID("a0f6c3a4-5f0e-4f0b-9d56-3d0d7f8f4b11")
"""Namespace of withdrawal ids. It must never change: by its id a withdrawal is known to be written already."""

_NEVER = datetime.min.replace(tzinfo=UTC)
"""In place of the time of a stored bounce that has none: every dated one is newer."""

_EVENTS = table("consent_event", *map(column, ("id", "entity_type", "entity_id", "opt_in_id")))

Feedback = TypeVar("Feedback", Bounce, Unsubscribe)


def record_bounces(engine: Engine, bounces: Sequence[Bounce], on_written: OnWritten) -> WriteBack:
    """Mark addresses as bounced. See `Crm.record_bounces`."""
    doing = "recording bounces"
    reported = _by_key(bounces)
    decisive = {key: max(group, key=_precedence) for key, group in reported.items()}
    with writing(engine, doing) as connection:
        known = people_by_address(partial(_streamed, connection), reported)
        stored = _bounces_on_record(connection, reported)
    count = 0
    for keys in chunks(list(known)):
        decisive_of_chunk = {key: decisive[key] for key in keys}
        new_keys = written(engine, doing, partial(_write_bounces, decisive_of_chunk, stored))
        count += len(new_keys)
        on_written([CrmEntry(bounce, key in new_keys) for key in keys for bounce in reported[key]])
    unmatched = [bounce for bounce in bounces if address_key(bounce.address) not in known]
    return WriteBack(count, len(known) - count, _addresses(unmatched))


def record_unsubscribes(engine: Engine, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten) -> WriteBack:
    """Append withdrawals. See `Crm.record_unsubscribes`."""
    doing = "recording unsubscribes"
    with writing(engine, doing) as connection:
        opt_ins = _opt_ins_by_mandator(connection, {unsubscribe.mandator for unsubscribe in unsubscribes})
        people = people_by_address(partial(_streamed, connection), _by_key(unsubscribes))
        types = _entity_types(connection)
    new, all_events, matched = 0, 0, set[Unsubscribe]()
    for chunk in chunks(unsubscribes):
        entries = written(engine, doing, partial(_write_withdrawals, chunk, people, opt_ins, types))
        new += sum(entry.new for entry in entries)
        all_events += len({entry.event_id for entry in entries})
        matched |= {entry.feedback for entry in entries if isinstance(entry.feedback, Unsubscribe)}
        on_written(entries)
    return WriteBack(
        new, all_events - new, _addresses(unsubscribe for unsubscribe in unsubscribes if unsubscribe not in matched)
    )


def _write_withdrawals(
    chunk: Sequence[Unsubscribe],
    people: Mapping[str, Sequence[Entity]],
    opt_ins: Mapping[str, Mapping[str, str]],
    types: Mapping[EntityType, Sequence[str]],
    connection: Connection,
) -> list[CrmEntry]:
    holders = {
        unsubscribe: people.get(address_key(unsubscribe.address) or unsubscribe.address, []) for unsubscribe in chunk
    }
    named = {consent.entity for unsubscribe in chunk for consent in unsubscribe.consents} | {
        unsubscribe.entity for unsubscribe in chunk if unsubscribe.entity
    }
    earlier = _EarlierEvents.read(connection, {entity for group in holders.values() for entity in group} | named, types)
    withdrawals: dict[str, dict[str, Any]] = {}
    entries = []
    for unsubscribe in chunk:
        of_mandator = opt_ins[unsubscribe.mandator]
        for entity, opt_in_id in withdrawn_consents(unsubscribe, holders[unsubscribe], earlier.opt_ins, of_mandator):
            event_id = _withdrawal_id(unsubscribe, entity, normalize_text(opt_in_id))
            is_new = event_id not in earlier.event_ids and event_id not in withdrawals
            entry = CrmEntry(unsubscribe, is_new, entity, normalize_text(opt_in_id), event_id)
            if is_new:
                # With the opt-in id as the CRM spells it.
                withdrawals[event_id] = _withdrawal(unsubscribe, entry) | {"opt_in_id": opt_in_id}
            entries.append(entry)
    if withdrawals:
        connection.execute(insert(consent_event), list(withdrawals.values()))
    return entries


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


def _by_key(feedback: Iterable[Feedback]) -> dict[str, list[Feedback]]:
    grouped = defaultdict(list)
    for entry in feedback:
        grouped[address_key(entry.address) or entry.address].append(entry)
    return dict(grouped)


def _addresses(feedback: Iterable[Bounce | Unsubscribe]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.address for entry in feedback))


def _bounces_on_record(connection: Connection, keys: Collection[str]) -> dict[str, Row[Any]]:
    """Return the row of `address_state` for each address; of several spellings, the row that takes precedence."""
    stored: dict[str, Row[Any]] = {}
    for row in sorted(_streamed(connection, _states(connection)), key=_stored_precedence):
        key = address_key(row.address)
        if key is not None and key in keys:
            stored[key] = row
    return stored


def _is_new(bounce: Bounce, stored: Row[Any]) -> bool:
    known = _stored_precedence(stored)
    return _precedence(bounce) > known if bounce.dated else (bounce.kind in FINAL_BOUNCES) > known[0]


def _write_bounces(
    bounces: Mapping[str, Bounce], stored_before: Mapping[str, Row[Any]], connection: Connection
) -> set[str]:
    """Write bounces and return the keys of the new ones. A concurrent writer's bounce stays if it has precedence."""
    query = _states(connection)
    spelled = {key: stored_before[key].address if key in stored_before else key for key in bounces}
    stored: dict[str, Row[Any]] = {}
    for chunk in chunks(list(spelled.values()), IDS_PER_QUERY):
        stored |= {row.address: row for row in connection.execute(query.where(address_state.c.address.in_(chunk)))}
    new, newer = [], []
    for key, bounce in bounces.items():
        values = {
            "bounce_kind": bounce.kind.value,
            "bounced_at": bounce.occurred_at,
            "mandator": bounce.mandator,
            "source": bounce.source,
        }
        if spelled[key] not in stored:
            new.append({"address": key, **values})
        elif _is_new(bounce, stored[spelled[key]]):
            newer.append({"stored_address": spelled[key], "is_final": int(bounce.kind in FINAL_BOUNCES), **values})
    if new:
        connection.execute(insert(address_state), new)
    if newer:
        names = ("bounce_kind", "bounced_at", "mandator", "source")
        this = address_state.c.address == bindparam("stored_address")
        if connection.dialect.name != "sqlite":  # which has one writer at a time, and holds times as text
            this &= _takes_precedence()
        connection.execute(update(address_state).where(this).values({name: bindparam(name) for name in names}), newer)
    changed = {changed_row["address"] for changed_row in new} | {changed_row["stored_address"] for changed_row in newer}
    return {key for key in bounces if key in changed or spelled[key] in changed}


def _states(connection: Connection) -> Select[Any]:
    columns = address_state.c
    return select(*[columns.address, columns.bounce_kind, SqlReader(connection).moment(columns.bounced_at)])


def _stored_precedence(stored: Row[Any]) -> tuple[bool, datetime]:
    """Return the precedence of a row of `address_state`, which may be in any spelling and without a time."""
    return bounce_precedence(normalize_word(stored.bounce_kind), parse_instant(stored.bounced_at) or _NEVER)


def _takes_precedence() -> ColumnElement[bool]:
    """Return the rule of `_is_new` as SQL: another process may have written since the rows were read."""
    was_final = case(*((address_state.c.bounce_kind == kind, 1) for kind in sorted(FINAL_BOUNCES)), else_=0)
    older = (address_state.c.bounced_at < bindparam("bounced_at")) | address_state.c.bounced_at.is_(None)
    return (was_final < bindparam("is_final")) | ((was_final == bindparam("is_final")) & older)


def _precedence(bounce: Bounce) -> tuple[bool, datetime]:
    return bounce_precedence(bounce.kind, bounce.occurred_at)


def _entity_types(connection: Connection) -> dict[EntityType, list[str]]:
    """Return the spellings of each entity type in the CRM's consent events."""
    spellings: defaultdict[EntityType, list[str]] = defaultdict(list)
    for raw in connection.execute(select(consent_event.c.entity_type).distinct()).scalars():
        if entity_type := entity_type_of(raw):
            spellings[entity_type].append(raw)
    return dict(spellings)


def _opt_ins_by_mandator(connection: Connection, mandators: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the opt-in ids of each mandator as the CRM spells them, by normalized id."""
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


def _withdrawal_id(unsubscribe: Unsubscribe, entity: Entity, opt_in_id: str) -> str:
    moment = unsubscribe.occurred_at.astimezone(UTC)
    identity = "\n".join([*entity, opt_in_id, moment.isoformat(), unsubscribe.source])
    return str(uuid.uuid5(_WITHDRAWALS, identity))


def _withdrawal(unsubscribe: Unsubscribe, entry: CrmEntry) -> dict[str, Any]:
    because = f", {entry.attribution.meaning}" if entry.attribution else ""
    return {
        "id": entry.event_id,
        "entity_type": entry.entity.entity_type.value if entry.entity else None,
        "entity_id": entry.entity.entity_id if entry.entity else None,
        "opt_in_id": entry.opt_in_id,
        "kind": ConsentKind.WITHDRAWN.value,
        "occurred_at": unsubscribe.occurred_at.astimezone(UTC),
        "source": unsubscribe.source,
        "evidence": f"unsubscribed from mandator {unsubscribe.mandator} in Optimizely Campaign{because}",
    }


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    for chunk in connection.execute(query, execution_options={"yield_per": 20_000}).partitions():
        yield from chunk
