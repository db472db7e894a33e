"""A CRM in a SQL database as it was at one moment."""

from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection, select

from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.port import SELECTION_COLUMNS, CopyTimes, CrmError, Pick
from campaign_sync.crm.sql.arrow_columns import (
    Column,
    Columns,
    are_present,
    concat_rows,
    group_starts,
    take,
    values_of,
    without_outer_blanks,
)
from campaign_sync.crm.sql.chunks import by_type
from campaign_sync.crm.sql.consent_counts import count_events, newest_change
from campaign_sync.crm.sql.consent_table import (
    EVENT_COLUMNS,
    ConsentTable,
    require_same_keys,
)
from campaign_sync.crm.sql.consents import ConsentReader
from campaign_sync.crm.sql.picks import (
    PeopleOfType,
    PickedPeople,
    PickFinder,
    PickReader,
    common_columns,
    pick_title,
)
from campaign_sync.crm.sql.reader import AnyRow, SqlReader
from campaign_sync.crm.sql.records import named_records
from campaign_sync.crm.sql.schema import address_state
from campaign_sync.crm.sql.text_frame import text_frame
from campaign_sync.domain.consent import (
    ConsentEvent,
    ConsentEventCounts,
    ConsentKind,
    ConsentWords,
    OptIn,
    normalize_word,
)
from campaign_sync.domain.consent_columns import KINDS
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync.domain.filter import filter_fields
from campaign_sync.domain.filter_columns import matching_rows
from campaign_sync.domain.instant_columns import Instants, parse_instants
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS, SuppressionKind

_MEMBERS = 20_000
"""How many members are read at once."""

_MEMBER_COLUMNS = ("entity_id", "email")

_LONGEST_TYPE = 16
"""Characters kept of a value that is no entity type: the column of the rejections is no longer."""

_COST_BY_ID = 15
"""How many consent events are read in the time in which a record is looked up by its id, at least."""

_FIRST_EVENT_COLUMN = 3
"""In the rows of a selection; before it are the id in the pick, and the record's id and address."""

_KIND_NAMES = pa.array([kind.value for kind in KINDS], pa.large_string())

_SUPPRESSION_KINDS = pa.array(
    [SuppressionKind.UNSUBSCRIBE if kind is ConsentKind.WITHDRAWN else SuppressionKind.UNCLEAR for kind in KINDS],
    pa.large_string(),
)
"""What an ended consent is, by the kind of the event that decides."""

_Suppressions: TypeAlias = tuple[pa.Array, pa.Array, pa.Array, pa.Array, pa.Array, Instants, Column]
"""Columns of a suppression frame, in the order of `SUPPRESSION_COLUMNS`."""

_EVENT_ENTITY_ID = _FIRST_EVENT_COLUMN + EVENT_COLUMNS.index("entity_id")

_FIRST_OWN_COLUMN = _FIRST_EVENT_COLUMN + len(EVENT_COLUMNS)


