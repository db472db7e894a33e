"""Writes the vendor's feedback into a CRM in a SQL database. Repeated, it changes nothing."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, bindparam, insert, select, update

from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.port import CrmError, OnWritten, WriteBack
from campaign_sync.crm.schema import address_state, consent_event, opt_in
from campaign_sync.crm.sql_chunks import by_type, chunks, existing, writing
from campaign_sync.domain.consent import VENDOR_SOURCE, ConsentKind
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import FINAL_BOUNCES, Bounce, Unsubscribe, Written

_WITHDRAWALS = uuid.UUID("a0f6c3a4-5f0e-4f0b-9d56-3d0d7f8f4b11")
"""Namespace of withdrawal ids. It must never change: by its id a withdrawal is known to be written already."""

Feedback = TypeVar("Feedback", Bounce, Unsubscribe)


def record_bounces(engine: Engine, bounces: Sequence[Bounce], on_written: OnWritten) -> WriteBack:
    """Mark addresses as bounced. See `Crm.record_bounces`."""
    doing = "recording bounces"
    with writing(engine, doing) as connection:
        reported = {key: max(group, key=_weight_of) for key, group in _by_key(bounces).items()}
        known = people_by_address(partial(_streamed, connection), reported)
    written = already_known = 0
    for keys in chunks(list(known)):
        with writing(engine, doing) as connection:
            stored = _bounces_on_record(connection, reported)
            news = [key for key in keys if _is_news(reported[key], stored.get(key))]
            _insert_or_update(connection, {key: reported[key] for key in news}, stored)
        written, already_known = written + len(news), already_known + len(keys) - len(news)
        on_written([Written(reported[key], key in set(news)) for key in keys])
    unmatched = [each for each in bounces if address_key(each.address) not in known]
    return WriteBack(written, already_known, _addresses(unmatched))


def record_unsubscribes(engine: Engine, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten) -> WriteBack:
    """Append withdrawals. See `Crm.record_unsubscribes`."""
    doing = "recording unsubscribes"
    with writing(engine, doing) as connection:
        opt_ins = _opt_ins_by_mandator(connection, {each.mandator for each in unsubscribes})
        people = people_by_address(partial(_streamed, connection), _by_key(unsubscribes))
        there = existing(connection, {one.entity for each in unsubscribes for one in each.through})
    written = already_known = 0
    matched: set[Unsubscribe] = set()
    for chunk in chunks(unsubscribes):
        entries: list[Written] = []
        with writing(engine, doing) as connection:
            holders = {each: people.get(address_key(each.address) or each.address, []) for each in chunk}
            named = {one.entity for each in chunk for one in each.through}
            past = _Past.read(connection, {entity for group in holders.values() for entity in group} | named)
            withdrawals: dict[str, dict[str, Any]] = {}
            for each in chunk:
                of_mandator = opt_ins[each.mandator]
                if any(past.opt_ins[entity] & of_mandator for entity in holders[each]) or any(
                    one.entity in there for one in each.through
                ):
                    matched.add(each)
                for entity, opt_in_id in _concerned(each, holders[each], past, of_mandator):
                    row = _withdrawal(each, entity, opt_in_id)
                    is_new = row["id"] not in past.event_ids and row["id"] not in withdrawals
                    if is_new:
                        withdrawals[row["id"]] = row
                    entries.append(Written(each, is_new, entity, opt_in_id, row["id"]))
            if withdrawals:
                connection.execute(insert(consent_event), list(withdrawals.values()))
        written += len(withdrawals)
        already_known += len({one.event_id for one in entries}) - len(withdrawals)
        on_written(entries)
    return WriteBack(written, already_known, _addresses(each for each in unsubscribes if each not in matched))


def _concerned(
    unsubscribe: Unsubscribe, holders: Sequence[Entity], past: "_Past", of_mandator: set[str]
) -> Iterator[tuple[Entity, str]]:
    """The consents that end: those they were written to through, of whoever has the address; else all of the mandator.

    Somebody whose consents the CRM has forgotten is left forgotten.
    """
    through = {one.opt_in_id for one in unsubscribe.through} & of_mandator
    concerned = {(one.entity, one.opt_in_id) for one in unsubscribe.through if one.opt_in_id in of_mandator}
    concerned |= {(entity, opt_in_id) for entity in holders for opt_in_id in through or of_mandator}
    for entity, opt_in_id in sorted(concerned):
        told_before = not unsubscribe.dated and past.reported[entity] & of_mandator
        if opt_in_id in past.opt_ins[entity] and not told_before:
            yield entity, opt_in_id


class _Past:
    """What has happened to some entities' consents so far."""

    def __init__(self) -> None:
        self.opt_ins: defaultdict[Entity, set[str]] = defaultdict(set)
        """Those they have events for."""
        self.reported: defaultdict[Entity, set[str]] = defaultdict(set)
        """Those that the vendor took them out of."""
        self.event_ids: set[str] = set()

    @classmethod
    def read(cls, connection: Connection, entities: Collection[Entity]) -> "_Past":
        past = cls()
        for entity_type, ids in by_type(entities):
            query = select(*consent_event.c["id", "entity_id", "opt_in_id", "kind", "source"]).where(
                consent_event.c.entity_type == entity_type, consent_event.c.entity_id.in_(ids)
            )
            for row in connection.execute(query):
                entity = Entity(entity_type, row.entity_id)
                past.opt_ins[entity].add(row.opt_in_id)
                past.event_ids.add(row.id)
                if row.kind == ConsentKind.WITHDRAWN and (row.source or "").startswith(VENDOR_SOURCE):
                    past.reported[entity].add(row.opt_in_id)
        return past


