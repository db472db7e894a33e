"""Bounces and unsubscribes, as the vendor returns them and as the CRM stores them."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from campaign_sync.domain.entity import Entity


class FeedbackKind(StrEnum):
    """The two kinds of feedback that must be in the CRM before recipients are selected."""

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
"""The kind of feedback that each of the vendor's closed-loop operations returns."""


class BounceKind(StrEnum):
    """The kinds of bounces."""

    HARD = "hard"
    SOFT = "soft"
    LIMIT = "limit"
    """The address has bounced more often than the vendor allows, hard or soft."""


FINAL_BOUNCES: Final = frozenset({BounceKind.HARD, BounceKind.LIMIT})
"""The kinds of bounces that keep an address out of all lists."""

_CATEGORIES: Final = {"hard": BounceKind.HARD, "soft": BounceKind.SOFT}
_NO_BOUNCES: Final = frozenset({"autoresponder", "unknown"})


@dataclass(frozen=True, slots=True)
class RawRow:
    """The import and the row of its file (from 0) that a bounce or unsubscribe was read from."""

    import_id: str
    position: int


@dataclass(frozen=True, slots=True)
class ReportedConsent:
    """The consent that a row names in its technical fields. The CRM may know neither the opt-in nor the record."""

    opt_in_id: str | None
    entity: Entity | None = None


@dataclass(frozen=True, slots=True)
class Bounce:
    """An address that doesn't accept mail. It applies to the address in all mandators.

    If `dated` is False, `occurred_at` is when the bounce was seen, not when it happened. Such a bounce is no news about
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
    """A consent that a recipient was mailed on: the recipient's entity and the opt-in of the list."""

    entity: Entity
    opt_in_id: str


class Attribution(StrEnum):
    """How the consents that an unsubscribe is about were determined."""

    RECORD = "record"
    OPT_IN = "opt_in"
    MAILING = "mailing"
    SNAPSHOTS = "snapshots"
    MANDATOR = "mandator"

    @classmethod
    def from_row(cls, opt_in_id: str | None, entity: Entity | None) -> "Attribution":
        """Return the attribution of an unsubscribe whose row names this opt-in and record."""
        return (cls.RECORD if entity else cls.OPT_IN) if opt_in_id else cls.MANDATOR

    @property
    def meaning(self) -> str:
        """The attribution in words, to follow what was withdrawn."""
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
    """An unsubscribe from a mandator. It applies to the consents that the recipient was mailed on.

    If `dated` is False, `occurred_at` is when the unsubscribe was seen, not when it happened.
    """

    address: str
    occurred_at: datetime
    mandator: str
    source: str
    dated: bool = True
    consents: frozenset[ConsentRef] = frozenset()
    """Empty if they are unknown: then it is about every consent of the mandator, or those for `opt_ins`."""
    opt_ins: frozenset[str] = field(default=frozenset(), compare=False)
    """The opt-ins of the recipient lists that were left according to the vendor; empty if it names none."""
    opt_in_id: str | None = None
    """The only opt-in concerned, if the feedback row names one; in the CRM's spelling."""
    entity: Entity | None = None
    """The CRM record that the feedback row names in addition to the opt-in."""
    raw: RawRow | None = field(default=None, compare=False)
    attribution: Attribution = field(default=Attribution.MANDATOR, compare=False)


def bounce_kind(reader: str, category: str | None, no_bounces: Collection[str] = ()) -> BounceKind | None:
    """Return the kind of bounce that a row of a bounce reader is; None for a reply that is no bounce.

    `getOutBounces` lists recipients over the vendor's limit. `getResponses` lists single replies with a category:
    `hardbounce`, `softbounce`, `autoresponder`, `unknown`, and what the customer defines (vendor documentation of
    ResponseWebservice).

    Args:
        reader: `getOutBounces` or `getResponses`.
        category: of the row, in any spelling.
        no_bounces: further categories that are no bounces.

    Raises:
        ValueError: the category isn't known, so it might be a bounce.
    """
    word = _letters(category or "").replace("bounces", "").replace("bounce", "")
    if reader == OUT_BOUNCES:
        return BounceKind.HARD if word == "hard" else BounceKind.LIMIT
    if word in _NO_BOUNCES or _letters(category or "") in {_letters(other) for other in no_bounces}:
        return None
    if word not in _CATEGORIES:
        raise ValueError("a category that isn't known")
    return _CATEGORIES[word]


def bounce_precedence(kind: str, occurred_at: datetime) -> tuple[bool, datetime]:
    """Return the sort key among bounces of one address: final before soft, then newer; the greatest counts."""
    return kind in FINAL_BOUNCES, occurred_at


@lru_cache(maxsize=1000)
def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalpha())


@dataclass(frozen=True, slots=True)
class CrmEntry:
    """The CRM's entry for a bounce or unsubscribe; `new` is False if it existed before.

    The entry for a bounce belongs to the address; the one for an unsubscribe is a withdrawal of one consent.
    """

    feedback: Bounce | Unsubscribe
    new: bool
    entity: Entity | None = None
    opt_in_id: str | None = None
    event_id: str | None = None

    @property
    def attribution(self) -> Attribution | None:
        """How the consent was determined; None for a bounce. `RECORD` is only for the record that the row named."""
        if isinstance(self.feedback, Bounce):
            return None
        attribution, is_named = self.feedback.attribution, self.entity == self.feedback.entity
        return Attribution.OPT_IN if attribution is Attribution.RECORD and not is_named else attribution