class SqlSnapshot:
    """Implements `CrmSnapshot` on a connection whose transaction is read-only and sees one moment.

    Args:
        connection: to the CRM.
        words: how this CRM calls what happens to a consent.
        picks: finds the people of picks.
    """

    def __init__(
        self, connection: Connection, words: ConsentWords, picks: Callable[[SqlReader], PickFinder] = PickReader
    ) -> None:
        self._reader = SqlReader(connection)
        self._table = ConsentTable(self._reader, words, datetime.now(UTC))
        self._consents = ConsentReader(self._table)
        self._picks = picks(self._reader)

    @property
    def copy_times(self) -> CopyTimes | None:
        """Return None: the CRM itself is read. See `CrmSnapshot.copy_times`."""
        return None

    def opt_in(self, opt_in_id: str) -> OptIn | None:
        """Return the definition of an opt-in; None where the CRM has none. See `CrmSnapshot.opt_in`."""
        return self._table.opt_in(opt_in_id)

    def opt_in_ids(self, mandator: str) -> frozenset[str]:
        """Return the opt-ins of a mandator. See `CrmSnapshot.opt_in_ids`."""
        return self._table.opt_in_ids(mandator)

    def records(self, entities: Collection[Entity]) -> dict[Entity, Entity]:
        """Return the CRM's spelling of these records. See `CrmSnapshot.records`."""
        return named_records(lambda query: self._reader.rows(query, "looking for records"), entities)

    def select(
        self, pick: Pick, opt_in_id: str, columns: Sequence[str], *, chunk_rows: int = 20_000
    ) -> Iterator[pd.DataFrame]:
        """Return all people of a pick: contacts, leads, accounts, each by id. See `CrmSnapshot.select`."""
        picked = self._picks.find(pick)
        self._require_columns(picked, pick, columns)
        self._table.opt_in(opt_in_id)
        wanted = [name for name in dict.fromkeys(columns) if name not in SELECTION_COLUMNS]
        compared = sorted(filter_fields(pick.condition)) if pick.condition else []
        read = list(dict.fromkeys([*wanted, *(name for name in compared if name not in SELECTION_COLUMNS)]))

        def frames() -> Iterator[pd.DataFrame]:
            for group in picked.people:
                for frame in self._frames(group, opt_in_id, read, chunk_rows, pick_title(pick)):
                    matching = matching_rows(pick.condition, frame) if pick.condition else frame
                    if len(matching):
                        yield matching.drop(columns=[name for name in read if name not in wanted])
            if picked.unmatched is not None:
                for chunk in self._reader.stream_all(picked.unmatched, chunk_rows, f"reading the {pick_title(pick)}"):
                    yield _unmatched_members(chunk, wanted)

        return frames()

    def members(self, pick: Pick) -> Iterator[Sequence[tuple[Entity, str | None]]]:
        """Yield everybody in a pick, with their addresses. See `CrmSnapshot.members`."""
        picked = self._picks.find(pick)
        fields = sorted(filter_fields(pick.condition)) if pick.condition else []
        self._require_columns(picked, pick, fields)
        columns = list(dict.fromkeys([*_MEMBER_COLUMNS, *fields]))
        return (chunk for group in picked.people for chunk in self._members(group, pick, columns))

    def suppression(self, mandator: str) -> pd.DataFrame:
        """Return bounced addresses and withdrawn or unclear consents. See `CrmSnapshot.suppression`."""
        parts = [self._bounced(), *self._ended(mandator), self._unclear(mandator)]
        moments = np.concatenate([since for *_, since, _ in parts])
        *texts, sources = concat_rows([[*texts, source] for *texts, _, source in parts])
        places = [f"consent_event.{name}" for name in SUPPRESSION_COLUMNS]
        return text_frame([*texts, moments, sources], SUPPRESSION_COLUMNS, places, "since")

    def consent_rows(self, opt_in_id: str) -> ConsentEventCounts:
        """Return how well the consent events of an opt-in can be understood. See `CrmSnapshot.consent_rows`."""
        return count_events(self._table, opt_in_id)

    def newest_consent_change(self, opt_in_id: str) -> datetime | None:
        """Return the time of the newest event that isn't from us. See `CrmSnapshot.newest_consent_change`."""
        return newest_change(self._table, opt_in_id)

    def entities_with(self, address: str) -> list[Entity]:
        """Return everybody with this address in any spelling. See `CrmSnapshot.entities_with`."""
        key = address_key(address)
        if key is None:
            return []
        people = people_by_address(
            lambda query: self._reader.rows(query, "looking for an address"), {key}, self._reader.dialect
        )
        return sorted(people.get(key, []), key=lambda entity: (entity.entity_type.precedence, entity.entity_id))

    def email(self, entity: Entity) -> str | None:
        """Return an entity's address as the CRM spells it. See `CrmSnapshot.email`."""
        return self.emails([entity]).get(entity)

    def emails(self, entities: Collection[Entity]) -> dict[Entity, str]:
        """Return the addresses of many entities as the CRM spells them. See `CrmSnapshot.emails`."""
        by_entity: dict[Entity, str] = {}
        for entity_type, ids in by_type(entities):
            people = self._table.people(entity_type)
            query = select(people.c.id, people.c.email).where(people.c.id.in_(ids))
            for row in self._reader.rows(query, f"reading {entity_type}"):
                email = row.email or ""
                text_of_email = email if isinstance(email, str) else email.decode(errors="replace")  # it isn't UTF-8
                by_entity[Entity(entity_type, str(row.id).strip())] = text_of_email
        return by_entity

    def consenting(self, opt_in_id: str, among: pd.DataFrame | None = None) -> Iterator[pd.DataFrame]:
        """Return everybody whose consent for this opt-in is granted now. See `CrmSnapshot.consenting`."""
        if among is not None and len(among) * _COST_BY_ID > self.consent_rows(opt_in_id).rows:
            among = None
        return self._consents.granted(opt_in_id, among)

    def consents(self, entity: Entity) -> dict[str, list[ConsentEvent]]:
        """Return an entity's consent events by opt-in, oldest first. See `CrmSnapshot.consents`."""
        return self._consents.history(entity)

    def _bounced(self) -> _Suppressions:
        """Return the final bounces, by address. An address without a key can't be sent to anyway."""
        table = self._reader.table(address_state.name)
        read = [self._reader.without_bytes(table.c[name]) for name in ("address", "bounce_kind")]
        query = select(*[*read, table.c.source, self._reader.moment(table.c.bounced_at)]).order_by(table.c.address)
        addresses, kinds, sources, moments = self._reader.all_columns(query, "reading address_state")
        keys = _address_keys(addresses)
        is_final = [normalize_word(kind) != BounceKind.SOFT for kind in values_of(kinds)]
        rows = np.flatnonzero(np.array(is_final, np.bool_) & are_present(keys))
        unnamed = pa.nulls(len(rows), pa.large_string())
        since = parse_instants(moments)[rows]
        return (
            _repeat(SuppressionKind.BOUNCE, rows),
            take(keys, rows),
            unnamed,
            unnamed,
            unnamed,
            since,
            take(sources, rows),
        )

    def _ended(self, mandator: str) -> Iterator[_Suppressions]:
        """Yield the ended consents, if there are any."""
        if ended := self._consents.ended(mandator):
            yield (
                take(_SUPPRESSION_KINDS, ended.kinds),
                _address_keys(ended.emails),
                ended.entity_types,
                ended.entity_ids,
                ended.opt_in_ids,
                ended.moments,
                ended.sources,
            )

    def _unclear(self, mandator: str) -> _Suppressions:
        """Return the events whose entity type or opt-in can't be understood, for each existing person."""
        odd = self._consents.unclear_people_of(mandator)
        emails = self.emails({consent.entity for consent in odd})
        odd = [consent for consent in odd if consent.entity in emails]
        since = [consent.since and consent.since.replace(tzinfo=None) for consent in odd]
        return (
            _repeat(SuppressionKind.UNCLEAR, odd),
            _address_keys([emails[consent.entity] for consent in odd]),
            pa.array([consent.entity.entity_type.value for consent in odd], pa.large_string()),
            pa.array([consent.entity.entity_id for consent in odd], pa.large_string()),
            pa.array([consent.opt_in_id for consent in odd], pa.large_string()),
            np.array(since, dtype="datetime64[us]"),
            [consent.source for consent in odd],
        )

    def _require_columns(self, picked: PickedPeople, pick: Pick, columns: Collection[str]) -> None:
        available = common_columns(picked.people, SELECTION_COLUMNS)
        fields = filter_fields(pick.condition) if pick.condition else frozenset()
        missing = sorted((set(columns) - available) | (fields - available) | (fields & {"entity_type"}))
        if not missing:
            return
        where = "the filter" if fields.issuperset(missing) else "the list's attributes"
        raise CrmError(
            f"the {pick_title(pick)} has no column {', '.join(missing)} that everybody in it has; "
            f"{_without(picked.people, missing)}correct it in {where}, give it an entry in the section crm, or add it "
            f"in the CRM; there are {', '.join(sorted(available))}"
        )

    def _members(
        self, people: PeopleOfType, pick: Pick, columns: Sequence[str]
    ) -> Iterator[Sequence[tuple[Entity, str | None]]]:
        title, picked, entity = pick_title(pick), people.picked, people.entity
        # The address is always the record's: a report may have a column `email` of its own.
        own = (entity.c.email if name == "email" else people.columns[name] for name in columns[1:])
        query = (
            select(picked.c.entity_id, entity.c.id.label("own_id"), *own)
            .select_from(picked)
            .outerjoin(entity, entity.c.id == picked.c.entity_id)
        )
        places = [f"{title}.entity_id", *(f"{people.entity_type}.{name}" for name in columns[1:])]
        for ids, own_ids, *values in self._reader.columns(query, _MEMBERS, f"reading the {title}"):
            _require_ids(ids, own_ids, title, people.entity_type)
            frame = text_frame([without_outer_blanks(ids), *values], columns, places, "")
            if pick.condition:
                frame = matching_rows(pick.condition, frame)
            emails = [email or None for email in frame["email"].astype("object").where(frame["email"].notna(), None)]
            yield [
                (Entity(people.entity_type, entity_id), email)
                for entity_id, email in zip(frame["entity_id"], emails, strict=True)
            ]

    def _frames(
        self, people: PeopleOfType, opt_in_id: str, columns: list[str], chunk_rows: int, pick: str
    ) -> Iterator[pd.DataFrame]:
        entity, picked, events = people.entity, people.picked, self._table.source
        own = [people.columns[name] for name in columns]
        query = (
            select(*[picked.c.entity_id, entity.c.id.label("own_id"), entity.c.email, *self._table.columns, *own])
            .select_from(picked)
            .outerjoin(entity, entity.c.id == picked.c.entity_id)
            .outerjoin(
                events,
                (events.c.entity_id == picked.c.entity_id)
                & self._table.about([normalize_word(opt_in_id)], [people.entity_type]),
            )
            # Where a report names an entity several times, the row with the smallest own columns counts.
            .order_by(picked.c.entity_id, *(column for column in own if column.table is picked))
        )
        own_places = [f"{pick if column.table is picked else people.entity_type}.{column.name}" for column in own]
        consent_places = [f"consent_event.{name}" for name in EVENT_COLUMNS if name != "entity_id"]
        places = ["entity_type", f"{pick}.entity_id", f"{people.entity_type}.email", *consent_places, *own_places]
        for values in self._reader.groups(query, chunk_rows, f"reading the {pick}"):
            ids = values[0]
            _require_ids(ids, values[1], pick, people.entity_type)
            require_same_keys(ids, values[_EVENT_ENTITY_ID], f"{pick}.entity_id", "consent_event.entity_id")
            yield text_frame(
                self._columns_per_entity(people.entity_type, values),
                (*SELECTION_COLUMNS, *columns),
                places,
                "consent_at",
            )

    def _columns_per_entity(self, entity_type: str, values: Columns) -> list[Column | Instants]:
        """Return the columns of a selection, one value per entity; the rows of an entity are adjacent in `values`."""
        firsts = group_starts(values[0])
        groups = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(values[0])))
        with_event = np.flatnonzero(are_present(values[_EVENT_ENTITY_ID]))
        events = [take(column, with_event) for column in values[_FIRST_EVENT_COLUMN:_FIRST_OWN_COLUMN]]
        decided = self._table.decisions(groups[with_event], events)
        concerned = groups[with_event[decided.rows]]
        deciding, kinds = np.full((2, len(firsts)), -1)
        deciding[concerned], kinds[concerned] = decided.rows, decided.kinds
        moments = np.full(len(firsts), "NaT", dtype="datetime64[us]")
        moments[concerned] = decided.moments
        event_id, *evidence = (take(events[number], deciding) for number in (0, 4, 5, 6))
        return [
            pa.repeat(pa.scalar(entity_type, pa.large_string()), len(firsts)),
            take(without_outer_blanks(values[0]), firsts),
            take(values[2], firsts),
            event_id,
            take(_KIND_NAMES, kinds),
            moments,
            *evidence,
            *(take(column, firsts) for column in values[_FIRST_OWN_COLUMN:]),
        ]


