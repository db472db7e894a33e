"""The order in which a run replaces the lists of a mandator: each completely before the next, urgent ones first."""

from collections.abc import Mapping
from dataclasses import dataclass

from campaign_sync.domain.asset_names import LIST_CHAIN, AssetKind

_PRIORITY = "dagster/priority"
"""Dagster's tag of a step: of those that can begin, the one with the highest number does."""


@dataclass(frozen=True)
class Turn:
    """When it is a list's turn: the list with the highest one comes first."""

    number: int

    def op_tags(self, kind: AssetKind) -> dict[str, str]:
        """Return the tags of a step of the list: once it has begun, its next step comes before those of other lists."""
        return {_PRIORITY: str(self.number * len(LIST_CHAIN) + LIST_CHAIN.index(kind))}


def turns_of(priorities: Mapping[str, int]) -> dict[str, Turn]:
    """Return the turn of each list by its key: the highest priority first, then in their order.

    Args:
        priorities: that of each list of a mandator, in the order of the configuration.
    """
    in_order = sorted(priorities, key=lambda name: -priorities[name])
    return {name: Turn(len(in_order) - position) for position, name in enumerate(in_order)}
