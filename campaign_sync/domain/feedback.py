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

READER_KINDS: Final = {
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
class ReportedConsent:
    """The technical fields of a row as the vendor returned them; the CRM may know neither of the two."""

    opt_in_id: str | None
    entity: Entity | None = None


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
class ConsentRef:
    """Through which consent somebody was written to: the entity that a recipient stood for, and the list's opt-in."""

    entity: Entity
    opt_in_id: str


class Attribution(StrEnum):
    """How it was determined which consents an unsubscribe is about."""

    RECORD = "record"
    OPT_IN = "opt_in"
    MAILING = "mailing"
    SNAPSHOTS = "snapshots"
    MANDATOR = "mandator"

    @classmethod
    def of_names(cls, opt_in_id: str | None, entity: Entity | None) -> "Attribution":
        """Of an unsubscribe by what its row names, and nothing else."""
        return (cls.RECORD if entity else cls.OPT_IN) if opt_in_id else cls.MANDATOR

    @property
    def meaning(self) -> str:
        """In plain words, for a sentence that begins with what was withdrawn."""
        return _ATTRIBUTIONS[self]


_ATTRIBUTIONS: Final = {
    Attribution.RECORD: "attributed by the opt-in id and the record that the feedback row names",
    Attribution.OPT_IN: "attributed by the opt-in id that the feedback row names, and by the address",
    Attribution.MAILING: "attributed by the lists of the mailing that the feedback row names",
    Attribution.SNAPSHOTS: "attributed by the lists that the recipient was in, from the snapshots sent",
    Attribution.MANDATOR: "attributed to every opt-in of the mandator, since nothing says which",
}


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
    consents: frozenset[ConsentRef] = frozenset()
    """Empty where nobody can tell: then it is about every consent of the mandator, or for `opt_ins`."""
    opt_ins: frozenset[str] = field(default=frozenset(), compare=False)
    """Those of the recipient lists that the vendor says were left; empty where it doesn't say."""
    opt_in_id: str | None = None
    """The mandator's opt-in that the feedback row names, as the CRM spells it: then it is about no other."""
    entity: Entity | None = None
    """The CRM's record that the feedback row names beside its opt-in."""
    raw: RawRow | None = field(default=None, compare=False)
    attribution: Attribution = field(default=Attribution.MANDATOR, compare=False)


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


def bounce_precedence(kind: str, occurred_at: datetime) -> tuple[bool, datetime]:
    """Which of two bounces of one address counts: one that is final before a soft one, then the newer."""
    return kind in FINAL_BOUNCES, occurred_at


@lru_cache(maxsize=1000)
def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalpha())


@dataclass(frozen=True, slots=True)
class CrmEntry:
    """An entry in the CRM that stands for a piece of feedback; `new` is False where it was there before.

    A bounce's entry is the address's own; an unsubscribe's is a withdrawal of one consent of one entity.
    """

    feedback: Bounce | Unsubscribe
    new: bool
    entity: Entity | None = None
    opt_in_id: str | None = None
    event_id: str | None = None

    @property
    def attribution(self) -> Attribution | None:
        """How the consent was determined; None for a bounce. Who only shares the address isn't the record named."""
        if isinstance(self.feedback, Bounce):
            return None
        named = self.feedback.attribution
        return Attribution.OPT_IN if named is Attribution.RECORD and self.entity != self.feedback.entity else named
