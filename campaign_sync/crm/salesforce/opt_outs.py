"""Who wants no e-mail at all: fields of the record, and of its individual."""

from collections.abc import Mapping, Sequence
from typing import Final

from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.domain.entity import EntityType

OPTED_OUT: Final = "HasOptedOutOfEmail"
"""The standard checkbox of contacts and leads: no e-mail at all."""

INDIVIDUAL_OPT_OUTS: Final = ("HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget")
"""Checkboxes of individuals: Don't Market, Don't Process, Forget this Individual."""


def individual_opt_outs(schema: Schema) -> list[str]:
    """Return the checkboxes of individuals that the user can read, and by whose individual contacts can be found."""
    people = [OBJECTS[entity_type] for entity_type in (EntityType.CONTACT, EntityType.LEAD)]
    return [
        name for name in INDIVIDUAL_OPT_OUTS if any(schema.field(person, f"Individual.{name}") for person in people)
    ]


def ticked(row: Mapping[str, str | None], paths: Sequence[str]) -> str | None:
    """Return the first of these checkboxes that is ticked."""
    return next((path for path in paths if row.get(path) == "true"), None)


def opt_out_of(row: Mapping[str, str | None], of_individual: str | None) -> str | None:
    """Return the checkbox by which a record opted out of all e-mail; its individual's is given."""
    if row.get(OPTED_OUT) == "true":
        return OPTED_OUT
    return of_individual and f"Individual.{of_individual}"
