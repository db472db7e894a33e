"""Rejections: the reasons why selected people aren't in the recipient list."""

from enum import StrEnum
from typing import Final

from campaign_sync.domain.message import Message


class Stage(StrEnum):
    """The step between the CRM and the list at which a row was rejected."""

    SELECTION = "selection"
    SNAPSHOT = "snapshot"
    GATE = "gate"
    VENDOR = "vendor"
    SWEEP = "sweep"


class Reason(StrEnum):
    """Why a row was rejected. Every row of a selection is in the list or has one of these reasons."""

    NO_CONSENT = "no_consent"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    CONSENT_UNCLEAR = "consent_unclear"
    CONSENT_IN_FUTURE = "consent_in_future"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    BLOCKLISTED = "blocklisted"
    EXCLUDED = "excluded"
    UNKNOWN_ENTITY_TYPE = "unknown_entity_type"
    NO_ADDRESS = "no_address"
    INVALID_ADDRESS = "invalid_address"
    FORBIDDEN_CHARACTERS = "forbidden_characters"
    NOT_UTF8 = "not_utf8"
    MISSING_TECHNICAL_FIELD = "missing_technical_field"
    DUPLICATE_ADDRESS = "duplicate_address"
    ALREADY_IN_LIST = "already_in_list"
    FILTERED = "filtered"
    VENDOR_ERROR = "vendor_error"
    SWEPT = "swept"
    SUPPRESSED_MEANWHILE = "suppressed_meanwhile"
    ON_UNSUBSCRIBE_LIST = "on_unsubscribe_list"
    """The vendor sends them no mail of this mandator, whichever opt-in they unsubscribed from."""
    ERASED = "erased"
    """The person was erased, and the record names no consent that is newer. Its rejection names the keyed hash."""
    WITHDRAWAL_VANISHED = "withdrawal_vanished"
    UNDATED_REGRANT = "undated_regrant"
    GONE_FROM_CRM = "gone_from_crm"
    ADDRESS_CHANGED = "address_changed"


ACCEPTED: Final = 0
"""`addAll3`'s answer for a recipient that was stored."""

UNSUBSCRIBED_CODE: Final = 2
"""`addAll3`'s answer for a recipient that has unsubscribed."""

ALREADY_STORED: Final = 5
"""`addAll3`'s answer for a recipient that the list already holds: success when a batch is sent again."""

GENERAL_ERROR: Final = 7
"""`addAll3`'s answer for an error of the vendor; a retry can help."""

VENDOR_REASONS: Final[dict[int, Reason]] = {
    1: Reason.INVALID_ADDRESS,
    2: Reason.UNSUBSCRIBED,
    3: Reason.BLOCKLISTED,
    4: Reason.BOUNCED,
    5: Reason.ALREADY_IN_LIST,
    6: Reason.FILTERED,
    7: Reason.VENDOR_ERROR,
}
"""Reasons by `addAll3`'s return codes (vendor documentation of addAll3)."""

DATA_REASONS: Final = frozenset({Reason.INVALID_ADDRESS, Reason.ALREADY_IN_LIST, Reason.FILTERED, Reason.VENDOR_ERROR})
"""The reasons among these that say nothing about the person's consent."""

_MEANINGS: Final[dict[Reason, Message]] = {
    Reason.NO_CONSENT: Message("no granted consent for this list's opt-in"),
    Reason.CONSENT_WITHDRAWN: Message("withdrew the consent, or a person with the same address did"),
    Reason.CONSENT_UNCLEAR: Message(
        "the CRM has a consent event that can't be understood, about them or a person with the same address"
    ),
    Reason.CONSENT_IN_FUTURE: Message("a consent in the CRM is dated in the future, and grants nothing"),
    Reason.BOUNCED: Message("the address doesn't take mail: it bounced"),
    Reason.UNSUBSCRIBED: Message("unsubscribed from this mandator's mail"),
    Reason.BLOCKLISTED: Message("the address is on the vendor's blocklist"),
    Reason.EXCLUDED: Message("excluded from the list, or a person with the same address is"),
    Reason.UNKNOWN_ENTITY_TYPE: Message("a member of the list that is neither contact, lead nor account"),
    Reason.NO_ADDRESS: Message("no address in the CRM"),
    Reason.INVALID_ADDRESS: Message("the address isn't one that mail can be sent to"),
    Reason.FORBIDDEN_CHARACTERS: Message("a text has characters that can't be sent"),
    Reason.NOT_UTF8: Message("a text isn't UTF-8 in the CRM"),
    Reason.MISSING_TECHNICAL_FIELD: Message("a technical field is empty"),
    Reason.DUPLICATE_ADDRESS: Message("another record with the same address was chosen"),
    Reason.ALREADY_IN_LIST: Message("the vendor says that the list has this recipient already"),
    Reason.FILTERED: Message("a filter at the vendor refused the row"),
    Reason.VENDOR_ERROR: Message("the vendor failed on the row"),
    Reason.SWEPT: Message("the vendor took the row out again: bounced, unsubscribed or on its blocklist"),
    Reason.SUPPRESSED_MEANWHILE: Message("bounced, unsubscribed or withdrew between snapshot and sending"),
    Reason.ON_UNSUBSCRIBE_LIST: Message(
        "on the vendor's unsubscribe list, which keeps them out of all of the mandator's lists; that alone doesn't "
        "withdraw the consent for this list"
    ),
    Reason.ERASED: Message("erased on request, and has given no consent since"),
    Reason.WITHDRAWAL_VANISHED: Message(
        "withdrew the consent, and the CRM has lost that withdrawal without a newer consent"
    ),
    Reason.UNDATED_REGRANT: Message(
        "withdrew the consent, and the CRM shows it as granted again without a newer date; it counts once that is "
        "accepted"
    ),
    Reason.GONE_FROM_CRM: Message("the CRM doesn't have this record any more"),
    Reason.ADDRESS_CHANGED: Message("the CRM has another address for this record by now, or none"),
}


def describe_reason(reason: str) -> str:
    """Return a reason as a phrase. An unknown one, of a newer version, is returned with blanks for underscores."""
    known = reason in list(Reason)
    return _MEANINGS[Reason(reason)] if known else reason.replace("_", " ")
