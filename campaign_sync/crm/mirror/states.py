"""Consent states, which become the consent events that the memory makes of them."""

import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.mirror.loading import complete_columns, create_table, insert_rows, require_columns
from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.crm.mirror.source import STATE_COLUMNS, SourceRows
from campaign_sync.crm.mirror.stored_values import Stored
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.consent_table import entity_type_of
from campaign_sync.domain.consent import GRANTING, ConsentKind, ConsentWords, OptIn, normalize_word
from campaign_sync.domain.consent_state import ADDRESS_PREFIX, ConsentState, StateEvent, state_kind
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.instant_columns import as_datetimes, parse_instants
from campaign_sync.domain.text import normalize_text

Meaning = TypeVar("Meaning")

_STAGED = ("opt_in", "subject", "kind", "changed_at", "source", "evidence", "text_version")
"""`opt_in` is a normalized id, or `_EVERY`."""

_ODD = ("entity_type", "entity_id", "address", "opt_in_id", *_STAGED[2:])
"""States of an entity type or opt-in that isn't understood, as the CRM has them."""

_EVERY = ""
"""In place of an opt-in: all that are defined."""

_ODD_EVENTS = uuid.UUID("c8b7f2f5-62c5-4b3f-8f3a-8a9d4f2b7d10")
"""Namespace of the ids of events that states mean which aren't understood."""

_CHUNK = 20_000

_WORDS = {kind: kind.value for kind in ConsentKind}

_INSERT = (
    "INSERT INTO consent_event (id, entity_type, entity_id, opt_in_id, kind, occurred_at, source, evidence, "
    "text_version, from_state) "
)

_OF_RECORD = f"{_INSERT} VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, 1)"

_OF_ADDRESS = (
    f"{_INSERT} SELECT ?2, entity_type, entity_id, ?3, CAST(?4 AS TEXT), ?5, ?6, ?7, ?8, 1 "  # noqa: S608
    "FROM address_holder WHERE address = ?1"
)

_FIND_OPT_OUTS = (
    "INSERT INTO opted_out SELECT DISTINCT subject FROM state WHERE opt_in = ? AND changed_at IS NULL AND ends(kind)"
)

_SPREAD_OPT_OUTS = (
    "INSERT INTO opted_out SELECT h.entity_type || ':' || h.entity_id FROM opted_out o "
    "JOIN address_holder h ON o.subject = :prefix || h.address"
)

_DROP_GRANTS = (
    "DELETE FROM consent_event WHERE from_state = 1 AND kind IN (?, ?) "
    "AND entity_type || ':' || entity_id IN (SELECT subject FROM opted_out)"
)


