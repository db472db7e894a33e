"""What the vendor tells us about people who can't or don't want to be written to."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from campaign_sync.domain.entity import Entity


class FeedbackKind(StrEnum):
    """The two streams that must be in the CRM before anybody is selected."""

    BOUNCES = "bounces"
    UNSUBSCRIBES = "unsubscribes"


OUT_BOUNCES: Final = "getOutBounces"
RESPONSES: Final = "getResponses"
MAILING_UNSUBSCRIBES: Final = "getMailingUnsubscribes"

KIND_OF_READER: Final = {
    OUT_BOUNCES: FeedbackKind.BOUNCES,
    RESPONSES: FeedbackKind.BOUNCES,
    "getUnsubscribes": FeedbackKind.UNSUBSCRIBES,
    MAILING_UNSUBSCRIBES: FeedbackKind.UNSUBSCRIBES,
}
"""The vendor's closed-loop operations that tell of people who left or can't be reached, and which of the two it is."""


class BounceKind(StrEnum):
    """How final a bounce is."""

    HARD = "hard"
    SOFT = "soft"
    LIMIT = "limit"
    """The address has bounced more often than the vendor puts up with, hard or soft."""


FINAL_BOUNCES: Final = frozenset({BounceKind.HARD, BounceKind.LIMIT})
"""The bounces that keep an address out of every list."""

_CATEGORIES: Final = {"hard": BounceKind.HARD, "soft": BounceKind.SOFT}
_NO_BOUNCES: Final = frozenset({"autoresponder", "unknown"})


@dataclass(frozen=True, slots=True)
class RawRow:
    """Where a piece of feedback was read: which import, and which row of its file (from 0)."""

    import_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Bounce:
    """An address that doesn't take mail. It belongs to the address, in every mandator.

    `dated` tells whether `occurred_at` is when it bounced, or only when we heard of it: then it says nothing new about
    an address that is known to have bounced.
    """

    address: str
    occurred_at: datetime
    mandator: str
    source: str
    kind: BounceKind = BounceKind.HARD
    dated: bool = True
    raw: RawRow | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class WrittenTo:
    """Through which consent somebody was written to: the entity that a recipient stood for, and the list's opt-in."""

    entity: Entity
    opt_in_id: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Somebody left. It belongs to the consents through which they were written to in one mandator.

    `dated` tells whether `occurred_at` is when they left, or only when somebody saw that they had.
    """

    address: str
    occurred_at: datetime
    mandator: str
    source: str
    dated: bool = True
    through: frozenset[WrittenTo] = frozenset()
    """Empty where nobody can tell: then it is about every consent of the mandator, or for `opt_ins`."""
    opt_ins: frozenset[str] = field(default=frozenset(), compare=False)
    """Those of the recipient lists that the vendor says were left; empty where it doesn't say."""
    raw: RawRow | None = field(default=None, compare=False)


def bounce_kind(reader: str, category: str | None, no_bounces: Collection[str] = ()) -> BounceKind | None:
    """What a bounce reader's row means; None for a reply that is no bounce.

    `getOutBounces` lists recipients over the vendor's limit. `getResponses` tells single replies by category:
    `hardbounce`, `softbounce`, `autoresponder`, `unknown`, and what the customer defines (vendor documentation of
    ResponseWebservice).

    Args:
        reader: `getOutBounces` or `getResponses`.
        category: as the row has it, in any spelling.
        no_bounces: further categories that are no bounces.

    Raises:
        ValueError: nobody knows the category, so it might be a bounce.
    """
    word = _letters(category or "").replace("bounces", "").replace("bounce", "")
    if reader == OUT_BOUNCES:
        return BounceKind.HARD if word == "hard" else BounceKind.LIMIT
    if word in _NO_BOUNCES or _letters(category or "") in {_letters(each) for each in no_bounces}:
        return None
    if word not in _CATEGORIES:
        raise ValueError("a category that isn't known")
    return _CATEGORIES[word]


def bounce_weight(kind: str, occurred_at: datetime) -> tuple[bool, datetime]:
    """Which of two bounces of one address counts: one that is final before a soft one, then the newer."""
    return kind in FINAL_BOUNCES, occurred_at


@lru_cache(maxsize=1000)
def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalpha())


@dataclass(frozen=True, slots=True)
class Written:
    """An entry in the CRM that stands for a piece of feedback; `new` is False where it was there before.

    A bounce's entry is the address's own; an unsubscribe's is a withdrawal of one consent of one entity.
    """

    feedback: Bounce | Unsubscribe
    new: bool
    entity: Entity | None = None
    opt_in_id: str | None = None
    event_id: str | None = None
