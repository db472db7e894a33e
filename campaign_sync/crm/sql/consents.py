"""Reading the consents of a CRM in a SQL database: the database finds the events, `domain.consent` decides."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
)

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.crm.sql.schema import consent_event, opt_in
from campaign_sync.domain.consent import (
    GRANTING,
    KINDS,
    UNDATED,
    ConsentEvent,
    ConsentEventCounts,
    ConsentKind,
    ConsentWords,
    Numbers,
    OptIn,
    deciding_events,
    effective_kind,
    effective_kinds,
    normalize_word,
)
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.instant import Instants, as_datetime, parse_instant, parse_instants
from campaign_sync.domain.text import normalize_text

EVENT_COLUMNS = ("id", "entity_id", "kind", "occurred_at", "source", "evidence", "text_version")
"""What is read of an event, in this order."""

_UNREADABLE = "an opt-in that the CRM doesn't define"
"""In place of the id of an opt-in that can't be understood. No id is spelled so once it is cleaned."""


class Decision(NamedTuple):
    """What decides about one entity and one opt-in."""

    row: int
    """Position of the event that decides."""
    kind: ConsentKind
    at: datetime | None
    """None where it has no time."""


@dataclass(frozen=True)
class Decisions:
    """What decides about many, each an element of all of these."""

    rows: Numbers
    """Positions of the events that decide."""
    kinds: Numbers
    """Positions in `KINDS`."""
    moments: Instants

    def __iter__(self) -> Iterator[Decision]:
        columns = (self.rows.tolist(), self.kinds.tolist(), self.moments)
        return (Decision(row, KINDS[kind], as_datetime(at)) for row, kind, at in zip(*columns, strict=True))


@dataclass(frozen=True)
class _EventSpellings:
    """How the CRM spells what has few values in `consent_event`."""

    entity_types: Mapping[EntityType | None, Sequence[object]]
    """None for what is no entity type."""
    opt_ins: Mapping[str, Sequence[object]]
    """By cleaned id; `_UNREADABLE` for what is no opt-in of the CRM."""
    kinds: Mapping[object, ConsentKind | None]
    """By spelling; None for those that are ignored."""


@dataclass(frozen=True)
class UnclearConsent:
    """A person who may be affected by an event that isn't fully understood."""

    entity: Entity
    opt_in_id: str | None
    """None if the event doesn't say."""
    since: datetime | None
    source: str | None


