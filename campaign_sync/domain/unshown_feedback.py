"""Feedback that the CRM has accepted and hasn't shown yet: a delivery or a copy of it can be older."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import BounceKind

TIME_TO_SHOW: Final = timedelta(days=3)
"""A CRM that doesn't show a withdrawal for longer has lost it, or was changed since: a person has to decide."""


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
