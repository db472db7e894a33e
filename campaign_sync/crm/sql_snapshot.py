"""Reading a CRM in a SQL database, all of it as it was at one moment."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import compress
from operator import ne
from typing import Any, TypeVar

import pandas as pd
from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    FromClause,
    Label,
    Row,
    Select,
    String,
    TableClause,
    case,
    collate,
    column,
    func,
    inspect,
    null,
    select,
    table,
    text,
    type_coerce,
)
from sqlalchemy.exc import NoSuchTableError

from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.engine import crm_errors
from campaign_sync.crm.port import SELECTION_COLUMNS, CrmError, Pick
from campaign_sync.crm.schema import (
    ENTITY_TABLES,
    UtcTime,
    address_state,
    consent_event,
    marketing_list,
    marketing_list_member,
    opt_in,
    report,
)
from campaign_sync.crm.sql_chunks import by_type
from campaign_sync.crm.sql_records import named_records
from campaign_sync.crm.text_frame import text_frame
from campaign_sync.domain.consent import ConsentEvent, ConsentKind, OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import FINAL_BOUNCES
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS

_CONSENT = (
    consent_event.c.id,
    consent_event.c.kind,
    consent_event.c.occurred_at,
    consent_event.c.source,
    consent_event.c.evidence,
)
"""In the order of `SELECTION_COLUMNS`, before the columns that a CRM may lack."""

_CODE_POINT_ORDER = {"postgresql": "C", "sqlite": "BINARY", "mysql": "utf8mb4_bin", "mariadb": "utf8mb4_bin"}
"""The collation that orders text as Python does, whatever language the database speaks."""

_GRANTING = (ConsentKind.GRANTED, ConsentKind.CONFIRMED)
"""Nothing else makes a consent, whatever the CRM may call it."""

_NO_TIME = "consent_event has rows without occurred_at; without it nobody knows which one is newest"

_EVENT_ID, _CONSENT_AT = (SELECTION_COLUMNS.index(name) for name in ("consent_event_id", "consent_at"))


Kind = TypeVar("Kind", bound=StrEnum)


@dataclass(frozen=True)
class _People:
    """Those of one entity type whom a pick names, by `entity_id`, and what the CRM knows of them."""

    entity: TableClause
    picked: FromClause

    @property
    def entity_type(self) -> EntityType:
        return EntityType(self.entity.name)

    @property
    def columns(self) -> dict[str, ColumnElement[Any]]:
        """By name; a report's own column goes before the entity's."""
        return {**self.entity.columns, **self.picked.columns}


class SqlSnapshot:
    """Implements `CrmSnapshot` on a connection whose transaction is read-only and sees one moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._tables: dict[str, TableClause] = {}

    @cached_property
    def _consent(self) -> tuple[ColumnClause[Any] | Label[Any], ...]:
        """What is read of a consent event, in the order of `SELECTION_COLUMNS`; a missing column as nothing."""
        there = consent_event.c.text_version.name in self._table(consent_event.name).c
        return (*_CONSENT, consent_event.c.text_version if there else null().label(consent_event.c.text_version.name))

    def opt_in(self, opt_in_id: str) -> OptIn | None:
        """The opt-in's definition, or None where the CRM doesn't know it."""
        row = self._rows(select(opt_in).where(opt_in.c.opt_in_id == opt_in_id), "reading opt_in")
        return OptIn(**row[0]._mapping) if row else None

    def opt_in_ids(self, mandator: str) -> frozenset[str]:
        """The opt-ins of a mandator. See `CrmSnapshot.opt_in_ids`."""
        rows = self._rows(select(*opt_in.c["opt_in_id", "mandator"]), "reading opt_in")
        return frozenset(row.opt_in_id for row in rows if row.mandator == mandator)

    def records(self, entities: Collection[Entity]) -> dict[Entity, Entity]:
        """The records that these name. See `CrmSnapshot.records`."""
        return named_records(lambda query: self._rows(query, "looking for records"), entities)

    def columns(self, pick: Pick) -> frozenset[str]:
        """The columns that everybody in this pick has, so that a list's attributes can be filled from them."""
        return self._offered(self._people(pick))

    def select(
        self, pick: Pick, opt_in_id: str, columns: Sequence[str], *, chunk_rows: int = 5_000
    ) -> Iterator[pd.DataFrame]:
        """Everybody the pick names, contacts before leads before accounts, then by id. See `CrmSnapshot.select`."""
        people = self._people(pick)
        missing = sorted(set(columns) - self._offered(people))
        if missing:
            raise CrmError(
                f"the {_title(pick)} has no column {', '.join(missing)} that everybody in it has; "
                f"correct it in the list's attributes, or add it in the CRM; there are "
                f"{', '.join(sorted(self._offered(people)))}"
            )
        wanted = [name for name in dict.fromkeys(columns) if name not in SELECTION_COLUMNS]
        return (frame for group in people for frame in self._frames(group, opt_in_id, wanted, chunk_rows, _title(pick)))

    def suppression(self, mandator: str) -> pd.DataFrame:
        """Addresses of all mandators with a final bounce, and the withdrawn consents of this one. See `CrmSnapshot`."""
        bounces = self._rows(
            select(*address_state.c["address", "bounced_at", "source"])
            .where(address_state.c.bounce_kind.in_(FINAL_BOUNCES))
            .order_by(address_state.c.address),
            "reading address_state",
        )
        # To rank the events of everybody, only to find the few who withdrew, would take far longer.
        who_withdrew = select(consent_event.c.entity_id).where(consent_event.c.kind == ConsentKind.WITHDRAWN)
        ranked = self._ranked().join(opt_in).where(consent_event.c.entity_id.in_(who_withdrew))
        events = ranked.where(opt_in.c.mandator == mandator).subquery()
        query = select(*events.c["entity_type", "entity_id", "opt_in_id", "occurred_at", "source"], _email_of(events))
        for entity_type, people in ENTITY_TABLES.items():
            this = (events.c.entity_type == entity_type) & (events.c.entity_id == people.c.id)
            query = query.outerjoin(people, this)
        withdrawals = self._rows(
            query.where(events.c.rank == 1, events.c.kind == ConsentKind.WITHDRAWN).order_by(
                events.c.opt_in_id, events.c.entity_type, events.c.entity_id
            ),
            "reading consent_event",
        )
        # An address without a key can't be sent to in the first place.
        keyed = [(address_key(row.address), row) for row in bounces]
        rows = [
            *(("bounce", key, None, None, None, row.bounced_at, row.source) for key, row in keyed if key),
            *(("unsubscribe", address_key(row.email), *row[:-1]) for row in withdrawals),
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(SUPPRESSION_COLUMNS)
        places = [f"consent_event.{name}" for name in SUPPRESSION_COLUMNS]
        return text_frame(columns, SUPPRESSION_COLUMNS, places, "since")

    def entities_with(self, address: str) -> list[Entity]:
        """Everybody who has this address, however either is spelled. See `CrmSnapshot.entities_with`."""
        key = address_key(address)
        if key is None:
            return []
        people = people_by_address(lambda query: self._rows(query, "looking for an address"), {key})
        return sorted(people.get(key, []), key=lambda entity: (entity.entity_type.precedence, entity.entity_id))

    def email(self, entity: Entity) -> str | None:
        """An entity's address as the CRM spells it. See `CrmSnapshot.email`."""
        return self.emails([entity]).get(entity)

    def emails(self, entities: Collection[Entity]) -> dict[Entity, str]:
        """The addresses of many entities as the CRM spells them. See `CrmSnapshot.emails`."""
        found: dict[Entity, str] = {}
        for entity_type, ids in by_type(entities):
            people = ENTITY_TABLES[entity_type]
            query = select(people.c.id, people.c.email).where(people.c.id.in_(ids))
            for row in self._rows(query, f"reading {people.name}"):
                email = row.email or ""
                text_of_email = email if isinstance(email, str) else email.decode(errors="replace")  # it isn't UTF-8
                found[Entity(entity_type, row.id)] = text_of_email
        return found

    def consenting(self, opt_in_id: str) -> Iterator[tuple[str, str, datetime]]:
        """Everybody whose consent for this opt-in is granted now. See `CrmSnapshot.consenting`."""
        events = self._ranked().where(consent_event.c.opt_in_id == opt_in_id).subquery()
        for entity_type, people in ENTITY_TABLES.items():
            query = (
                select(people.c.id, people.c.email, events.c.occurred_at)
                .join(events, (events.c.entity_id == people.c.id) & (events.c.entity_type == entity_type))
                .where(events.c.rank == 1, events.c.kind.in_(_GRANTING), events.c.occurred_at.is_not(None))
                .where(people.c.email.is_not(None))
            )
            for chunk in self._stream(query, 20_000, f"reading who consented to {opt_in_id}"):
                for row in chunk:
                    if isinstance(row.email, str):
                        yield f"{entity_type}:{row.id}", row.email, row.occurred_at

    def _ranked(self) -> Select[Any]:
        """All consent events, each with its rank among those of one entity and one opt-in: 1 decides."""
        rank = func.row_number().over(
            partition_by=consent_event.c["opt_in_id", "entity_type", "entity_id"],
            order_by=_most_decisive_first(self._dialect),
        )
        return select(*_CONSENT, *consent_event.c["entity_type", "entity_id", "opt_in_id"], rank.label("rank"))

    def consents(self, entity: Entity) -> dict[str, list[ConsentEvent]]:
        """What ever happened to an entity's consents, by opt-in, oldest first. See `CrmSnapshot.consents`."""
        query = select(*self._consent, consent_event.c.opt_in_id).where(
            consent_event.c.entity_type == entity.entity_type, consent_event.c.entity_id == entity.entity_id
        )
        found: defaultdict[str, list[ConsentEvent]] = defaultdict(list)
        for row in self._rows(query.order_by(*consent_event.c["occurred_at", "id"]), "reading consent_event"):
            if row.occurred_at is None:
                raise CrmError(_NO_TIME)
            kind = _one_of(ConsentKind, row.kind, f"consent_event.kind of {entity}")
            found[row.opt_in_id].append(
                ConsentEvent(row.id, kind, row.occurred_at, row.source, row.evidence, row.text_version)
            )
        return dict(found)

    def _people(self, pick: Pick) -> list[_People]:
        definition = marketing_list if pick.kind == "marketing_list" else report
        found = self._rows(select(definition).where(definition.c.name == pick.name), f"reading {definition.name}")
        if len(found) != 1:
            known = self._rows(select(definition.c.name).order_by(definition.c.name), f"reading {definition.name}")
            raise CrmError(
                f"the CRM has {'no' if not found else len(found)} {_title(pick)} ({definition.name}.name); "
                f"it has {', '.join(repr(row.name) for row in known) or 'none at all'}"
            )
        if definition is report:
            return [self._people_of_report(found[0])]
        if found[0].kind == "static":
            return self._people_of_static_list(found[0])
        if found[0].kind == "dynamic":
            return [self._people_of_dynamic_list(found[0])]
        raise CrmError(f"marketing_list.kind of the {_title(pick)} must be static or dynamic")

    def _people_of_report(self, definition: Row[Any]) -> _People:
        view = self._table(definition.view_name, f"view_name of the report {definition.name!r}")
        key = next((view.c[name] for name in ("entity_id", "id") if name in view.c), None)
        if key is None:
            raise CrmError(f"{definition.view_name} (report {definition.name!r}) needs a column entity_id or id")
        others = [each for each in view.c if each.name != "entity_id"]
        entity_type = _entity_type(definition.entity_type, f"entity_type of the report {definition.name!r}")
        return _People(self._table(entity_type), select(key.label("entity_id"), *others).subquery("picked"))

    def _people_of_static_list(self, definition: Row[Any]) -> list[_People]:
        members = select(marketing_list_member).where(marketing_list_member.c.marketing_list_id == definition.id)
        found = self._rows(members.with_only_columns(marketing_list_member.c.entity_type).distinct(), "reading members")
        where = f"marketing_list_member.entity_type of the marketing list {definition.name!r}"
        types = {_entity_type(row.entity_type, where) for row in found}
        if not types:
            types = {EntityType(definition.entity_type)} if definition.entity_type else set(EntityType)
        ids = members.with_only_columns(marketing_list_member.c.entity_id).distinct()
        return [
            _People(self._table(each), ids.where(marketing_list_member.c.entity_type == each).subquery("picked"))
            for each in EntityType
            if each in types
        ]

    def _people_of_dynamic_list(self, definition: Row[Any]) -> _People:
        entity_type = _entity_type(definition.entity_type, f"entity_type of the dynamic list {definition.name!r}")
        if not (definition.query or "").strip():
            raise CrmError(f"marketing_list.query of the dynamic list {definition.name!r} is empty")
        # The query is trusted: whoever can write to the CRM's tables wrote it. Colons in it aren't parameters.
        statement = text(definition.query.strip().rstrip(";").replace(":", "\\:"))
        picked = statement.columns(column("entity_id", String)).subquery("query")
        return _People(self._table(entity_type), select(picked.c.entity_id).distinct().subquery("picked"))

    def _offered(self, people: list[_People]) -> frozenset[str]:
        everywhere = frozenset[str].intersection(*(frozenset(group.columns) for group in people))
        return (everywhere - set(SELECTION_COLUMNS)) | {"entity_type", "entity_id", "email"}

    def _frames(
        self, people: _People, opt_in_id: str, columns: list[str], chunk_rows: int, title: str
    ) -> Iterator[pd.DataFrame]:
        entity, picked = people.entity, people.picked
        extra = [people.columns[name] for name in columns]
        event_of_person = (
            (consent_event.c.entity_id == picked.c.entity_id)
            & (consent_event.c.entity_type == people.entity_type)
            & (consent_event.c.opt_in_id == opt_in_id)
        )
        # `text_frame` takes all moments to UTC at once, where `UtcTime` would do so one by one.
        raw_time = type_coerce(consent_event.c.occurred_at, UtcTime.impl)
        consent = [raw_time if each is consent_event.c.occurred_at else each for each in self._consent]
        query = (
            select(picked.c.entity_id, entity.c.email, *consent, *extra)
            .select_from(picked)
            .outerjoin(entity, entity.c.id == picked.c.entity_id)
            .outerjoin(consent_event, event_of_person)
            # The first row of an entity is the one that counts: with the event that decides and, where a report names
            # an entity several times, the smallest of its own columns. Ranking in SQL would take a far slower join.
            .order_by(
                picked.c.entity_id,
                *(each for each in extra if each.table is picked),
                *_most_decisive_first(self._dialect),
            )
        )
        consent_places = [f"consent_event.{each.name}" for each in self._consent]
        extra_places = [f"{title if each.table is picked else entity.name}.{each.name}" for each in extra]
        places = ["entity_type", f"{title}.entity_id", f"{entity.name}.email", *consent_places, *extra_places]
        last_id = None
        for chunk in self._stream(query, chunk_rows, f"reading the {title}"):
            ids = [row[0] for row in chunk]
            if None in ids:
                raise CrmError(f"the {title} has rows without an entity_id; take them out of its query or view")
            rows = list(compress(chunk, map(ne, ids, [last_id, *ids])))
            last_id = ids[-1]
            if not rows:
                continue
            values = list(zip(*rows, strict=True))
            events = zip(values[_EVENT_ID - 1], values[_CONSENT_AT - 1], strict=True)  # the type isn't read
            if any(at is None and event_id is not None for event_id, at in events):
                raise CrmError(_NO_TIME)
            entity_types = [people.entity_type.value] * len(rows)
            yield text_frame([entity_types, *values], (*SELECTION_COLUMNS, *columns), places, "consent_at")

    def _table(self, name: str, named_by: str = "the CRM contract") -> TableClause:
        """A table or view with the columns it really has."""
        if name not in self._tables:
            schema, _, bare = name.rpartition(".")
            with crm_errors(self._connection.engine, f"looking at {name}"):
                try:
                    found = inspect(self._connection).get_columns(bare, schema=schema or None)
                except NoSuchTableError:
                    raise CrmError(f"the CRM has no table or view {name}, which {named_by} asks for") from None
            columns = [column(each["name"], each["type"]) for each in found]
            self._tables[name] = table(bare, *columns, schema=schema or None)
        return self._tables[name]

    def _rows(self, query: Select[Any], doing: str) -> list[Row[Any]]:
        return [row for chunk in self._stream(query, 20_000, doing) for row in chunk]

    def _stream(self, query: Select[Any], chunk_rows: int, doing: str) -> Iterator[Sequence[Row[Any]]]:
        try:
            with crm_errors(self._connection.engine, doing):
                # The savepoint keeps the snapshot alive for other lists when this one's query turns out to be broken.
                with self._connection.begin_nested():
                    result = self._connection.execute(query, execution_options={"yield_per": chunk_rows})
                    chunks = result.partitions()
                    chunk = next(chunks, None)
                while chunk:
                    yield chunk
                    chunk = next(chunks, None)
        except UnicodeDecodeError:
            raise CrmError(
                f"{doing}: a text isn't UTF-8; the database lets any bytes in (SQL_ASCII?), convert it to UTF-8"
            ) from None
        except ValueError:
            raise CrmError(
                f"{doing}: a date or time isn't written as YYYY-MM-DD HH:MM:SS; correct it in the CRM"
            ) from None


def _most_decisive_first(dialect: str) -> list[ColumnElement[Any]]:
    """The order of an entity's events of one opt-in whose first is what `domain.consent.current_consent` picks."""
    return [
        consent_event.c.occurred_at.desc().nulls_first(),
        case((consent_event.c.kind == ConsentKind.WITHDRAWN, 1), else_=0).desc(),
        collate(consent_event.c.id, _CODE_POINT_ORDER.get(dialect, "BINARY")).desc(),
    ]


def _email_of(events: FromClause) -> ColumnElement[Any]:
    """The address of an event's entity, whichever of the tables, outer joined, has it."""
    return case(
        *((events.c.entity_type == entity_type, people.c.email) for entity_type, people in ENTITY_TABLES.items())
    ).label("email")


def _entity_type(value: object, where: str) -> EntityType:
    return _one_of(EntityType, value, where)


def _one_of(kinds: type[Kind], value: object, where: str) -> Kind:
    try:
        return kinds(str(value))
    except ValueError:
        raise CrmError(f"{where} must be one of {', '.join(kinds)}") from None


def _title(pick: Pick) -> str:
    return f"{pick.kind.replace('_', ' ')} {pick.name!r}"
