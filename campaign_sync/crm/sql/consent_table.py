"""The tables `opt_in` and `consent_event` of a CRM in a SQL database, in whatever spelling they hold their values."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, FromClause, and_, false, not_, null, or_, select, true

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.arrow_columns import Column, values_of
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.crm.sql.schema import consent_event, opt_in
from campaign_sync.domain.consent import GRANTING, ConsentKind, ConsentWords, OptIn, normalize_word
from campaign_sync.domain.consent_columns import KINDS, Numbers, deciding_events, effective_kinds
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.instant_columns import Instants, parse_instants
from campaign_sync.domain.text import normalize_text

EVENT_COLUMNS = ("id", "entity_id", "kind", "occurred_at", "source", "evidence", "text_version")
"""What is read of an event, in this order."""

UNKNOWN_OPT_IN = "an opt-in that the CRM doesn't define"
"""In place of the id of an opt-in that can't be understood. No normalized id is spelled like this."""


@dataclass(frozen=True)
class Decisions:
    """The deciding events of many groups; each is an element of all three arrays."""

    rows: Numbers
    """Positions of the events that decide."""
    kinds: Numbers
    """Positions in `KINDS`."""
    moments: Instants


@dataclass(frozen=True)
class EventSpellings:
    """The spellings of those columns of `consent_event` that have few values."""

    entity_types: Mapping[EntityType | None, Sequence[object]]
    """By entity type; under None, the values that are none."""
    opt_ins: Mapping[str, Sequence[object]]
    """By normalized id; under `UNKNOWN_OPT_IN`, the values that name no opt-in of the CRM."""
    kinds: Mapping[object, ConsentKind | None]
    """By spelling; None for those that are ignored."""


class ConsentTable:
    """The opt-ins and consent events of a CRM, and what the values in them mean.

    Args:
        reader: reads the CRM.
        words: how this CRM calls what happens to a consent.
        now: later times are in the future.
    """

    def __init__(self, reader: SqlReader, words: ConsentWords, now: datetime) -> None:
        self.reader, self.words, self.now = reader, words, now

    @cached_property
    def definitions(self) -> dict[str, list[OptIn]]:
        """The opt-ins of the CRM by normalized id; several under one where ids differ only in spelling."""
        definitions: defaultdict[str, list[OptIn]] = defaultdict(list)
        for row in self.reader.rows(select(opt_in), "reading opt_in"):
            values = [_utf8(row._mapping[column], f"opt_in.{column.name}") for column in opt_in.c]
            opt_in_id, mandator = map(normalize_text, values[:2])
            if opt_in_id:
                definitions[normalize_word(opt_in_id)].append(OptIn(opt_in_id, mandator, *values[2:]))
        return dict(definitions)

    def opt_in(self, opt_in_id: str) -> OptIn | None:
        """Return the definition of an opt-in; None where the CRM has none.

        Raises:
            CrmError: several opt-ins have this id in different spellings.
        """
        definitions = self.definitions.get(normalize_word(opt_in_id), [])
        if len(definitions) > 1:
            raise CrmError(
                f"opt_in.opt_in_id has {opt_in_id!r} {len(definitions)} times, only spelled differently (case, "
                "blanks), so an event could mean either; remove all but one"
            )
        return next(
            (definition for definition in definitions if definition.opt_in_id == normalize_text(opt_in_id)), None
        )

    def opt_in_ids(self, mandator: str) -> frozenset[str]:
        """Return the ids of a mandator's opt-ins, also those that differ only in their case."""
        return frozenset(
            definition.opt_in_id
            for definitions in self.definitions.values()
            for definition in definitions
            if definition.mandator == normalize_text(mandator)
        )

    def ids_by_key(self, mandator: str) -> dict[str, str]:
        """Return the ids of a mandator's opt-ins by normalized id."""
        return {
            cleaned: definition.opt_in_id
            for cleaned, definitions in self.definitions.items()
            for definition in definitions
            if definition.mandator == normalize_text(mandator)
        }

    def unique_key(self, opt_in_id: str) -> str:
        """Return the normalized id of an opt-in.

        Raises:
            CrmError: several opt-ins have this id in different spellings.
        """
        self.opt_in(opt_in_id)
        return normalize_word(opt_in_id)

    @cached_property
    def source(self) -> FromClause:
        """`consent_event`, its entity ids without outer blanks."""
        return self.reader.with_clean_key(self.reader.table(consent_event.name), "entity_id")

    @cached_property
    def columns(self) -> list[ColumnElement[Any]]:
        """`EVENT_COLUMNS`; a missing one is NULL, times are as they are stored, and bytes are no kind."""
        source_columns = self.source.c
        stored = [source_columns[name] if name in source_columns else null().label(name) for name in EVENT_COLUMNS]
        as_read = {"occurred_at": self.reader.moment, "kind": self.reader.without_bytes}
        return [as_read[column.name](column) if column.name in as_read else column for column in stored]

    @cached_property
    def spellings(self) -> EventSpellings:
        """The values of `consent_event` by what they mean."""
        columns = self.source.c["entity_type", "opt_in_id"]
        types: defaultdict[EntityType | None, set[object]] = defaultdict(set)
        opt_ins: defaultdict[str, set[object]] = defaultdict(set)
        for entity_type, opt_in_id in self.reader.rows(select(*columns).distinct(), "reading consent_event"):
            types[entity_type_of(entity_type)].add(entity_type)
            opt_ins[self.opt_in_key(opt_in_id)].add(opt_in_id)
        # A query of its own: an index answers the first one.
        spellings = self.reader.rows(select(self.source.c.kind).distinct(), "reading consent_event")
        kinds = {kind: self.words.kind_of(kind) for (kind,) in spellings}
        return EventSpellings(
            {key: tuple(spellings) for key, spellings in types.items()},
            {key: tuple(spellings) for key, spellings in opt_ins.items()},
            kinds,
        )

    def opt_in_key(self, raw: object) -> str:
        """Return the normalized id of the opt-in that a value names; `UNKNOWN_OPT_IN` where the CRM has none."""
        cleaned = normalize_word(raw)
        return cleaned if cleaned in self.definitions else UNKNOWN_OPT_IN

    def about(self, opt_ins: Collection[str], types: Collection[EntityType]) -> ColumnElement[bool]:
        """Return which events are about these opt-ins (normalized ids) and entity types, and aren't to be ignored."""
        return and_(self.names_opt_in(opt_ins), self.names_type(types), self.not_ignored)

    def names_opt_in(self, keys: Iterable[str]) -> ColumnElement[bool]:
        """Return which events name one of these opt-ins, given by their normalized ids."""
        spellings = self.spellings.opt_ins
        return is_one_of(self.source.c.opt_in_id, [raw for key in keys for raw in spellings.get(key, ())])

    def names_type(self, types: Iterable[EntityType]) -> ColumnElement[bool]:
        """Return which events name one of these entity types."""
        spellings = self.spellings.entity_types
        return is_one_of(self.source.c.entity_type, [raw for key in types for raw in spellings.get(key, ())])

    @property
    def not_ignored(self) -> ColumnElement[bool]:
        """Which events are of a kind that says something about a consent."""
        ignored = [raw for raw, kind in self.spellings.kinds.items() if kind is None]
        kind = self.source.c.kind
        return or_(kind.is_(None), not_(is_one_of(kind, ignored))) if ignored else true()

    def decisions(self, groups: Numbers, events: Sequence[Column]) -> Decisions:
        """Return the deciding event of each group, in the order of the groups' numbers.

        Args:
            groups: which group each event is in.
            events: the values of `EVENT_COLUMNS`, column by column.
        """
        kinds, moments = self._effective(events[2], events[3])
        rows = deciding_events(groups, kinds, moments, events[0])
        return Decisions(rows, kinds[rows], moments[rows])

    def _effective(self, raw_kinds: Column, raw_moments: Column) -> tuple[Numbers, Instants]:
        numbers = {raw: KINDS.index(kind) for raw, kind in self.spellings.kinds.items() if kind is not None}
        unclear = KINDS.index(ConsentKind.UNCLEAR)  # of a kind that isn't among `spellings`
        if isinstance(raw_kinds, pa.Array):
            encoded = raw_kinds.dictionary_encode(null_encoding="encode")
            meant = np.array([numbers.get(raw, unclear) for raw in encoded.dictionary.to_pylist()], dtype=np.intp)
            kinds = meant[encoded.indices.to_numpy()]
        else:
            kinds = np.array([numbers.get(raw, unclear) for raw in raw_kinds], dtype=np.intp)
        moments = parse_instants(raw_moments)
        return effective_kinds(kinds, moments, self.now), moments

    def people(self, entity_type: EntityType) -> FromClause:
        """Return the records of a type, their ids without outer blanks."""
        return self.reader.with_clean_key(self.reader.table(entity_type.value), "id", unique=True)

    def is_harmless(self, key: str, kind: object) -> bool:
        """Return whether an event can't end a consent of ours: it grants something that isn't an opt-in.

        CRMs keep consents for the telephone or the post in the same place.
        """
        return key == UNKNOWN_OPT_IN and self.words.kind_of(kind) in GRANTING


