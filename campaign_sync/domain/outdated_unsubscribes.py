"""Unsubscribes that are older than a consent given since, and change nothing. Many of them show clocks that differ."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Self

SUSPICIOUS_SHARE: Final = 0.05
"""From this share of a window's unsubscribes on, it is worth looking at the clocks."""


@dataclass(frozen=True)
class OutdatedUnsubscribes:
    """How many of some unsubscribes have changed nothing, because every consent they are about is newer."""

    outdated: int
    unsubscribes: int

    @classmethod
    def count(cls, withdrawals: Iterable[tuple[Hashable, Hashable]], withdrawn: Collection[Hashable]) -> Self:
        """Count them.

        Args:
            withdrawals: what was written to the CRM: each unsubscribe with one consent that it is about.
            withdrawn: the consents that the CRM shows as withdrawn afterwards.
        """
        counts: defaultdict[Hashable, bool] = defaultdict(bool)
        for unsubscribe, consent in withdrawals:
            counts[unsubscribe] |= consent in withdrawn
        return cls(sum(not effective for effective in counts.values()), len(counts))

    @property
    def suspicious(self) -> bool:
        """Whether so many are outdated that clocks or time zones may differ."""
        return self.outdated > 0 and self.outdated >= SUSPICIOUS_SHARE * self.unsubscribes
