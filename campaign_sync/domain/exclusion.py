"""Exclusions: who is left out of a list although the CRM picks them for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import pandas as pd

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.suppression import Mask, among, entity_keys


@dataclass(frozen=True)
class Excluded:
    """The records that are excluded from a list, and their addresses."""

    records: frozenset[str] = frozenset()
    """Entity keys."""
    addresses: frozenset[str] = frozenset()
    """Normalized: they apply to other records of the same person."""

    @classmethod
    def of(cls, members: Iterable[tuple[Entity, str | None]]) -> Self:
        """Return the exclusion of records, each with its address as the CRM spells it."""
        records, addresses = set(), set()
        for entity, email in members:
            records.add(str(entity))
            address = usable_address(email) if email else None
            if address:
                addresses.add(address)
        return cls(frozenset(records), frozenset(addresses))

    def among(self, rows: pd.DataFrame, addresses: "pd.Series[str]") -> Mask:
        """Return which rows are excluded.

        Args:
            rows: columns `entity_type` and `entity_id`.
            addresses: the normalized addresses of the rows; missing if a row has none.
        """
        return among(entity_keys(rows), self.records) | among(addresses, self.addresses)


NOT_EXCLUDED: Final = Excluded()
"""The exclusion of no record at all."""
