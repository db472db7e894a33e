"""Who has ended, granted or unclear consents: the database finds the events, `domain.consent` decides."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import CTE, ColumnElement, FromClause, and_, case, not_, or_, select, true, type_coerce
from sqlalchemy.types import NullType

from campaign_sync.crm.port import CONSENTING_COLUMNS
from campaign_sync.crm.sql.arrow_columns import (
    Column,
    are_present,
    group_starts,
    map_values,
    take,
    without_outer_blanks,
)
from campaign_sync.crm.sql.chunks import by_type, chunks
from campaign_sync.crm.sql.consent_table import (
    UNKNOWN_OPT_IN,
    ConsentTable,
    decoded_text,
    entity_type_of,
    is_one_of,
    require_same_keys,
)
from campaign_sync.crm.sql.reader import AnyRow
from campaign_sync.domain.arrow_text import text_column
from campaign_sync.domain.consent import (
    GRANTING,
    UNDATED,
    ConsentEvent,
    ConsentKind,
    effective_kind,
    normalize_word,
)
from campaign_sync.domain.consent_columns import KINDS, Numbers
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.instant import parse_instant
from campaign_sync.domain.instant_columns import Instants, as_datetimes
from campaign_sync.domain.suppression import Mask
from campaign_sync.domain.text import normalize_text

_ENDING = (ConsentKind.WITHDRAWN, ConsentKind.UNCLEAR)
"""The kinds that end a consent where they decide."""


_GRANTING = [KINDS.index(kind) for kind in GRANTING]

_ENDED = [KINDS.index(kind) for kind in _ENDING]


@dataclass(frozen=True)
class UnclearConsent:
    """A person whom an event may be about whose entity type or opt-in can't be understood."""

    entity: Entity
    opt_in_id: str | None
    """None if the event doesn't say."""
    since: datetime | None
    source: str | None


@dataclass(frozen=True)
class EndedConsents:
    """Ended consents; each is an element of all columns."""

    kinds: Numbers
    """Of what decides. Positions in `KINDS`."""
    entity_types: pa.Array
    entity_ids: pa.Array
    opt_in_ids: pa.Array
    moments: Instants
    sources: Column
    emails: Column
    """The addresses of the entities, as the CRM spells them."""