class FrozenSnapshot(SqlSnapshot):
    """Reads a mandator's suppressions and counts an opt-in's events once: the data doesn't change meanwhile."""

    def suppression(self, mandator: str) -> pd.DataFrame:
        """Return bounced addresses and withdrawn or unclear consents. See `CrmSnapshot.suppression`."""
        if mandator not in self._suppressed:
            self._suppressed[mandator] = super().suppression(mandator)
        return self._suppressed[mandator].copy(deep=False)  # pandas copies what is written to

    def consent_rows(self, opt_in_id: str) -> ConsentEventCounts:
        """Return how well the consent events of an opt-in can be understood. See `CrmSnapshot.consent_rows`."""
        if opt_in_id not in self._counts:
            self._counts[opt_in_id] = super().consent_rows(opt_in_id)
        return self._counts[opt_in_id]

    @cached_property
    def _suppressed(self) -> dict[str, pd.DataFrame]:
        return {}

    @cached_property
    def _counts(self) -> dict[str, ConsentEventCounts]:
        return {}


def _address_keys(addresses: Column) -> pa.Array:
    return pa.array(map(address_key, values_of(addresses)), pa.large_string())


def _repeat(kind: SuppressionKind, rows: Sized) -> pa.Array:
    return pa.repeat(pa.scalar(kind.value, pa.large_string()), len(rows))


