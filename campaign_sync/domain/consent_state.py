"""Consents as CRMs keep them: a state of a record or an address, with a date of its own or without."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from campaign_sync.domain.consent import ConsentKind

UNDATED_GRANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of a grant for which the CRM has none: it is older than every withdrawal."""

ADDRESS_PREFIX: Final = "address:"


@dataclass(frozen=True, slots=True)
class ConsentState:
    """What the CRM shows now about one consent of one record or address."""

    subject: str
    """`entity_type:entity_id`, or `ADDRESS_PREFIX` and the normalized address."""
    kind: ConsentKind | None
    """`GRANTED`, `CONFIRMED`, `WITHDRAWN` or `UNCLEAR`; None where the CRM says neither, such as an unticked box."""
    stated_at: datetime | None
    """The consent's own date, UTC. Never the time of the last edit of the record, which moves for other reasons."""
    source: str | None = None
    evidence: str | None = None
    text_version: str | None = None


@dataclass(frozen=True, slots=True)
class StateEvent:
    """The consent event that a state means."""

    subject: str
    event_id: str
    kind: ConsentKind
    occurred_at: datetime | None
    """The state's own date; else when a withdrawal was first observed, when a renewed grant was accepted, or
    `UNDATED_GRANT`. None only for an unclear state without a date."""
    source: str | None
    evidence: str | None
    """With what was observed and when, where the CRM has no date."""
    text_version: str | None
