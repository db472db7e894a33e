"""Who is excluded from a list, as the CRM says."""

from collections.abc import Iterator, Mapping

from campaign_sync.crm.port import CrmError, CrmSnapshot, Pick
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.exclusion import Excluded


def read_excluded(crm: CrmSnapshot, exclusions: Mapping[str, Pick]) -> Excluded:
    """Return everybody in these exclusions, which are given by their places in the configuration.

    Raises:
        CrmError: an exclusion can't be read completely; the message begins with its place.
    """
    return Excluded.of({place: _members(crm, place, pick) for place, pick in exclusions.items()})


def _members(crm: CrmSnapshot, place: str, pick: Pick) -> Iterator[tuple[Entity, str | None]]:
    try:
        for chunk in crm.members(pick):
            yield from chunk
    except CrmError as error:
        raise type(error)(f"{place}: {error}") from None
