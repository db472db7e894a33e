"""Why somebody who was picked isn't in the recipient list."""

from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """Where on the way from the CRM to the list a row was taken out."""

    SELECTION = "selection"
    SNAPSHOT = "snapshot"
    GATE = "gate"
    VENDOR = "vendor"
    SWEEP = "sweep"


class Reason(StrEnum):
    """Why a row was taken out. Every row of a selection ends in the list or under one of these."""

    NO_CONSENT = "no_consent"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    BLOCKLISTED = "blocklisted"
    NO_ADDRESS = "no_address"
    INVALID_ADDRESS = "invalid_address"
    FORBIDDEN_CHARACTERS = "forbidden_characters"
    MISSING_TECHNICAL_FIELD = "missing_technical_field"
    DUPLICATE_ADDRESS = "duplicate_address"
    ALREADY_IN_LIST = "already_in_list"
    FILTERED = "filtered"
    VENDOR_ERROR = "vendor_error"
    SWEPT = "swept"
    SUPPRESSED_MEANWHILE = "suppressed_meanwhile"


ACCEPTED: Final = 0
"""`addAll3`'s answer for a recipient that was stored."""

UNSUBSCRIBED_CODE: Final = 2
"""`addAll3`'s answer for a recipient that has unsubscribed."""

ALREADY_STORED: Final = 5
"""`addAll3`'s answer for a recipient that the list already holds: success when a batch is sent again."""

GENERAL_ERROR: Final = 7
"""`addAll3`'s answer for a failure of the vendor's own; worth another try."""

VENDOR_REASONS: Final[dict[int, Reason]] = {
    1: Reason.INVALID_ADDRESS,
    2: Reason.UNSUBSCRIBED,
    3: Reason.BLOCKLISTED,
    4: Reason.BOUNCED,
    5: Reason.ALREADY_IN_LIST,
    6: Reason.FILTERED,
    7: Reason.VENDOR_ERROR,
}
"""What `addAll3`'s return codes mean for the recipient they stand for (vendor documentation of addAll3)."""

DATA_REASONS: Final = frozenset({Reason.INVALID_ADDRESS, Reason.ALREADY_IN_LIST, Reason.FILTERED, Reason.VENDOR_ERROR})
"""Of those, the reasons that say nothing about whether the person wants to be written to."""
