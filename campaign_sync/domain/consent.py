"""Opt-ins (advertising consents) and the rule that tells whether one is granted now."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

VENDOR_SOURCE = "optimizely:"
"""How the source of a consent event begins that the vendor told of."""

_EMAIL = re.compile(r"e[-_ ]?mail", re.IGNORECASE)


class ConsentKind(StrEnum):
    """What happened to a consent."""

    GRANTED = "granted"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"


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
    """One entry of the CRM's append-only consent history of one entity and one opt-in. `occurred_at` is UTC."""

    event_id: str
    kind: ConsentKind
    occurred_at: datetime
    source: str | None = None
    evidence: str | None = None
    """What proves it."""
    text_version: str | None = None
    """Which wording the person agreed to."""


def current_consent(events: Iterable[ConsentEvent]) -> ConsentEvent | None:
    """The event that decides: the newest; at the same moment a withdrawal beats everything. None without events.

    Among equally old events of one kind the greatest id decides, so that the evidence named is always the same.
    """
    return max(events, key=decisiveness, default=None)


def decisiveness(event: ConsentEvent) -> tuple[datetime, bool, str]:
    """What events of one entity and one opt-in are ordered by: the greatest decides."""
    return event.occurred_at, event.kind is ConsentKind.WITHDRAWN, event.event_id


def is_granted(event: ConsentEvent | None) -> bool:
    """Whether mail may be sent on what `current_consent` found."""
    return event is not None and event.kind is not ConsentKind.WITHDRAWN
