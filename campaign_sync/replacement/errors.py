"""How a replacement can end otherwise than in a proof."""

from collections.abc import Sequence

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message
from campaign_sync.errors import CampaignSyncError


class ReplacementRefusedError(CampaignSyncError):
    """The replacement isn't admitted. Nothing was changed; the message says what is wrong and what helps.

    Attributes:
        outcomes: those of the preflight checks that were made.
        retryable: whether the same replacement may be admitted later.
    """

    def __init__(self, message: str, outcomes: Sequence[CheckOutcome] = (), *, retryable: bool = False) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)
        self.retryable = retryable


def not_touched(of_list: str, reasons: str) -> Message:
    """Return the message of a refused replacement of a list."""
    return Message("{list} was not touched. {reasons}", list=of_list, reasons=reasons)


class IncompleteListError(CampaignSyncError):
    """The vendor's list isn't what it should be. The message says since when, and why.

    Attributes:
        outcomes: those of the preflight checks that were made.
        retryable: whether the same replacement, begun again, may well succeed.
    """

    def __init__(self, message: str, *, retryable: bool, outcomes: Sequence[CheckOutcome] = ()) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.outcomes = tuple(outcomes)


class ApprovalError(CampaignSyncError):
    """A plan can't be approved, or nothing would come of it. The message says why, and what to do."""


class UnprovenError(CampaignSyncError):
    """A list, read back, isn't what was put into it."""

    retryable = True


class NotClearedError(UnprovenError):
    """The vendor says that it has cleared a list, and it isn't empty."""

    outcome_unknown = False