class StateTable:
    """The states of one read.

    Args:
        connection: to the copy, with the people attached and an empty table of consent events or one that is filled.
        words: how the CRM calls what happens to a consent.
        opt_ins: all that are defined, by normalized id.
        wanted: the normalized ids of those that are needed; all if None.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        words: ConsentWords,
        opt_ins: Mapping[str, OptIn],
        wanted: frozenset[str] | None,
    ) -> None:
        self._connection, self._opt_ins = connection, opt_ins
        self._wanted = frozenset(opt_ins) if wanted is None else wanted & opt_ins.keys()
        self._kinds = _Meanings[ConsentKind | None](lambda raw: state_kind(raw, words))
        self._keys = _Meanings[str](lambda raw: _EVERY if raw is None else normalize_word(raw))
        self._types = _Meanings[EntityType | None](entity_type_of)

    def load(self, rows: SourceRows) -> None:
        """Load all states.

        Raises:
            CrmError: not all came, or a state names neither a record nor an address, or grants an unnamed opt-in of
                several.
        """
        require_columns(rows, STATE_COLUMNS, "consent_state")
        create_table(self._connection, "state", _STAGED)
        create_table(self._connection, "odd_state", _ODD)
        has_versions = "text_version" in rows.columns
        for columns in complete_columns(rows, "consent_state", ("changed_at",)):
            versions = columns[rows.columns.index("text_version")] if has_versions else [None] * len(columns[0])
            staged, odd = self._sorted(zip(*columns[: len(STATE_COLUMNS)], versions, strict=True))
            insert_rows(self._connection, "state", _STAGED, staged)
            insert_rows(self._connection, "odd_state", _ODD, odd)
        self._connection.execute("CREATE INDEX state_of_opt_in ON state (opt_in, subject)")

    def add_events(self, memory: ConsentMemory, now: datetime) -> None:
        """Add the events that the states mean, opt-in by opt-in."""
        for key in sorted(self._wanted):
            opt_in_id = normalize_text(self._opt_ins[key].opt_in_id)
            unclear: dict[str, Stored] = {}
            for events in memory.events(opt_in_id, self._states(key, unclear), now):
                self._insert(opt_in_id, events, unclear)
        self._drop_grants_of_opted_out()
        self._insert_odd()
        self._connection.execute("DROP TABLE state")
        self._connection.execute("DROP TABLE odd_state")

    def _sorted(self, rows: Iterable[Sequence[Stored]]) -> tuple[list[Sequence[Stored]], list[Sequence[Stored]]]:
        """Return the rows of the tables `state` and `odd_state` for a chunk of states."""
        staged: list[Sequence[Stored]] = []
        odd: list[Sequence[Stored]] = []
        nameless = 0
        for entity_type, entity_id, address, opt_in_id, kind, *evidence in rows:
            subject, key = self._subject(entity_type, entity_id, address), self._keys[opt_in_id]
            if not _is_text(entity_id) and address is None:
                nameless += 1
            elif subject is None or (key not in self._opt_ins and key != _EVERY):
                if not self._is_harmless(key, kind):
                    odd.append((entity_type, entity_id, address_key(address), opt_in_id, kind, *evidence))
            elif subject and (key == _EVERY or key in self._wanted):
                self._require_named_opt_in(key, kind)
                staged.append((key, subject, kind, *evidence))
        if nameless:
            raise CrmError(
                f"{nameless} consent states name neither a record nor an address; nothing was changed; correct them in "
                "the CRM, or what reads them"
            )
        return staged, odd

    def _subject(self, entity_type: Stored, entity_id: Stored, address: Stored) -> str | None:
        """Return whom a state is about; None for a type of record that isn't known, empty for an unusable address."""
        if not _is_text(entity_id):
            key = address_key(address)
            return ADDRESS_PREFIX + key if key else ""
        known = self._types[entity_type]
        return f"{known.value}:{str(_readable(entity_id)).strip()}" if known else None

    def _is_harmless(self, key: str, kind: Stored) -> bool:
        """Return whether a state says nothing about a consent of ours. See `ConsentTable.is_harmless`."""
        meaning = self._kinds[kind]
        return meaning is None or (meaning in GRANTING and key not in self._opt_ins)

    def _require_named_opt_in(self, key: str, kind: Stored) -> None:
        if key == _EVERY and len(self._opt_ins) > 1 and self._kinds[kind] in GRANTING:
            raise CrmError(
                f"the CRM grants a consent without naming an opt-in, and {len(self._opt_ins)} opt-ins are defined, so "
                "it could be any of them; name the opt-in where the states are read, or define only one"
            )

    def _states(self, key: str, unclear: dict[str, Stored]) -> Iterator[Sequence[ConsentState]]:
        """Yield the states of an opt-in, subject by subject; `unclear` receives the words that aren't understood."""
        columns = "subject, kind, changed_at, source, evidence, text_version"
        query = f"SELECT {columns} FROM state WHERE opt_in IN (?, ?) ORDER BY subject"  # noqa: S608
        rows = self._connection.execute(query, (key, _EVERY))
        while chunk := rows.fetchmany(_CHUNK):
            unclear |= {row[0]: row[1] for row in chunk if self._kinds[row[1]] is ConsentKind.UNCLEAR}
            moments = as_datetimes(parse_instants([row[2] for row in chunk]))
            yield [
                ConsentState(row[0], self._kinds[row[1]], at, _readable(row[3]), _readable(row[4]), _readable(row[5]))
                for row, at in zip(chunk, moments, strict=True)
            ]

    def _insert(self, opt_in_id: str, events: Sequence[StateEvent], unclear: Mapping[str, Stored]) -> None:
        of_records: list[Sequence[object]] = []
        of_addresses: list[Sequence[object]] = []
        for subject, event_id, kind, occurred_at, *evidence in events:
            # A word of the CRM that isn't understood stays so; the consents that it may end are out of all lists.
            word = unclear.get(subject) if kind is ConsentKind.UNCLEAR else _WORDS[kind]
            at = occurred_at.isoformat() if occurred_at else None
            entity_type, _, key = subject.partition(":")
            if subject.startswith(ADDRESS_PREFIX):
                of_addresses.append((key, event_id, opt_in_id, word, at, *evidence))
            else:
                of_records.append((event_id, entity_type, key, opt_in_id, word, at, *evidence))
        self._connection.executemany(_OF_RECORD, of_records)
        self._connection.executemany(_OF_ADDRESS, of_addresses)

    def _drop_grants_of_opted_out(self) -> None:
        """Remove the grants of records that are withdrawn from every opt-in without a date.

        Such a withdrawal holds while it is shown. Its time is when it was first seen, and a form may grant later.
        """
        self._connection.create_function("ends", 1, lambda raw: self._kinds[raw] is ConsentKind.WITHDRAWN)
        self._connection.execute("CREATE TABLE opted_out (subject TEXT)")
        self._connection.execute(_FIND_OPT_OUTS, (_EVERY,))
        self._connection.execute(_SPREAD_OPT_OUTS, {"prefix": ADDRESS_PREFIX})
        self._connection.execute("CREATE INDEX opted_out_subject ON opted_out (subject)")
        self._connection.execute(_DROP_GRANTS, [kind.value for kind in sorted(GRANTING)])
        self._connection.execute("DROP TABLE opted_out")

    def _insert_odd(self) -> None:
        """Add states that aren't understood as events that aren't either: the rules of consent events judge them."""
        self._connection.create_function("odd_event_id", -1, _odd_event_id, deterministic=True)
        own = "kind, changed_at, source, evidence, text_version, 1"
        event_id = "odd_event_id(entity_type, entity_id, address, opt_in_id, kind, changed_at)"
        self._connection.execute(
            f"{_INSERT} SELECT {event_id}, entity_type, entity_id, opt_in_id, {own} "  # noqa: S608
            "FROM odd_state WHERE trim(coalesce(entity_id, '')) <> ''"
        )
        event_id = event_id.replace("entity_type, entity_id, address", "'', '', o.address")
        self._connection.execute(
            f"{_INSERT} SELECT {event_id}, h.entity_type, h.entity_id, opt_in_id, {own} "  # noqa: S608
            "FROM odd_state o JOIN address_holder h ON h.address = o.address WHERE trim(coalesce(o.entity_id, '')) = ''"
        )


class _Meanings(dict[Stored, Meaning]):
    """What the values of a column mean, each found out once: there are few among millions of rows."""

    def __init__(self, meaning_of: Callable[[Stored], Meaning]) -> None:
        super().__init__()
        self._meaning_of = meaning_of

    def __missing__(self, raw: Stored) -> Meaning:
        self[raw] = meaning = self._meaning_of(raw)
        return meaning


def _is_text(value: Stored) -> bool:
    return value is not None and bool(value.strip())


def _readable(value: Stored) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _odd_event_id(*parts: object) -> str:
    return str(uuid.uuid5(_ODD_EVENTS, "\n".join(map(str, parts))))
