"""Opt-ins (advertising consents), consent events, and the rule by which the newest event decides."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from campaign_sync.domain.instant import CLOCK_TOLERANCE, LATEST

VENDOR_SOURCE_PREFIX = "optimizely:"
"""Prefix of the source of consent events that come from the vendor."""

Settings = TypeVar("Settings")

_EMAIL = re.compile(r"e[-_ ]?mail", re.IGNORECASE)


class ConsentKind(StrEnum):
    """What a consent event says about the consent, as far as it is understood."""

    GRANTED = "granted"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    FUTURE = "granted in the future"
    """A grant with a future time: a typing error, or the day until which it is valid. It grants nothing."""
    UNCLEAR = "not understood"
    """An event of an undeclared kind, or a grant without a time. It may be a withdrawal, and grants nothing."""


GRANTING: Final = frozenset({ConsentKind.GRANTED, ConsentKind.CONFIRMED})
"""The only kinds that permit mail."""

STANDARD_WORDS: Final = GRANTING | {ConsentKind.WITHDRAWN}
"""Kinds that are understood in every CRM."""

UNDATED: Final = LATEST
"""In place of an unknown time: no consent given so far is newer."""


@dataclass(frozen=True)
class OptIn:
    """An advertising consent that people can give, as the CRM defines it."""

    opt_in_id: str
    mandator: str
    description: str
    media_type: str


def is_email(media_type: str) -> bool:
    """Return whether a media type is e-mail, in any usual spelling: `email`, `e-mail`, `E-Mail`, `EMAIL`.

    Nothing else can be sent: recipients have e-mail addresses, and a session keeps the vendor's default media type
    EMAIL (vendor documentation of setMediaType).
    """
    return _EMAIL.fullmatch(media_type.strip()) is not None


@dataclass(frozen=True)
class ConsentEvent:
    """An entry of the CRM's append-only consent history of one entity and one opt-in."""

    event_id: str
    kind: ConsentKind
    occurred_at: datetime
    """UTC; `UNDATED` if the CRM has no time."""
    source: str | None = None
    evidence: str | None = None
    """The proof of the event."""
    text_version: str | None = None
    """The version of the text that the person agreed to."""


def normalize_word(raw: object) -> str:
    """Return a kind, entity type or opt-in id as compared: composed (NFC), without outer blanks, case-folded.

    Values other than text become an empty text.
    """
    if not isinstance(raw, str):
        return ""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", raw).strip().casefold())


def named_opt_ins(opt_ins: Mapping[str, Settings], opt_in_ids: Collection[str] | None) -> dict[str, Settings]:
    """Return those of the opt-ins that are named, however their ids are spelled.

    Args:
        opt_ins: the settings of all, by their ids.
        opt_in_ids: the ids of those that are named; None for all.
    """
    named = None if opt_in_ids is None else set(map(normalize_word, opt_in_ids))
    return {key: opt_in for key, opt_in in opt_ins.items() if named is None or normalize_word(key) in named}


@dataclass(frozen=True)
class ConsentWords:
    """A CRM's words for kinds of consent events besides `STANDARD_WORDS`, as `normalize_word` returns them."""

    granted: frozenset[str] = field(default_factory=frozenset)
    withdrawn: frozenset[str] = field(default_factory=frozenset)
    ignored: frozenset[str] = field(default_factory=frozenset)
    """Words that say nothing about a consent, such as a double opt-in that isn't confirmed yet."""

    def kind_of(self, raw: object) -> ConsentKind | None:
        """Return the kind that a word of the CRM means; None if the word is ignored."""
        word = normalize_word(raw)
        if word in STANDARD_WORDS:
            return ConsentKind(word)
        if word in self.ignored:
            return None
        declared = {ConsentKind.GRANTED: self.granted, ConsentKind.WITHDRAWN: self.withdrawn}
        return next((kind for kind, words in declared.items() if word in words), ConsentKind.UNCLEAR)


STANDARD_WORDS_ONLY: Final = ConsentWords()
"""The words of a CRM that uses `STANDARD_WORDS` only."""


@dataclass(frozen=True)
class ConsentEventCounts:
    """How many consent events were read that concern one opt-in, or may do so."""

    rows: int
    cleaned: int = 0
    """How many of them are understood only without regard to blanks and case."""
    unclear: Mapping[str, int] = field(default_factory=dict)
    """How many of them aren't understood, by the column of the value."""
    words: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How often each value occurs in these columns, by column and value."""


NO_CONSENT_EVENTS: Final = ConsentEventCounts(0)


def effective_kind(kind: ConsentKind, occurred_at: datetime | None, now: datetime) -> ConsentKind:
    """Return the kind of an event in view of its time: a withdrawal needs none, a grant needs one in the past."""
    if kind not in GRANTING:
        return kind
    if occurred_at is None:
        return ConsentKind.UNCLEAR
    return ConsentKind.FUTURE if occurred_at > now + CLOCK_TOLERANCE else kind


def current_consent(events: Iterable[ConsentEvent]) -> ConsentEvent | None:
    """Return the event that decides: the newest, and of events at the same moment a withdrawal. None without events.

    Of events of the same kind and moment the one with the greatest id decides, so that the evidence is always the same.
    A grant in the future decides only if a grant would decide without it, or no event: so a withdrawal remains one.
    """
    ordered = sorted(events, key=precedence_key)
    newest = ordered[-1] if ordered else None
    if newest is None or newest.kind not in GRANTING:
        return newest
    future = [event for event in ordered if event.kind is ConsentKind.FUTURE]
    return future[-1] if future else newest


PRECEDENCE: Final = {ConsentKind.FUTURE: -1, ConsentKind.UNCLEAR: 1, ConsentKind.WITHDRAWN: 2}
"""Precedence among events of the same moment; 0 for all other kinds."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


def precedence_key(event: ConsentEvent) -> tuple[datetime, int, str]:
    """Return the sort key of an event among those of its entity and opt-in: the greatest decides."""
    occurred_at = _EARLIEST if event.kind is ConsentKind.FUTURE else event.occurred_at
    return occurred_at, PRECEDENCE.get(event.kind, 0), event.event_id
