"""Small sources of copies: the contract's tables of a real database, and lists in memory that can fail on demand."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, insert, inspect, select

from campaign_sync.crm.mirror.source import (
    ADDRESS_STATE_COLUMNS,
    EVENT_COLUMNS,
    MEMBER_COLUMNS,
    STATE_COLUMNS,
    BounceMark,
    Source,
    SourceReader,
    SourceRows,
    Withdrawal,
)
from campaign_sync.crm.port import CrmError, CrmNeeds, Pick, RecordedResponses
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.sql.picks import PickReader, pick_title
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.response import Response

_TIMES = ("occurred_at", "bounced_at")

Rows = Sequence[Sequence[object]]


def source_rows(columns: Sequence[str], rows: Rows, *, chunk: int = 3) -> SourceRows:
    """Return complete rows, a few at once."""
    chunks = (rows[start : start + chunk] for start in range(0, len(rows), chunk))
    return SourceRows(tuple(columns), chunks, lambda: len(rows))


class ContractReader:
    """Reads the contract's tables as they are."""

    def __init__(self, reader: SqlReader) -> None:
        self.as_of = datetime.now(UTC)
        self._reader = reader

    def pick(self, pick: Pick) -> SourceRows:
        picked = PickReader(self._reader).find(pick)
        own: list[str] = [
            own.name for group in picked.people[:1] for own in group.picked.c if own.name not in MEMBER_COLUMNS
        ]
        rows: list[Sequence[object]] = [
            (group.entity_type.value, *row)
            for group in picked.people
            for row in self._all(select(*[group.picked.c[name] for name in ("entity_id", *own)]), pick)
        ]
        if picked.unmatched is not None:
            rows += self._all(picked.unmatched, pick)
        only = picked.people[0].entity_type if len(picked.people) == 1 else None
        return dataclasses.replace(source_rows((*MEMBER_COLUMNS, *own), rows), entity_type=only)

    def people(self, entity_type: EntityType) -> SourceRows:
        return self._table(entity_type.value)

    def opt_ins(self) -> Sequence[OptIn]:
        return [OptIn(*map(str, row)) for row in self._all(select(schema.opt_in))]

    def consent_events(self, opt_in_ids: Collection[str] | None) -> SourceRows:
        columns = [*EVENT_COLUMNS]
        if "text_version" in self._reader.table("consent_event").c:
            columns.append("text_version")
        return self._table("consent_event", columns)

    def consent_states(self, opt_in_ids: Collection[str] | None) -> None:
        return None

    def address_states(self) -> SourceRows:
        return self._table("address_state", ADDRESS_STATE_COLUMNS)

    def _table(self, name: str, columns: Sequence[str] = ()) -> SourceRows:
        table = self._reader.table(name)
        names = columns or table.c.keys()
        read = [self._reader.moment(table.c[name]) if name in _TIMES else table.c[name] for name in names]
        (counted,) = self._all(select(func.count()).select_from(table))
        return dataclasses.replace(source_rows(names, self._all(select(*read))), expected=lambda: counted[0])

    def _all(self, query: Select[Any], pick: Pick | None = None) -> list[Sequence[Any]]:
        doing = f"reading the {pick_title(pick)}" if pick else "reading"
        return [tuple(row) for row in self._reader.rows(query, doing)]


class ContractSource(Source):
    """A CRM whose tables have the names of the contract, read as one that has to be copied."""

    def __init__(self, url: str) -> None:
        self._engine, self._crm = crm_engine(url), SqlCrm(url)

    def check(self, *, exports: bool) -> None:
        self._crm.check(exports=exports)

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        with read_only(self._engine) as connection:
            yield ContractReader(SqlReader(connection))

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        rows = [
            {
                "id": withdrawal.event_id,
                "entity_type": withdrawal.entity.entity_type.value,
                "entity_id": withdrawal.entity.entity_id,
                "opt_in_id": withdrawal.opt_in_id,
                "kind": "withdrawn",
                "occurred_at": withdrawal.occurred_at,
                "source": withdrawal.source,
                "evidence": withdrawal.evidence,
            }
            for withdrawal in withdrawals
        ]
        with crm_errors(self._engine, "recording unsubscribes"), self._engine.begin() as connection:
            connection.execute(insert(schema.consent_event), rows)
        yield withdrawals

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        table = schema.address_state
        with crm_errors(self._engine, "recording bounces"), self._engine.begin() as connection:
            for bounce in bounces:
                values = {
                    "bounce_kind": bounce.kind.value,
                    "bounced_at": bounce.occurred_at,
                    "mandator": bounce.mandator,
                    "source": bounce.source,
                }
                same = func.lower(func.trim(table.c.address)) == bounce.address
                if not connection.execute(table.update().where(same).values(values)).rowcount:
                    connection.execute(insert(table), values | {"address": bounce.address})
        yield bounces

    def takes_responses(self) -> bool:
        return self._crm.takes_responses()

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        return self._crm.record_responses(responses)

    def last_export(self, name: str) -> datetime | None:
        return self._crm.last_export(name)

    def all_picks(self) -> frozenset[Pick]:
        """Return the marketing lists and reports of the CRM."""
        with self._engine.begin() as connection:
            tables = inspect(connection).get_table_names()
            picks: set[Pick] = set()
            if "marketing_list" in tables:
                names = connection.execute(select(schema.marketing_list.c.name)).scalars()
                picks |= {Pick("marketing_list", name) for name in names}
            if "report" in tables:
                picks |= {Pick("report", name) for name in connection.execute(select(schema.report.c.name)).scalars()}
            return frozenset(picks)


