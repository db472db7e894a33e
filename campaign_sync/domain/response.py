"""Responses of recipients to a mailing: opens, clicks and answers."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import ReportedConsent


class ResponseKind(StrEnum):
    """The kinds of responses."""

    OPENS = "opens"
    CLICKS = "clicks"
    RESPONSES = "responses"

    @property
    def detail(self) -> str | None:
        """The column with the detail of a response of this kind, as an attribute of `Layout`; None if it has none."""
        return _DETAILS.get(self)


_DETAILS: Final = {ResponseKind.CLICKS: "link", ResponseKind.RESPONSES: "category"}

RESPONSE_READER_KINDS: Final = {
    "getOpens": ResponseKind.OPENS,
    "getClicks": ResponseKind.CLICKS,
    "getResponses": ResponseKind.RESPONSES,
}
"""The kind of response that each of the vendor's closed-loop operations returns."""


@dataclass(frozen=True)
class Response:
    """A recipient's response to a mailing.

    `detail` is the clicked link or the category of an answer. `entity` and `opt_in_id` are the consent that the
    recipient was mailed on; None if neither the row nor the snapshots identify a single one. `reported` is the consent
    that the row names, even if the CRM doesn't know it.
    """

    kind: ResponseKind
    recipient_id: str
    mailing_id: int
    occurred_at: datetime
    detail: str | None = None
    entity: Entity | None = None
    opt_in_id: str | None = None
    reported: ReportedConsent | None = field(default=None, compare=False)
