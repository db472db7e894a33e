"""What recipients did with a mailing: they opened it, clicked in it, answered it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import ReportedConsent


class ResponseKind(StrEnum):
    """The streams that tell of it."""

    OPENS = "opens"
    CLICKS = "clicks"
    RESPONSES = "responses"

    @property
    def detail(self) -> str | None:
        """What a row of this kind says beside who, when and about which mailing; None where it says no more."""
        return _DETAILS.get(self)


_DETAILS: Final = {ResponseKind.CLICKS: "link", ResponseKind.RESPONSES: "category"}

RESPONSE_READER_KINDS: Final = {
    "getOpens": ResponseKind.OPENS,
    "getClicks": ResponseKind.CLICKS,
    "getResponses": ResponseKind.RESPONSES,
}
"""The vendor's closed-loop operations that tell of it."""


@dataclass(frozen=True)
class Response:
    """One recipient did something with one mailing.

    `detail` is the clicked link or the category of an answer. `entity` and `opt_in_id` tell through which consent the
    recipient was written to; None where neither the row nor our snapshots tell, or these tell several. `named` is what
    the row says of it, whether the CRM knows it or not.
    """

    kind: ResponseKind
    recipient_id: str
    mailing_id: int
    occurred_at: datetime
    detail: str | None = None
    entity: Entity | None = None
    opt_in_id: str | None = None
    reported: ReportedConsent | None = field(default=None, compare=False)
