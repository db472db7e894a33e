"""Unsubscribes without an effect, because every consent concerned is newer. Many of them indicate differing clocks."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Self

SUSPICIOUS_SHARE: Final = 0.05
"""From this share of a window's unsubscribes on, the clocks should be checked."""


@dataclass(frozen=True)
class OutdatedUnsubscribes:
    """How many unsubscribes had no effect, because every consent concerned is newer."""

    outdated: int
    unsubscribes: int

    @classmethod
    def count(cls, withdrawals: Iterable[tuple[Hashable, Hashable]], withdrawn: Collection[Hashable]) -> Self:
        """Count the unsubscribes without an effect.

        Args:
            withdrawals: what was written to the CRM: pairs of an unsubscribe and a consent that it is about.
            withdrawn: the consents that the CRM shows as withdrawn afterwards.
        """
        counts: defaultdict[Hashable, bool] = defaultdict(bool)
        for unsubscribe, consent in withdrawals:
            counts[unsubscribe] |= consent in withdrawn
        return cls(sum(not effective for effective in counts.values()), len(counts))

    @property
    def suspicious(self) -> bool:
        """Whether clocks or time zones may differ, by the share of outdated unsubscribes."""
        return self.outdated > 0 and self.outdated >= SUSPICIOUS_SHARE * self.unsubscribes