def entity_type_of(raw: object) -> EntityType | None:
    """Return the entity type that a value of the CRM names, in any case and with outer blanks; None for no type."""
    word = normalize_word(raw)
    return EntityType(word) if word in list(EntityType) else None


def require_same_keys(keys: Column, others: Column, key: str, other: str) -> None:
    """Raise an error if the database joined keys that differ, as it does for numbers or a collation without case.

    Raises:
        CrmError: two keys aren't the same text, outer blanks aside; or a key isn't text.
    """
    texts = isinstance(keys, pa.Array) and isinstance(others, pa.Array) and not keys.null_count
    if texts and pc.all(pc.equal(keys, others)).as_py() is not False:
        return
    for mine, theirs in zip(values_of(keys), values_of(others), strict=True):
        if isinstance(mine, bytes):
            raise CrmError(f"{key} holds text that isn't UTF-8 (latin-1, perhaps); write it to the CRM again as UTF-8")
        if not isinstance(mine, str):
            raise CrmError(f"{key} must yield text and yields other values, such as numbers or bytes; cast it to text")
        if theirs is not None and (not isinstance(theirs, str) or mine.strip() != theirs.strip()):
            raise CrmError(
                f"the database takes different ids of {key} and {other} for the same, so one person would be sent on "
                "another's consent; give both as text (cast them in a view) with a case-sensitive collation"
            )


def is_one_of(column: ColumnElement[Any], spellings: Sequence[object]) -> ColumnElement[bool]:
    """Return whether a column has one of these values, NULL among them."""
    values = [spelling for spelling in spellings if spelling is not None]
    parts: list[ColumnElement[bool]] = [column.is_(None)] if len(values) < len(spellings) else []
    if values:
        parts.append(column == values[0] if len(values) == 1 else column.in_(values))
    return or_(*parts) if parts else false()


def _utf8(value: object, where: str) -> str:
    if isinstance(value, bytes):
        raise CrmError(f"{where} holds text that isn't UTF-8; write it to the CRM again as UTF-8")
    return decoded_text(value)


def decoded_text(value: object) -> str:
    """Return a value as text, with marks in place of bytes that aren't UTF-8."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)
