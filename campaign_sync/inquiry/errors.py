"""Questions that have no answer.

InquiryError
├── InvalidPersonError     what was asked for is neither an address nor a record
├── UnknownPersonError     no source has the person
├── FutureDayError         the day isn't over and hasn't begun
└── NothingToCompareError  a list doesn't have the two proofs
"""

from campaign_sync.errors import CampaignSyncError


class InquiryError(CampaignSyncError):
    """A question has no answer. The message says why, and how to ask; it repeats no address."""


class InvalidPersonError(InquiryError):
    """The text names neither an e-mail address nor a record of the CRM."""


class UnknownPersonError(InquiryError):
    """Neither the CRM nor any snapshot that was searched has the person."""


class FutureDayError(InquiryError):
    """The day lies in the future."""


class NothingToCompareError(InquiryError):
    """There aren't two different proofs of the list on the days asked for."""
