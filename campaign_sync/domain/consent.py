"""Opt-ins (advertising consents) and the rule that tells whether one is granted now."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import numpy as np

from campaign_sync.domain.instant import CLOCK_TOLERANCE, LATEST, Instants, latest64

VENDOR_SOURCE_PREFIX = "optimizely:"
"""How the source of a consent event begins that the vendor told of."""

_EMAIL = re.compile(r"e[-_ ]?mail", re.IGNORECASE)


class ConsentKind(StrEnum):
    """What happened to a consent, as far as it was understood."""

    GRANTED = "granted"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    FUTURE = "granted in the future"
    """A grant whose time hasn't come: a typing error, or the day until which it is valid. It grants nothing."""
    UNCLEAR = "not understood"
    """Of a kind that isn't declared, or a grant without a time. It may be a withdrawal, and grants nothing."""


GRANTING: Final = frozenset({ConsentKind.GRANTED, ConsentKind.CONFIRMED})
"""Mail may be sent on nothing else."""

STANDARD_WORDS: Final = GRANTING | {ConsentKind.WITHDRAWN}
"""What every CRM may write as a kind."""

UNDATED: Final = LATEST
"""In place of a moment that isn't known: only a consent that nobody can give yet would be newer."""


@dataclass(frozen=True)
class OptIn:
    """One advertising consent people can give, as the CRM defines it."""

    opt_in_id: str
    mandator: str
    description: str
    media_type: str


def is_email(media_type: str) -> bool:
    """Whether a media type is e-mail, in any usual spelling: `email`, `e-mail`, `E-Mail`, `EMAIL`.

    A recipient's address is an e-mail address here, and a session's media type stays the vendor's default, EMAIL
    (vendor documentation of setMediaType), so nothing else can be sent.
    """
    return _EMAIL.fullmatch(media_type.strip()) is not None


@dataclass(frozen=True)
class ConsentEvent:
    """One entry of the CRM's append-only consent history of one entity and one opt-in."""

    event_id: str
    kind: ConsentKind
    occurred_at: datetime
    """UTC; `UNDATED` where the CRM has no time."""
    source: str | None = None
    evidence: str | None = None
    """What proves it."""
    text_version: str | None = None
    """Which wording the person agreed to."""


def normalize_word(raw: object) -> str:
    """A kind, an entity type or an opt-in id in the spelling they are compared in: composed, no outer blanks, no case.

    Empty for what isn't text.
    """
    if not isinstance(raw, str):
        return ""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", raw).strip().casefold())


@dataclass(frozen=True)
class ConsentWords:
    """A CRM's words for kinds of consent events besides `STANDARD_WORDS`, as `normalize_word` returns them."""

    granted: frozenset[str] = field(default_factory=frozenset)
    withdrawn: frozenset[str] = field(default_factory=frozenset)
    ignored: frozenset[str] = field(default_factory=frozenset)
    """Say nothing about a consent, such as a double opt-in that was asked for and not confirmed yet."""

    def kind_of(self, raw: object) -> ConsentKind | None:
        """What a word of the CRM means; None for one that is ignored."""
        word = normalize_word(raw)
        if word in STANDARD_WORDS:
            return ConsentKind(word)
        if word in self.ignored:
            return None
        declared = {ConsentKind.GRANTED: self.granted, ConsentKind.WITHDRAWN: self.withdrawn}
        return next((kind for kind, words in declared.items() if word in words), ConsentKind.UNCLEAR)


STANDARD_WORDS_ONLY: Final = ConsentWords()
"""Of a CRM that uses the contract's."""


@dataclass(frozen=True)
class ConsentEventCounts:
    """How the consent events read that say something about one opt-in, or may do so."""

    rows: int
    cleaned: int = 0
    """Of those, how many are understood only without regard to blanks and case."""
    unclear: Mapping[str, int] = field(default_factory=dict)
    """Of those, how many aren't understood, by the column that holds what isn't."""
    words: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """What stands in those columns, and how often."""


NO_CONSENT_EVENTS: Final = ConsentEventCounts(0)