class ConsentReader:
    """Answers who has ended, granted or unclear consents, all by the same rule."""

    def __init__(self, table: ConsentTable) -> None:
        self._table, self._reader = table, table.reader

    def ended(self, mandator: str) -> EndedConsents | None:
        """Return the ended consents of a mandator: a withdrawal, or an event that isn't understood, decides.

        They are in the order of opt-in, entity type and id. None where no event ends any.
        """
        opt_ins = self._table.ids_by_key(mandator)
        ending = [raw for raw, kind in self._table.spellings.kinds.items() if kind in _ENDING]
        if not ending or not self._named_types:
            return None
        # Reading the events of everybody to find the few withdrawals would take far longer.
        source = self._table.source
        who = select(source.c.entity_id).where(is_one_of(source.c.kind, ending))
        columns = [column for column in self._table.columns if column.name not in ("evidence", "text_version")]
        query = (
            select(*[*columns, *source.c["entity_type", "opt_in_id"], self._email()])
            .select_from(self._with_people())
            .where(self._table.about(opt_ins, self._named_types), source.c.entity_id.in_(who))
        )
        *events, types, opt_in_ids, emails = self._reader.all_columns(query, "reading consent_event")
        entity_ids = events[1]
        consents = pa.table(
            {
                "opt_in_id": map_values(opt_in_ids, lambda raw: opt_ins[self._table.opt_in_key(raw)]),
                "entity_type": map_values(types, normalize_word),
                "entity_id": without_outer_blanks(entity_ids)
                if isinstance(entity_ids, pa.Array)
                else pa.array([decoded_text(entity_id).strip() for entity_id in entity_ids], pa.large_string()),
            }
        )
        order = pc.sort_indices(consents, [(name, "ascending") for name in consents.column_names]).to_numpy()
        keys = [column.combine_chunks() for column in consents.take(order).columns]
        begins = np.zeros(len(order), np.intp)
        for column in keys if len(order) else ():
            begins[group_starts(column)[1:]] = 1
        decided = self._table.decisions(np.cumsum(begins), [take(column, order) for column in events])
        ended = np.isin(decided.kinds, _ENDED)
        rows = decided.rows[ended]
        opt_in_column, type_column, id_column = (take(column, rows) for column in keys)
        return EndedConsents(
            decided.kinds[ended],
            type_column,
            id_column,
            opt_in_column,
            decided.moments[ended],
            take(events[4], order[rows]),
            take(emails, order[rows]),
        )

    @cached_property
    def unclear_people(self) -> list[UnclearConsent]:
        """The people whom events may be about whose entity type or opt-in can't be understood."""
        known = self._table.spellings
        if None not in known.entity_types and UNKNOWN_OPT_IN not in known.opt_ins:
            return []
        source = self._table.source
        readable = and_(self._table.names_type(EntityType), self._table.names_opt_in(self._table.definitions))
        query = select(*[*self._table.columns, *source.c["entity_type", "opt_in_id"]]).where(
            source.c.entity_id.is_not(None), or_(not_(readable), readable.is_(None)), self._table.not_ignored
        )
        unclear = []
        for row in self._reader.all_rows(query, "reading consent_event"):
            entity_type, key = entity_type_of(row.entity_type), self._table.opt_in_key(row.opt_in_id)
            if self._table.is_harmless(key, row.kind):
                continue
            opt_in_id = self._table.definitions[key][0].opt_in_id if key in self._table.definitions else None
            for possible_type in EntityType if entity_type is None else (entity_type,):
                entity = Entity(possible_type, decoded_text(row.entity_id).strip())
                unclear.append(UnclearConsent(entity, opt_in_id, parse_instant(row.occurred_at), row.source))
        return unclear

    def unclear_people_of(self, mandator: str) -> list[UnclearConsent]:
        """Return those of `unclear_people` who are kept out of lists of this mandator."""
        opt_ins = {None, *self._table.ids_by_key(mandator).values()}
        return [consent for consent in self.unclear_people if consent.opt_in_id in opt_ins]

    def granted(self, opt_in_id: str, among: pd.DataFrame | None) -> Iterator[pd.DataFrame]:
        """Yield everybody whose consent is granted now, in chunks; columns `CONSENTING_COLUMNS`.

        With `among` (columns `entity_type` and `entity_id`), others than these may be left out.
        """
        key, unclear = self._table.unique_key(opt_in_id), self._newest_unclear(opt_in_id)
        deciding = [
            column for column in self._table.columns if column.name in ("id", "entity_id", "kind", "occurred_at")
        ]
        for entity_type, is_meant in self._parts(among):
            people, events = self._table.people(entity_type), self._table.source
            query = (
                select(*[people.c.id.label("key"), self._reader.without_bytes(people.c.email), *deciding])
                .join_from(people, events, events.c.entity_id == people.c.id)
                .where(self._table.about([key], [entity_type]), people.c.email.is_not(None), is_meant)
                .order_by(people.c.id)
            )
            doing = f"reading who consented to {opt_in_id}"
            for keys, emails, *columns in self._reader.groups(query, 20_000, doing):
                require_same_keys(keys, columns[1], f"{entity_type}.id", "consent_event.entity_id")
                starts = np.zeros(len(keys), dtype=np.intp)
                starts[group_starts(keys)[1:]] = 1
                decided = self._table.decisions(np.cumsum(starts), columns)
                granting = np.flatnonzero(np.isin(decided.kinds, _GRANTING) & ~np.isnat(decided.moments))
                ids, addresses = (
                    take(column, decided.rows[granting]) for column in (without_outer_blanks(keys), emails)
                )
                moments = decided.moments[granting]
                counts = _are_texts(addresses) & ~_ended_later(entity_type, ids, moments, unclear)
                frame = pd.DataFrame(
                    {
                        "entity_type": text_column(
                            pa.repeat(pa.scalar(entity_type.value, pa.large_string()), len(ids))
                        ),
                        "entity_id": text_column(ids),
                        "email": text_column(_only_texts(addresses)),
                        "consent_at": pd.DatetimeIndex(moments).tz_localize("UTC"),
                    },
                    columns=list(CONSENTING_COLUMNS),
                )
                yield frame if counts.all() else frame[counts].reset_index(drop=True)

    def _parts(self, among: pd.DataFrame | None) -> Iterator[tuple[EntityType, ColumnElement[bool]]]:
        """Yield the types of the records that matter, with conditions that together hold for all of these."""
        if among is None:
            yield from ((entity_type, true()) for entity_type in EntityType)
            return
        events = self._table.source
        for entity_type in EntityType:
            ids = sorted(among.loc[among["entity_type"] == entity_type.value, "entity_id"])
            if not ids:
                continue
            people = self._table.people(entity_type)
            if isinstance(people, CTE) or isinstance(events, CTE):  # without an index, each search reads all of it
                yield entity_type, true()
                continue
            for part in chunks(ids, self._reader.most_values // 2):
                # By both, because PostgreSQL doesn't conclude the second from the join.
                yield entity_type, people.c.id.in_(part) & events.c.entity_id.in_(part)

    def _newest_unclear(self, opt_in_id: str) -> dict[Entity, datetime]:
        """Return the time of the newest unclear event that may be about this opt-in, by entity."""
        newest: dict[Entity, datetime] = {}
        for consent in self.unclear_people:
            if consent.opt_in_id in (None, normalize_text(opt_in_id)):
                since = consent.since or UNDATED
                newest[consent.entity] = max(newest.get(consent.entity, since), since)
        return newest

    def history(self, entity: Entity) -> dict[str, list[ConsentEvent]]:
        """Return all events of an entity's consents as they are understood, by opt-in, oldest first."""
        return self.histories([entity]).get(entity, {})

    def histories(self, entities: Collection[Entity]) -> dict[Entity, dict[str, list[ConsentEvent]]]:
        """Return the `history` of each of these entities that has any."""
        histories: defaultdict[Entity, defaultdict[str, list[ConsentEvent]]] = defaultdict(lambda: defaultdict(list))
        source, definitions = self._table.source, self._table.definitions
        for entity_type, ids in by_type(entities):
            query = select(*[*self._table.columns, source.c.opt_in_id]).where(
                self._table.about(definitions, [entity_type]), source.c.entity_id.in_(ids)
            )
            for row in self._reader.rows(query, "reading consent_event"):
                if event := self._event(row):
                    opt_in_id = definitions[self._table.opt_in_key(row.opt_in_id)][0].opt_in_id
                    histories[Entity(entity_type, decoded_text(row.entity_id).strip())][opt_in_id].append(event)
        return {
            entity: {
                opt_in_id: sorted(events, key=lambda event: (event.occurred_at, event.event_id))
                for opt_in_id, events in sorted(by_opt_in.items())
            }
            for entity, by_opt_in in histories.items()
        }

    def _event(self, row: AnyRow) -> ConsentEvent | None:
        """Return an event as it is understood; None for an ignored kind."""
        at, kind = parse_instant(row.occurred_at), self._table.words.kind_of(row.kind)
        if kind is None:
            return None
        event_id, kind = decoded_text(row.id).strip(), effective_kind(kind, at, self._table.now)
        return ConsentEvent(event_id, kind, at or UNDATED, row.source, row.evidence, row.text_version)

    @cached_property
    def _named_types(self) -> list[EntityType]:
        """The entity types that events name. Others aren't joined: SQLite would read all their records per event."""
        return [entity_type for entity_type in EntityType if entity_type in self._table.spellings.entity_types]

    def _with_people(self) -> FromClause:
        """Return the events, each joined with its record if there is one."""
        events = self._table.source
        joined: Any = events
        for entity_type in self._named_types:
            people = self._table.people(entity_type)
            joined = joined.outerjoin(
                people, self._table.names_type([entity_type]) & (events.c.entity_id == people.c.id)
            )
        with_people: FromClause = joined
        return with_people

    def _email(self) -> ColumnElement[Any]:
        """Return the address of an event's entity, from whichever of the outer joined tables has it."""
        table = self._table
        emails = [
            (table.names_type([entity_type]), self._reader.without_bytes(table.people(entity_type).c.email))
            for entity_type in self._named_types
        ]
        # The tables may hold values of different types.
        return type_coerce(case(*emails), NullType()).label("email")


def _are_texts(values: Column) -> Mask:
    """Return which addresses are texts: one that isn't UTF-8 is none, nor is a number."""
    if isinstance(values, pa.Array):
        return are_present(values)
    return np.fromiter((isinstance(value, str) for value in values), np.bool_, len(values))


def _only_texts(values: Column) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    return pa.array([value if isinstance(value, str) else None for value in values], pa.large_string())


def _ended_later(entity_type: EntityType, ids: pa.Array, moments: Instants, unclear: Mapping[Entity, datetime]) -> Mask:
    """Return which people have an unclear event that isn't older than their consent."""
    if not unclear:
        return np.zeros(len(ids), np.bool_)
    ended = (unclear.get(Entity(entity_type, entity_id)) for entity_id in ids.to_pylist())
    return np.array(
        [
            at is not None and granted_at is not None and at >= granted_at
            for at, granted_at in zip(ended, as_datetimes(moments), strict=True)
        ],
        dtype=np.bool_,
    )