def _by_key(feedback: Iterable[Feedback]) -> dict[str, list[Feedback]]:
    grouped = defaultdict(list)
    for each in feedback:
        grouped[address_key(each.address) or each.address].append(each)
    return dict(grouped)


def _addresses(feedback: Iterable[Bounce | Unsubscribe]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.address for each in feedback))


def _bounces_on_record(connection: Connection, keys: Collection[str]) -> dict[str, Row[Any]]:
    """What `address_state` says of these addresses; the weightiest where several spellings of one are in it."""
    found: dict[str, Row[Any]] = {}
    query = select(*address_state.c["address", "bounce_kind", "bounced_at"])
    for row in sorted(_streamed(connection, query), key=lambda row: _weight(row.bounce_kind, row.bounced_at)):
        key = address_key(row.address)
        if key is not None and key in keys:
            found[key] = row
    return found


def _is_news(bounce: Bounce, stored: Row[Any] | None) -> bool:
    if stored is None:
        return True
    known = _weight(stored.bounce_kind, stored.bounced_at)
    return _weight_of(bounce) > known if bounce.dated else (bounce.kind in FINAL_BOUNCES) > known[0]


def _insert_or_update(connection: Connection, news: dict[str, Bounce], stored: dict[str, Row[Any]]) -> None:
    new, newer = [], []
    for key, bounce in news.items():
        values = {
            "bounce_kind": bounce.kind.value,
            "bounced_at": bounce.occurred_at,
            "mandator": bounce.mandator,
            "source": bounce.source,
        }
        if key in stored:
            newer.append({"stored_address": stored[key].address, **values})
        else:
            new.append({"address": key, **values})
    if new:
        connection.execute(insert(address_state), new)
    if newer:
        changed: dict[str, Any] = {
            name: bindparam(name) for name in ("bounce_kind", "bounced_at", "mandator", "source")
        }
        this = address_state.c.address == bindparam("stored_address")
        connection.execute(update(address_state).where(this).values(changed), newer)


def _weight_of(bounce: Bounce) -> tuple[bool, datetime]:
    return _weight(bounce.kind, bounce.occurred_at)


def _weight(kind: str, bounced_at: datetime) -> tuple[bool, datetime]:
    """Which of two bounces of one address counts: one that is final before a soft one, then the newer."""
    return kind in FINAL_BOUNCES, bounced_at


def _opt_ins_by_mandator(connection: Connection, mandators: Collection[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {mandator: set() for mandator in mandators}
    for row in connection.execute(select(opt_in.c.mandator, opt_in.c.opt_in_id)):
        if row.mandator in found:
            found[row.mandator].add(row.opt_in_id)
    unknown = sorted(mandator for mandator, opt_in_ids in found.items() if not opt_in_ids)
    if unknown:
        # Otherwise a differently spelled mandator would lose every unsubscribe without a word.
        raise CrmError(
            f"the CRM defines no opt-in for mandator {', '.join(unknown)}, so its unsubscribes can't be recorded; "
            "opt_in.mandator must hold the mandator's name in the configuration"
        )
    return found


def _withdrawal(unsubscribe: Unsubscribe, entity: Entity, opt_in_id: str) -> dict[str, Any]:
    entity_type, entity_id = entity
    moment = unsubscribe.occurred_at.astimezone(UTC)
    identity = "\n".join([entity_type, entity_id, opt_in_id, moment.isoformat(), unsubscribe.source])
    return {
        "id": str(uuid.uuid5(_WITHDRAWALS, identity)),
        "entity_type": entity_type.value,
        "entity_id": entity_id,
        "opt_in_id": opt_in_id,
        "kind": ConsentKind.WITHDRAWN.value,
        "occurred_at": moment,
        "source": unsubscribe.source,
        "evidence": f"unsubscribed from mandator {unsubscribe.mandator} in Optimizely Campaign",
    }


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    for chunk in connection.execute(query, execution_options={"yield_per": 20_000}).partitions():
        yield from chunk