def effective_kind(kind: ConsentKind, occurred_at: datetime | None, now: datetime) -> ConsentKind:
    """What a kind says together with its time: a withdrawal counts without one, a grant only with one that has come."""
    if kind not in GRANTING:
        return kind
    if occurred_at is None:
        return ConsentKind.UNCLEAR
    return ConsentKind.FUTURE if occurred_at > now + CLOCK_TOLERANCE else kind


def current_consent(events: Iterable[ConsentEvent]) -> ConsentEvent | None:
    """The event that decides: the newest; at the same moment a withdrawal beats everything. None without events.

    Among equally old events of one kind the greatest id decides, so that the evidence named is always the same. A grant
    in the future decides only where a grant would decide without it, or nothing: in doubt nothing is granted, and a
    withdrawal stays one.
    """
    ordered = sorted(events, key=precedence_key)
    newest = ordered[-1] if ordered else None
    if newest is None or newest.kind not in GRANTING:
        return newest
    future = [event for event in ordered if event.kind is ConsentKind.FUTURE]
    return future[-1] if future else newest


_RANK: Final = {ConsentKind.FUTURE: -1, ConsentKind.UNCLEAR: 1, ConsentKind.WITHDRAWN: 2}
"""Of events of one moment. All others have 0."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


def precedence_key(event: ConsentEvent) -> tuple[datetime, int, str]:
    """What events of one entity and one opt-in are ordered by: the greatest decides."""
    occurred_at = _EARLIEST if event.kind is ConsentKind.FUTURE else event.occurred_at
    return occurred_at, _RANK.get(event.kind, 0), event.event_id


KINDS: Final = tuple(ConsentKind)
"""Kinds as numbers: their positions here."""

_RANKS = np.array([_RANK.get(kind, 0) for kind in KINDS])
_IS_GRANTING = np.array([kind in GRANTING for kind in KINDS])
_FUTURE, _UNCLEAR = KINDS.index(ConsentKind.FUTURE), KINDS.index(ConsentKind.UNCLEAR)

Numbers = np.ndarray[Any, np.dtype[np.integer[Any]]]


def effective_kinds(kinds: Numbers, moments: Instants, now: datetime) -> Numbers:
    """What `effective_kind` makes of many events at once; kinds are positions in `KINDS`."""
    granting = _IS_GRANTING[kinds]
    future = moments > np.datetime64((now + CLOCK_TOLERANCE).astimezone(UTC).replace(tzinfo=None), "us")
    return np.where(granting & np.isnat(moments), _UNCLEAR, np.where(granting & future, _FUTURE, kinds))


def deciding_events(groups: Numbers, kinds: Numbers, moments: Instants, event_ids: Sequence[object]) -> Numbers:
    """What `current_consent` picks of many histories at once: the position of one event per group, by group.

    Args:
        groups: which history each event belongs to.
        kinds: what `effective_kinds` made of them.
        moments: when they happened.
        event_ids: their ids.
    """
    if not len(groups):
        return np.zeros(0, dtype=np.intp)
    is_future = kinds == _FUTURE
    dated = np.where(np.isnat(moments), latest64(), moments)
    dated = np.where(is_future, np.datetime64("0001-01-01", "us"), dated)
    ranks = _RANKS[kinds]
    order = np.lexsort((ranks, dated, groups))
    groups, dated, ranks = groups[order], dated[order], ranks[order]
    same_group = groups[1:] == groups[:-1]
    equal = same_group & (dated[1:] == dated[:-1]) & (ranks[1:] == ranks[:-1])
    ends = np.flatnonzero(np.append(~same_group, True))
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.intp)
    winners = order[ends]

    def greatest(start: int, end: int) -> int:
        candidates: list[int] = order[start : end + 1].tolist()
        return max(candidates, key=lambda position: str(event_ids[position]))

    for number in np.flatnonzero(np.append(False, equal)[ends]):
        start = end = int(ends[number])
        while start > starts[number] and equal[start - 1]:
            start -= 1
        winners[number] = greatest(start, end)
    if is_future.any():
        futures = np.add.reduceat(is_future[order].astype(np.intp), starts)  # they are the first of their group
        for number in np.flatnonzero((futures > 0) & _IS_GRANTING[kinds[winners]]):
            winners[number] = greatest(int(starts[number]), int(starts[number] + futures[number] - 1))
    return winners
