"""The subjects of erasures, found again in what is stored by their keyed hashes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.address import former_recipient_id, usable_address
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.erasure import Erased, Erasure, ErasureKey
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.selection import NORMALIZED_ADDRESS

_ADDRESS_COLUMNS = (RECIPIENT_ID, ADDRESS, NORMALIZED_ADDRESS, "email")
_TIME_COLUMNS = ("consent_at", "occurred_at")

_RECORD = "record"
"""The type and the id of a record, as one column."""

_REMEMBERED = 1_000_000
"""How many addresses and records are remembered: the same people are in the files of every day."""


class ErasedSubjects:
    """Which erasure, if any, an address or a record belongs to.

    Args:
        key: makes the hashes.
        erasures: those whose people are looked for. Of several of the same person the newest counts.
    """

    def __init__(self, key: ErasureKey, erasures: Iterable[Erasure]) -> None:
        self.erasures = sorted(erasures, key=lambda erasure: erasure.erased_at)
        self.erased = Erased.of(key, self.erasures)
        self._by_token = {token: erasure for erasure in self.erasures for token in Erased.of(key, [erasure]).times}
        self.of_recipient_id = lru_cache(_REMEMBERED)(self._of_recipient_id)
        self.of_record = lru_cache(_REMEMBERED)(self._of_record)
        self._columns = {
            **{name: _Column(self.of_recipient_id) for name in _ADDRESS_COLUMNS},
            "email": _Column(self.of_address),
            _RECORD: _Column(lambda record: self.of_record(*record.split(":", 1))),
        }

    def _of_recipient_id(self, recipient_id: str) -> Erasure | None:
        """Return the erasure of a recipient id."""
        token = self.erased.address_token(recipient_id)
        return None if token == recipient_id else self._by_token[token]

    def _of_record(self, entity_type: str, entity_id: str) -> Erasure | None:
        """Return the erasure of a record."""
        record = f"{entity_type}:{entity_id}"
        token = self.erased.record_token(record)
        return None if token == record else self._by_token[token]

    def of_address(self, text: str) -> Erasure | None:
        """Return the erasure of an address in any spelling."""
        return next(filter(None, map(self.of_recipient_id, _forms(text))), None)

    def token_of_address(self, text: str) -> str | None:
        """Return the hash in place of an address in any spelling; None if it wasn't erased."""
        forms = (form for form in _forms(text) if self.of_recipient_id(form))
        return next(map(self.erased.address_token, forms), None)

    def of_token(self, token: str) -> Erasure:
        """Return the erasure whose token this is."""
        return self._by_token[token]

    def of_id(self, entity_id: str) -> Erasure | None:
        """Return the erasure of a record of any type with this id."""
        return next(filter(None, (self.of_record(kind.value, entity_id) for kind in EntityType)), None)

    def in_rows(self, table: pa.Table) -> Iterator[tuple[int, Erasure]]:
        """Yield the positions of rows of erased people, without those whose consent or event is newer."""
        matches: dict[int, Erasure] = {}
        for name in _ADDRESS_COLUMNS:
            if name in table.column_names:
                matches.update(self._columns[name].matches(table[name]))
        if {"entity_type", "entity_id"} <= set(table.column_names):
            parts = (table[name].cast(pa.large_string()) for name in ("entity_type", "entity_id"))
            matches.update(
                self._columns[_RECORD].matches(pc.binary_join_element_wise(*parts, pa.scalar(":", pa.large_string())))
            )
        times = next((table[name] for name in _TIME_COLUMNS if name in table.column_names), None)
        for position, erasure in sorted(matches.items()):
            at: datetime | None = times[position].as_py() if times is not None else None
            if at is None or at <= erasure.until:
                yield position, erasure

    def columns(self, names: Sequence[str]) -> list[str]:
        """Return those of the columns that `in_rows` needs."""
        needed = {*_ADDRESS_COLUMNS, *_TIME_COLUMNS, "entity_type", "entity_id"}
        return [name for name in names if name in needed]


class _Column:
    """Finds the texts of erased people in a column of one file after the other.

    Most texts are in the file before, that of the same list on another day: only the others are looked up one by one.
    """

    def __init__(self, find: Callable[[str], Erasure | None]) -> None:
        self._find = find
        self._before = pa.array([], pa.large_string())
        self._erased: dict[str, Erasure] = {}

    def matches(self, column: pa.ChunkedArray) -> Iterator[tuple[int, Erasure]]:
        """Yield the positions of texts of erased people."""
        texts = column.cast(pa.large_string())
        others = texts.filter(pc.invert(pc.is_in(texts, self._before))).unique()
        for text in others.to_pylist():
            if text and (erasure := self._find(text)):
                self._erased[text] = erasure
        self._before = texts
        positions = pc.indices_nonzero(pc.is_in(texts, pa.array(list(self._erased), pa.large_string())))
        for position, text in zip(positions.to_pylist(), texts.take(positions).to_pylist(), strict=True):
            yield position, self._erased[text]


def _forms(text: str) -> list[str]:
    """Return the recipient ids that an address has, had or may have, that of today first."""
    return [form for form in dict.fromkeys((usable_address(text), former_recipient_id(text), text)) if form]
