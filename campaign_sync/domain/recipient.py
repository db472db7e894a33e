"""Technical fields and key columns of a recipient."""

from enum import StrEnum


class TechnicalField(StrEnum):
    """The five fields of every recipient that attribute responses to the CRM's records.

    Their meaning is fixed; the name of the list attribute for a field can differ between lists.
    """

    OPT_IN_ID = "opt-in-id"
    DESCRIPTION = "description"
    MEDIA_TYPE = "media-type"
    ENTITY_TYPE = "entity-type"
    ENTITY_ID = "entity-id"


RECIPIENT_ID = "recipient_id"
"""Snapshot column: the vendor's key of a recipient. It must always be the normalized address, by which the vendor
remembers unsubscribes and bounces."""

ADDRESS = "address"
"""Snapshot column: the address that mail is sent to."""

READ_ONLY_ATTRIBUTES = frozenset(
    name.casefold()
    for name in (
        *("Erstellt am", "Geändert am", "Opt-in-Quelle", "Opt-in-Datum"),
        *("Created", "Created on", "Modified", "Modified on", "Opt-in source", "Opt-in date", "bmOptinFinishedDate"),
    )
)
"""System attributes of every list, which only the vendor may write (observed in German; English and REST names)."""
