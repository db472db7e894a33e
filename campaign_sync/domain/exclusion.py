"""Exclusions: who is left out of a list although the CRM picks them for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import pandas as pd

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.message import Message
from campaign_sync.domain.suppression import Mask, among, entity_keys


@dataclass(frozen=True)
class Excluded:
    """The records that are excluded from a list, and their addresses."""

    records: frozenset[str] = frozenset()
    """Entity keys."""
    addresses: frozenset[str] = frozenset()
    """Normalized: they apply to other records of the same person."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many records each exclusion has, by its place in the configuration."""

    @classmethod
    def of(cls, exclusions: Mapping[str, Iterable[tuple[Entity, str | None]]]) -> Self:
        """Return the exclusion of records, each with its address as the CRM spells it, by place."""
        records, addresses, counts = set(), set(), {}
        for place, members in exclusions.items():
            counts[place] = 0
            for entity, email in members:
                counts[place] += 1
                records.add(str(entity))
                address = usable_address(email) if email else None
                if address:
                    addresses.add(address)
        return cls(frozenset(records), frozenset(addresses), counts)

    def among(self, rows: pd.DataFrame, addresses: "pd.Series[str]") -> Mask:
        """Return which rows are excluded.

        Args:
            rows: columns `entity_type` and `entity_id`.
            addresses: the normalized addresses of the rows; missing if a row has none.
        """
        return among(entity_keys(rows), self.records) | among(addresses, self.addresses)


NOT_EXCLUDED: Final = Excluded()
"""The exclusion of no record at all."""


def check_exclusions(counts: Mapping[str, int]) -> CheckOutcome:
    """Check that every exclusion has records. Otherwise a warning: it may be a mistake in what it names.

    Args:
        counts: how many records each has, by its place in the configuration.
    """
    empty = [place for place, count in counts.items() if not count]
    if not empty:
        return CheckOutcome("exclusions", True, Message("all {count} exclusions have records", count=len(counts)))
    summary = Message(
        "{exclusions}: no record is in it, so it excludes none; correct it, or who is in it in the CRM",
        exclusions=", ".join(empty),
    )
    return CheckOutcome("exclusions", False, summary, warning=True)