@dataclass
class ListSource:
    """A CRM in memory. Implements `Source` and `SourceReader`."""

    people_of: dict[EntityType, list[tuple[object, object]]] = field(default_factory=dict)
    """Ids and addresses."""
    members: dict[Pick, list[tuple[object, object]]] = field(default_factory=dict)
    opt_in_list: list[OptIn] = field(default_factory=list)
    events: list[Sequence[object]] | None = None
    states: list[Sequence[object]] | None = None
    bounces: list[Sequence[object]] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    """How many rows of a table don't come, by its name."""
    cut: set[str] = field(default_factory=set)
    """Tables whose reading fails in the middle."""
    refused: set[Entity] = field(default_factory=set)
    """Records whose withdrawals and bounces aren't accepted."""
    delivery: str | None = None
    """Which version of the data it is, where the source knows it."""
    shows_what_was_written: bool = True
    reads: list[str] = field(default_factory=list)
    """The tables that were read, in order."""
    withdrawals: list[Withdrawal] = field(default_factory=list)
    marks: list[BounceMark] = field(default_factory=list)
    as_of: datetime = field(default_factory=lambda: datetime.now(UTC))

    def version(self) -> str | None:
        return self.delivery

    def check(self, *, exports: bool) -> None: ...

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        yield self

    def pick(self, pick: Pick) -> SourceRows:
        if pick not in self.members:
            raise CrmError(f"the CRM has no {pick.kind} {pick.name!r}")
        return self._rows(pick.name, MEMBER_COLUMNS, self.members[pick])

    def people(self, entity_type: EntityType) -> SourceRows:
        return self._rows(entity_type.value, ("id", "email"), self.people_of.get(entity_type, []))

    def opt_ins(self) -> Sequence[OptIn]:
        return self.opt_in_list

    def consent_events(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        return None if self.events is None else self._rows("consent_event", EVENT_COLUMNS, self.events)

    def consent_states(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        return None if self.states is None else self._rows("consent_state", STATE_COLUMNS, self.states)

    def address_states(self) -> SourceRows:
        return self._rows("address_state", ADDRESS_STATE_COLUMNS, self.bounces)

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        for withdrawal in withdrawals:
            if withdrawal.entity in self.refused:
                continue
            self.withdrawals.append(withdrawal)
            if self.shows_what_was_written:
                self._show(withdrawal)
            yield [withdrawal]

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        accepted = [mark for mark in bounces if not self.refused & {entity for entity, _ in mark.holders}]
        self.marks += accepted
        if self.shows_what_was_written:
            self.bounces += [
                (mark.address, mark.kind.value, mark.occurred_at, mark.mandator, mark.source) for mark in accepted
            ]
        yield accepted

    def takes_responses(self) -> bool:
        return False

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        return RecordedResponses()

    def last_export(self, name: str) -> datetime | None:
        return None

    def _show(self, withdrawal: Withdrawal) -> None:
        """Show a withdrawal as an event, or as the state of the record for the opt-in."""
        entity, at = withdrawal.entity, withdrawal.occurred_at
        evidence = (withdrawal.source, withdrawal.evidence)
        if self.events is not None:
            self.events.append((withdrawal.event_id, *entity, withdrawal.opt_in_id, "withdrawn", at, *evidence))
            return
        assert self.states is not None
        self.states = [
            state for state in self.states if (state[0], state[1], state[3]) != (*entity, withdrawal.opt_in_id)
        ]
        self.states.append((*entity, None, withdrawal.opt_in_id, "withdrawn", at, *evidence))

    def _rows(self, name: str, columns: Sequence[str], rows: Rows) -> SourceRows:
        self.reads.append(name)
        kept = rows[: len(rows) - self.lost.get(name, 0)]
        chunks = source_rows(columns, kept, chunk=2).chunks
        return SourceRows(tuple(columns), self._cut(chunks) if name in self.cut else chunks, lambda: len(rows))

    def _cut(self, chunks: Iterable[Rows]) -> Iterator[Rows]:
        yield next(iter(chunks), [])
        raise CrmError("the connection was cut; run again")