class ConsentReader:
    """The consents that a reader sees. Everybody decides by the same rule, on the same understanding of the events.

    Args:
        reader: reads the CRM.
        words: how this CRM calls what happens to a consent.
        now: what the future is measured by.
    """

    def __init__(self, reader: SqlReader, words: ConsentWords, now: datetime) -> None:
        self._reader, self._words, self._now = reader, words, now

    # Opt-ins

    @cached_property
    def _opt_ins(self) -> dict[str, list[OptIn]]:
        """Return what the CRM defines, by cleaned id; several under one id if their ids differ only in spelling."""
        definitions: defaultdict[str, list[OptIn]] = defaultdict(list)
        for row in self._reader.rows(select(opt_in), "reading opt_in"):
            values = [_utf8(row._mapping[column], f"opt_in.{column.name}") for column in opt_in.c]
            opt_in_id, mandator = map(normalize_text, values[:2])
            if opt_in_id:
                definitions[normalize_word(opt_in_id)].append(OptIn(opt_in_id, mandator, *values[2:]))
        return dict(definitions)

    def opt_in(self, opt_in_id: str) -> OptIn | None:
        """Return an opt-in's definition; None where the CRM has none.

        Raises:
            CrmError: several opt-ins have this id in different spellings.
        """
        definitions = self._opt_ins.get(normalize_word(opt_in_id), [])
        if len(definitions) > 1:
            raise CrmError(
                f"opt_in.opt_in_id has {opt_in_id!r} {len(definitions)} times, only spelled differently (case, "
                "blanks), so an event could mean either; remove all but one"
            )
        return next(
            (definition for definition in definitions if definition.opt_in_id == normalize_text(opt_in_id)), None
        )

    def ids_of(self, mandator: str) -> frozenset[str]:
        """Return the opt-ins of a mandator, also those whose ids differ in nothing but their case."""
        every = (definition for definitions in self._opt_ins.values() for definition in definitions)
        return frozenset(
            definition.opt_in_id for definition in every if definition.mandator == normalize_text(mandator)
        )

    def of_mandator(self, mandator: str) -> dict[str, str]:
        """Return the opt-ins of a mandator: cleaned id to id."""
        return {
            cleaned: definition.opt_in_id
            for cleaned, definitions in self._opt_ins.items()
            for definition in definitions
            if definition.mandator == normalize_text(mandator)
        }

    # Events

    @cached_property
    def source(self) -> FromClause:
        """`consent_event`, its entity ids without outer blanks."""
        return self._reader.with_clean_key(self._reader.table(consent_event.name), "entity_id")

    @cached_property
    def columns(self) -> list[ColumnElement[Any]]:
        """`EVENT_COLUMNS`; a missing one as nothing, times as they are stored."""
        source_columns = self.source.c
        stored = [source_columns[name] if name in source_columns else null().label(name) for name in EVENT_COLUMNS]
        return [self._reader.moment(column) if column.name == "occurred_at" else column for column in stored]

    @cached_property
    def _spellings(self) -> _EventSpellings:
        columns = self.source.c["entity_type", "opt_in_id"]
        types: defaultdict[EntityType | None, set[object]] = defaultdict(set)
        opt_ins: defaultdict[str, set[object]] = defaultdict(set)
        for entity_type, opt_in_id in self._reader.rows(select(*columns).distinct(), "reading consent_event"):
            types[entity_type_of(entity_type)].add(entity_type)
            opt_ins[self._opt_in_key(opt_in_id)].add(opt_in_id)
        # Asked for by itself: an index answers the other question.
        spellings = self._reader.rows(select(self.source.c.kind).distinct(), "reading consent_event")
        kinds = {kind: self._words.kind_of(kind) for (kind,) in spellings}
        return _EventSpellings(
            {key: tuple(spellings) for key, spellings in types.items()},
            {key: tuple(spellings) for key, spellings in opt_ins.items()},
            kinds,
        )

    def _opt_in_key(self, raw: object) -> str:
        cleaned = normalize_word(raw)
        return cleaned if cleaned in self._opt_ins else _UNREADABLE

    def of_opt_ins(self, opt_ins: Collection[str], types: Collection[EntityType]) -> ColumnElement[bool]:
        """Return which events are about these opt-ins (cleaned ids) and entity types, and aren't to be ignored."""
        known = self._spellings
        return and_(
            _is_one_of(self.source.c.opt_in_id, [raw for key in opt_ins for raw in known.opt_ins.get(key, ())]),
            _is_one_of(
                self.source.c.entity_type,
                [raw for entity_type in types for raw in known.entity_types.get(entity_type, ())],
            ),
            self._counts,
        )

    @property
    def _counts(self) -> ColumnElement[bool]:
        ignored = [raw for raw, kind in self._spellings.kinds.items() if kind is None]
        kind = self.source.c.kind
        return or_(kind.is_(None), not_(_is_one_of(kind, ignored))) if ignored else true()

    def decisions(self, groups: Numbers, events: Sequence[Sequence[Any]]) -> Decisions:
        """Return what decides in each group of events, in the order of the groups' numbers.

        Args:
            groups: which group each event is in.
            events: the values of `EVENT_COLUMNS`, column by column.
        """
        kinds, moments = self._understood(events[2], events[3])
        rows = deciding_events(groups, kinds, moments, events[0])
        return Decisions(rows, kinds[rows], moments[rows])

    def _understood(self, raw_kinds: Sequence[object], raw_moments: Sequence[object]) -> tuple[Numbers, Instants]:
        numbers = {raw: KINDS.index(kind) for raw, kind in self._spellings.kinds.items() if kind is not None}
        unclear = KINDS.index(ConsentKind.UNCLEAR)  # what isn't found in the snapshot's own words
        kinds = np.array([numbers.get(raw, unclear) for raw in raw_kinds], dtype=np.intp)
        moments = parse_instants(raw_moments)
        return effective_kinds(kinds, moments, self._now), moments

    def people(self, entity_type: EntityType) -> FromClause:
        """Return the records of a type, their ids without outer blanks."""
        return self._reader.with_clean_key(self._reader.table(entity_type.value), "id", unique=True)

    # What is asked

    def against(self, mandator: str) -> Iterator[tuple[Entity, str, Decision, str | None, str | None]]:
        """Yield the ended consents of a mandator: a withdrawal, or an event that isn't understood, decides.

        Yields entity, opt-in id, what decides, its source and the entity's address.
        """
        opt_ins = self.of_mandator(mandator)
        ending = [
            raw for raw, kind in self._spellings.kinds.items() if kind in (ConsentKind.WITHDRAWN, ConsentKind.UNCLEAR)
        ]
        if not ending:
            return
        # To read the events of everybody, only to find the few who withdrew, would take far longer.
        source = self.source
        who = select(source.c.entity_id).where(_is_one_of(source.c.kind, ending))
        columns = [column for column in self.columns if column.name not in ("evidence", "text_version")]
        query = (
            select(*[*columns, *source.c["entity_type", "opt_in_id"], self._email()])
            .select_from(self._with_people())
            .where(self.of_opt_ins(opt_ins, tuple(EntityType)), source.c.entity_id.in_(who))
        )
        rows = self._reader.rows(query, "reading consent_event")
        if not rows:
            return
        ids, entity_ids, kinds, moments, sources, raw_types, raw_opt_ins, emails = zip(*rows, strict=True)
        types = {raw: EntityType(normalize_word(raw)) for raw in set(raw_types)}
        keys = {raw: self._opt_in_key(raw) for raw in set(raw_opt_ins)}
        numbers: dict[tuple[EntityType, str, str], int] = {}
        groups = [
            numbers.setdefault((types[raw_type], keys[raw_opt_in], _text(entity_id).strip()), len(numbers))
            for raw_type, raw_opt_in, entity_id in zip(raw_types, raw_opt_ins, entity_ids, strict=True)
        ]
        decided = self.decisions(np.array(groups, dtype=np.intp), [ids, entity_ids, kinds, moments])
        ended = [
            (opt_ins[key], entity_type, entity_id, decision)
            for (entity_type, key, entity_id), decision in zip(numbers, decided, strict=True)
            if decision.kind in (ConsentKind.WITHDRAWN, ConsentKind.UNCLEAR)
        ]
        for opt_in_id, entity_type, entity_id, decision in sorted(ended):
            yield Entity(entity_type, entity_id), opt_in_id, decision, sources[decision.row], emails[decision.row]

    @cached_property
    def odd_people(self) -> list[UnclearConsent]:
        """Return whom the CRM has and an event may be about whose entity type or opt-in can't be understood."""
        known = self._spellings
        if None not in known.entity_types and _UNREADABLE not in known.opt_ins:
            return []
        source = self.source
        readable = and_(
            _is_one_of(
                source.c.entity_type,
                [raw for possible_type in EntityType for raw in known.entity_types.get(possible_type, ())],
            ),
            _is_one_of(source.c.opt_in_id, [raw for key in self._opt_ins for raw in known.opt_ins.get(key, ())]),
        )
        query = select(*[*self.columns, *source.c["entity_type", "opt_in_id"]]).where(
            source.c.entity_id.is_not(None), or_(not_(readable), readable.is_(None)), self._counts
        )
        unclear = []
        for row in self._reader.rows(query, "reading consent_event"):
            entity_type, key = entity_type_of(row.entity_type), self._opt_in_key(row.opt_in_id)
            if self._is_harmless(key, row.kind):
                continue
            opt_in_id = self._opt_ins[key][0].opt_in_id if key in self._opt_ins else None
            for possible_type in EntityType if entity_type is None else (entity_type,):
                entity = Entity(possible_type, _text(row.entity_id).strip())
                unclear.append(UnclearConsent(entity, opt_in_id, parse_instant(row.occurred_at), row.source))
        return unclear

    def _is_harmless(self, key: str, kind: object) -> bool:
        """Return whether an event can't end a consent of ours: it grants something that isn't an opt-in.

        CRMs keep consents for the telephone or the post in the same place.
        """
        return key == _UNREADABLE and self._words.kind_of(kind) in GRANTING

    def odd_people_of(self, mandator: str) -> list[UnclearConsent]:
        """Return those of `odd_people` whom it keeps out of lists of this mandator."""
        opt_ins = {None, *self.of_mandator(mandator).values()}
        return [consent for consent in self.odd_people if consent.opt_in_id in opt_ins]

    def granted(self, opt_in_id: str) -> Iterator[tuple[Entity, str, datetime]]:
        """Yield everybody with an address whose consent is granted now: entity, address as stored, and since when."""
        odd = self._newest_oddity(opt_in_id)
        for entity_type in EntityType:
            keyed = self.people(entity_type)
            query = (
                select(*[*self.columns, keyed.c.id.label("key"), keyed.c.email])
                .join_from(keyed, self.source, self.source.c.entity_id == keyed.c.id)
                .where(self.of_opt_ins([self._only(opt_in_id)], [entity_type]), keyed.c.email.is_not(None))
                .order_by(keyed.c.id)
            )
            doing = f"reading who consented to {opt_in_id}"
            for rows in self._reader.groups(query, 20_000, doing, lambda row: row.key):
                keys = [row[-2] for row in rows]
                require_same_keys(keys, [row[1] for row in rows], f"{entity_type}.id", "consent_event.entity_id")
                for decision in self.decisions(numbered(keys), list(zip(*rows, strict=True))):
                    email, at = rows[decision.row][-1], decision.at
                    if decision.kind not in GRANTING or at is None:
                        continue
                    entity = Entity(entity_type, keys[decision.row].strip())
                    if isinstance(email, str) and not (entity in odd and odd[entity] >= at):
                        yield entity, email, at

    def _newest_oddity(self, opt_in_id: str) -> dict[Entity, datetime]:
        newest: dict[Entity, datetime] = {}
        for consent in self.odd_people:
            if consent.opt_in_id in (None, normalize_text(opt_in_id)):
                newest[consent.entity] = max(
                    newest.get(consent.entity, consent.since or UNDATED), consent.since or UNDATED
                )
        return newest

    def history(self, entity: Entity) -> dict[str, list[ConsentEvent]]:
        """Return what ever happened to an entity's consents, by opt-in, oldest first, as it is understood."""
        source = self.source
        query = select(*[*self.columns, source.c.opt_in_id]).where(
            self.of_opt_ins(self._opt_ins, [entity.entity_type]), source.c.entity_id == entity.entity_id
        )
        by_opt_in: defaultdict[str, list[ConsentEvent]] = defaultdict(list)
        for row in self._reader.rows(query, "reading consent_event"):
            at, kind = parse_instant(row.occurred_at), self._words.kind_of(row.kind)
            if kind is not None:
                by_opt_in[self._opt_ins[self._opt_in_key(row.opt_in_id)][0].opt_in_id].append(
                    ConsentEvent(
                        _text(row.id).strip(),
                        effective_kind(kind, at, self._now),
                        at or UNDATED,
                        row.source,
                        row.evidence,
                        row.text_version,
                    )
                )
        return {
            opt_in_id: sorted(events, key=lambda event: (event.occurred_at, event.event_id))
            for opt_in_id, events in sorted(by_opt_in.items())
        }

    def rows_of(self, opt_in_id: str) -> ConsentEventCounts:
        """Return how many events there are of an opt-in, and how many had to be cleaned or can't be understood."""
        key, known, source = self._only(opt_in_id), self._spellings, self.source
        if key not in self._opt_ins:
            raise CrmError(f"the CRM knows no opt-in {opt_in_id!r} any more")
        spelled = [raw for opt_in_key in (key, _UNREADABLE) for raw in known.opt_ins.get(opt_in_key, ())]
        this = and_(_is_one_of(source.c.opt_in_id, spelled), self._counts)
        if self._all_spelled_well(key):
            rows = self._reader.rows(select(func.count()).select_from(source).where(this), "counting consent_event")[0][
                0
            ]
            undated = self._undated_grants(this)
            return ConsentEventCounts(rows, 0, {"occurred_at": undated} if undated else {})
        return self._counted(key, this)

    def _all_spelled_well(self, key: str) -> bool:
        known = self._spellings
        return (
            _UNREADABLE not in known.opt_ins
            and None not in known.entity_types
            and set(known.opt_ins.get(key, ())) <= {definition.opt_in_id for definition in self._opt_ins[key]}
            and all(set(raw) <= {entity_type} for entity_type, raw in known.entity_types.items())
            and all(self._is_well_spelled(raw) for raw in known.kinds)
        )

    def _is_well_spelled(self, raw: object) -> bool:
        return self._words.kind_of(raw) is not ConsentKind.UNCLEAR and raw == normalize_word(raw)

    def _counted(self, key: str, this: ColumnElement[bool]) -> ConsentEventCounts:
        columns = self.source.c["entity_type", "opt_in_id", "kind"]
        query = select(*columns, func.count()).where(this).group_by(*columns)
        ids = {definition.opt_in_id for definition in self._opt_ins[key]}
        rows = cleaned = 0
        unclear, words = Counter[str](), Counter[tuple[str, str]]()
        for entity_type, opt_in_id, kind, count in self._reader.rows(query, "counting consent_event"):
            if self._is_harmless(self._opt_in_key(opt_in_id), kind):
                continue
            rows += count
            readable = {
                "opt_in_id": self._opt_in_key(opt_in_id) == key,
                "entity_type": entity_type_of(entity_type) is not None,
                "kind": self._words.kind_of(kind) is not ConsentKind.UNCLEAR,
            }
            flaw = next((name for name, is_readable in readable.items() if not is_readable), None)
            if flaw:
                unclear[flaw] += count
                words[
                    flaw, normalize_word({"opt_in_id": opt_in_id, "entity_type": entity_type, "kind": kind}[flaw])
                ] += count
            elif opt_in_id not in ids or entity_type not in list(EntityType) or not self._is_well_spelled(kind):
                cleaned += count
        known = self._spellings
        types = [raw for possible in EntityType for raw in known.entity_types.get(possible, ())]
        good = and_(
            this,
            _is_one_of(self.source.c.opt_in_id, known.opt_ins.get(key, ())),
            _is_one_of(self.source.c.entity_type, types),
        )
        unclear["occurred_at"] += self._undated_grants(good)
        return ConsentEventCounts(rows, cleaned, {name: count for name, count in unclear.items() if count}, dict(words))

    def _undated_grants(self, this: ColumnElement[bool]) -> int:
        """Return how many grants have no time. Times stored as text are parsed in Python."""
        granting = [raw for raw, kind in self._spellings.kinds.items() if kind in GRANTING]
        stored = self.source.c.occurred_at
        where = and_(this, _is_one_of(self.source.c.kind, granting))
        doing = "looking for times in consent_event"
        if isinstance(stored.type, DateTime):  # not on SQLite
            none = or_(stored.is_(None), stored < literal_column("TIMESTAMP '0001-01-01 00:00:00'"))
            return int(self._reader.rows(select(func.count()).select_from(self.source).where(where, none), doing)[0][0])
        query = select(self._reader.moment(stored)).where(where)
        return sum(
            int(np.isnat(parse_instants([row[0] for row in chunk])).sum())
            for chunk in self._reader.stream(query, 20_000, doing)
        )

    def _only(self, opt_in_id: str) -> str:
        """Return the cleaned id of an opt-in, which is the only one of this spelling."""
        self.opt_in(opt_in_id)
        return normalize_word(opt_in_id)

    def _with_people(self) -> FromClause:
        joined: Any = self.source
        for entity_type in EntityType:
            keyed = self.people(entity_type)
            joined = joined.outerjoin(keyed, self._is_of(entity_type) & (self.source.c.entity_id == keyed.c.id))
        with_people: FromClause = joined
        return with_people

    def _email(self) -> ColumnElement[Any]:
        """Return the address of an event's entity, whichever of the tables, outer joined, has it."""
        return case(
            *((self._is_of(entity_type), self.people(entity_type).c.email) for entity_type in EntityType)
        ).label("email")

    def _is_of(self, entity_type: EntityType) -> ColumnElement[bool]:
        return _is_one_of(self.source.c.entity_type, self._spellings.entity_types.get(entity_type, ()))


