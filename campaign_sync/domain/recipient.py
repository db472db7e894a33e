"""What one row of a recipient list is made of."""

from enum import StrEnum


class TechnicalField(StrEnum):
    """The five fields that every row carries, so that responses find their way back to the CRM.

    Their meaning is fixed; the name of the list attribute that holds one can differ per list.
    """

    OPT_IN_ID = "opt-in-id"
    DESCRIPTION = "description"
    MEDIA_TYPE = "media-type"
    ENTITY_TYPE = "entity-type"
    ENTITY_ID = "entity-id"


RECIPIENT_ID = "recipient_id"
"""Snapshot column: the vendor's key of a recipient. Always the normalized address, for ever: the vendor's memory
of unsubscribes and bounces hangs on it."""

ADDRESS = "address"
"""Snapshot column: the address mail is sent to."""
