"""Who wants no e-mail at all: fields of the record, and of its individual."""

from collections.abc import Mapping, Sequence
from typing import Final

from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.domain.entity import EntityType

OPTED_OUT: Final = "HasOptedOutOfEmail"
"""The standard checkbox of contacts and leads: no e-mail at all."""

INDIVIDUAL_OPT_OUTS: Final = ("HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget")
"""Checkboxes of individuals: Don't Market, Don't Process, Forget this Individual."""


def opt_out_paths(schema: Schema, entity_type: EntityType) -> list[str]:
    """Return the checkboxes that end every opt-in; those of individuals where the user can read them."""
    if entity_type is EntityType.ACCOUNT:
        return []
    of_individual = [f"Individual.{name}" for name in INDIVIDUAL_OPT_OUTS]
    return [OPTED_OUT, *(path for path in of_individual if schema.field(OBJECTS[entity_type], path))]


def ticked(row: Mapping[str, str | None], paths: Sequence[str]) -> str | None:
    """Return the first of these checkboxes that is ticked."""
    return next((path for path in paths if row.get(path) == "true"), None)