def entity_type_of(raw: object) -> EntityType | None:
    """Return what a value of the CRM names, whatever its case and outer blanks; None where that is no entity type."""
    word = normalize_word(raw)
    return EntityType(word) if word in list(EntityType) else None


def numbered(keys: Sequence[object]) -> Numbers:
    """Return numbers from 0 for groups of equal keys that stand beside each other."""
    changes = [before != after for before, after in pairwise(keys)]
    return np.concatenate([[0], np.cumsum(changes, dtype=np.intp)]).astype(np.intp)


def require_same_keys(keys: Sequence[object], joined: Iterable[object], key: str, other: str) -> None:
    """Refuse what a database joined although the keys differ, as numbers or a collation without case make it.

    Raises:
        CrmError: two keys aren't the same text, outer blanks aside; or a key isn't text.
    """
    others = list(joined)
    if keys == others and set(map(type, keys)) == {str}:
        return
    for mine, theirs in zip(keys, others, strict=True):
        if not isinstance(mine, str):
            raise CrmError(f"{key} yields a value of type {type(mine).__name__} and must yield text; cast it to text")
        if theirs is not None and (not isinstance(theirs, str) or mine.strip() != theirs.strip()):
            raise CrmError(
                f"the database takes different ids of {key} and {other} for the same, so one person would be sent on "
                "another's consent; give both as text (cast them in a view) with a case-sensitive collation"
            )


def _is_one_of(column: ColumnElement[Any], spellings: Sequence[object]) -> ColumnElement[bool]:
    """Return whether a column has one of these values, NULL among them."""
    values = [spelling for spelling in spellings if spelling is not None]
    parts: list[ColumnElement[bool]] = [column.is_(None)] if len(values) < len(spellings) else []
    if values:
        parts.append(column == values[0] if len(values) == 1 else column.in_(values))
    return or_(*parts) if parts else false()


def _utf8(value: object, where: str) -> str:
    if isinstance(value, bytes):
        raise CrmError(f"{where} holds text that isn't UTF-8; write it to the CRM again as UTF-8")
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)
