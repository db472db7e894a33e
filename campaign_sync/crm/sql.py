"""A CRM in any SQL database whose tables or views answer to the names of the contract (`docs/crm.md`)."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, String, bindparam, insert, inspect, select, update
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import NullType

from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.engine import crm_engine, crm_errors, place, read_only
from campaign_sync.crm.port import CrmError, WriteBack
from campaign_sync.crm.schema import address_state, consent_event, metadata, opt_in, required_columns
from campaign_sync.crm.sql_snapshot import SqlSnapshot
from campaign_sync.domain.consent import VENDOR_SOURCE, ConsentKind
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.feedback import Bounce, BounceKind, Unsubscribe

_WITHDRAWALS = uuid.UUID("a0f6c3a4-5f0e-4f0b-9d56-3d0d7f8f4b11")
"""Namespace of withdrawal ids. It must never change: by its id a withdrawal is known to be written already."""

_IDS_PER_QUERY = 500

Entity = tuple[EntityType, str]
Feedback = TypeVar("Feedback", Bounce, Unsubscribe)


class SqlCrm:
    """Implements `Crm`. Holds no connection between calls.

    Args:
        url: a SQLAlchemy URL; `postgresql://` means psycopg2.

    Raises:
        CrmError: the URL can't be used, or names a SQLite file that doesn't exist.
    """

    def __init__(self, url: str) -> None:
        self._engine = crm_engine(url)

    def check(self) -> None:
        """Prove that the CRM answers and holds what the contract asks for. See `Crm.check`."""
        with crm_errors(self._engine, "checking the contract"), read_only(self._engine) as connection:
            inspector = inspect(connection)
            flaws = []
            for table in metadata.sorted_tables:
                try:
                    found = {each["name"]: each["type"] for each in inspector.get_columns(table.name)}
                except NoSuchTableError:
                    flaws.append(f"table or view {table.name} is missing")
                    continue
                missing = [name for name in required_columns(table) if name not in found]
                flaws += [f"column {table.name}.{name} is missing" for name in missing]
                flaws += [
                    f"column {table.name}.{name} is {found[name]} and must be text (cast it in a view)"
                    for name in ("id", "entity_id", "email")
                    if name in found and not isinstance(found[name], String | NullType)
                ]
        if flaws:
            raise CrmError(
                f"the CRM at {place(self._engine.url)} doesn't fulfil the contract of docs/crm.md: {'; '.join(flaws)}. "
                "Add views of these names, or let `campaign-sync crm init --url URL` create the tables"
            )

    @contextmanager
    def snapshot(self) -> Iterator[SqlSnapshot]:
        """Open one consistent, read-only view that lasts as long as the context. See `Crm.snapshot`."""
        with ExitStack() as stack:
            with crm_errors(self._engine, "opening a snapshot"):
                connection = stack.enter_context(read_only(self._engine))
            yield SqlSnapshot(connection)  # outside: what fails in here needn't be the CRM's fault

    def record_bounces(self, bounces: Sequence[Bounce]) -> WriteBack:
        """Mark the addresses as bounced, for all mandators. See `Crm.record_bounces`.

        A soft bounce never replaces a hard one, however new: a hard bounce ends only when the address changes.
        Counts are addresses.
        """
        if not bounces:
            return WriteBack(written=0, already_known=0)
        reported = {
            key: max(group, key=lambda bounce: _weight(bounce.kind, bounce.occurred_at))
            for key, group in _by_key(bounces).items()
        }
        with self._writing("recording bounces") as connection:
            people = people_by_address(partial(_streamed, connection), reported)
            stored = _bounces_on_record(connection, reported)
            new, newer = [], []
            for key in people:
                bounce = reported[key]
                values = {
                    "bounce_kind": bounce.kind.value,
                    "bounced_at": bounce.occurred_at,
                    "mandator": bounce.mandator,
                    "source": bounce.source,
                }
                if key not in stored:
                    new.append({"address": key, **values})
                elif _weight(bounce.kind, bounce.occurred_at) > _weight(
                    stored[key].bounce_kind, stored[key].bounced_at
                ):
                    newer.append({"stored_address": stored[key].address, **values})
            if new:
                connection.execute(insert(address_state), new)
            if newer:
                changed: dict[str, Any] = {
                    name: bindparam(name) for name in ("bounce_kind", "bounced_at", "mandator", "source")
                }
                this = address_state.c.address == bindparam("stored_address")
                connection.execute(update(address_state).where(this).values(changed), newer)
        written = len(new) + len(newer)
        unmatched = [each for each in bounces if address_key(each.address) not in people]
        return WriteBack(written, len(people) - written, _addresses(unmatched))

    def record_unsubscribes(self, unsubscribes: Sequence[Unsubscribe]) -> WriteBack:
        """Append withdrawals, for the opt-ins of the unsubscribe's mandator only. See `Crm.record_unsubscribes`.

        Counts are withdrawals: an unsubscribe makes one for each entity with that address and each opt-in.

        Raises:
            CrmError: the CRM can't be written to, or defines no opt-in at all for a mandator.
        """
        if not unsubscribes:
            return WriteBack(written=0, already_known=0)
        reported = _by_key(unsubscribes)
        with self._writing("recording unsubscribes") as connection:
            opt_ins = _opt_ins_by_mandator(connection, {each.mandator for each in unsubscribes})
            people = people_by_address(partial(_streamed, connection), reported)
            histories, known, reported_before = _histories(
                connection, {entity for group in people.values() for entity in group}
            )
            withdrawals = {
                row["id"]: row
                for key, entities in people.items()
                for unsubscribe in reported[key]
                for entity in entities
                for opt_in_id in sorted(histories[entity] & opt_ins[unsubscribe.mandator])
                if unsubscribe.dated or (*entity, opt_in_id) not in reported_before
                for row in [_withdrawal(unsubscribe, entity, opt_in_id)]
            }
            new = [row for event_id, row in withdrawals.items() if event_id not in known]
            if new:
                connection.execute(insert(consent_event), new)
        consented = {
            (key, mandator)
            for key, entities in people.items()
            for mandator, of_mandator in opt_ins.items()
            if any(histories[entity] & of_mandator for entity in entities)
        }
        unmatched = [each for each in unsubscribes if (address_key(each.address), each.mandator) not in consented]
        return WriteBack(len(new), len(withdrawals) - len(new), _addresses(unmatched))

    @contextmanager
    def _writing(self, doing: str) -> Iterator[Connection]:
        with crm_errors(self._engine, doing), self._engine.begin() as connection:
            yield connection


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


def _weight(kind: str, bounced_at: datetime) -> tuple[bool, datetime]:
    """Which of two bounces of one address counts: hard before soft, then the newer."""
    return kind == BounceKind.HARD, bounced_at


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


def _histories(
    connection: Connection, entities: Collection[Entity]
) -> tuple[dict[Entity, set[str]], set[str], set[tuple[EntityType, str, str]]]:
    """The opt-ins each entity has events for, the ids of those events, and whom the vendor took out of which opt-in."""
    opt_ins: dict[Entity, set[str]] = {entity: set() for entity in entities}
    event_ids, reported = set(), set()
    for entity_type in EntityType:
        ids = sorted(entity_id for kind, entity_id in entities if kind is entity_type)
        for start in range(0, len(ids), _IDS_PER_QUERY):
            query = select(*consent_event.c["id", "entity_id", "opt_in_id", "kind", "source"]).where(
                consent_event.c.entity_type == entity_type,
                consent_event.c.entity_id.in_(ids[start : start + _IDS_PER_QUERY]),
            )
            for row in connection.execute(query):
                opt_ins[(entity_type, row.entity_id)].add(row.opt_in_id)
                event_ids.add(row.id)
                if row.kind == ConsentKind.WITHDRAWN and (row.source or "").startswith(VENDOR_SOURCE):
                    reported.add((entity_type, row.entity_id, row.opt_in_id))
    return opt_ins, event_ids, reported


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