def _require_ids(ids: Column, own_ids: Column, pick: str, entity_type: EntityType) -> None:
    if ids.null_count if isinstance(ids, pa.Array) else None in ids:
        raise CrmError(f"the {pick} has rows without an entity_id; take them out of its query or view")
    require_same_keys(ids, own_ids, f"{pick}.entity_id", f"{entity_type}.id")


def _without(people: Sequence[PeopleOfType], columns: Sequence[str]) -> str:
    """Return which of several entity types lack which of the columns, for a message."""
    if len(people) < 2:
        return ""
    lacking = {group.entity_type: [name for name in columns if name not in group.columns] for group in people}
    return "".join(f"{entity_type} lacks {', '.join(names)}; " for entity_type, names in lacking.items() if names)


def _unmatched_members(members: Sequence[AnyRow], columns: Sequence[str]) -> pd.DataFrame:
    """Return members without a valid entity type. They are selected like all others, to be rejected with a reason."""
    names = (*SELECTION_COLUMNS, *columns)
    types = [str(row[0] or "").strip()[:_LONGEST_TYPE] for row in members]
    ids = [str(row[1] or "").strip() for row in members]
    values: list[Sequence[Any]] = [types, ids, *([[None] * len(members)] * (len(names) - 2))]
    return text_frame(values, names, names, "consent_at")
