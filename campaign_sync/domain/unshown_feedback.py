"""Feedback that the CRM has accepted and hasn't shown yet: a delivery or a copy of it can be older."""

from dataclasses import dataclass
from datetime import datetime

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import BounceKind


@dataclass(frozen=True)
class WrittenWithdrawal:
    """A withdrawal that the CRM has accepted."""

    event_id: str
    entity: Entity
    opt_in_id: str
    """As the CRM spells it."""
    occurred_at: datetime
    source: str
    evidence: str
    address_pseudonym: str | None = None
    """The address of the record when it was written."""


@dataclass(frozen=True)
class WrittenBounce:
    """A bounce that the CRM has accepted."""

    address_pseudonym: str
    kind: BounceKind
    occurred_at: datetime
    mandator: str
    source: str
