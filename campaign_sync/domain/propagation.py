"""How long it takes from somebody's opt-out until no list has them any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

GOAL = timedelta(hours=24)
"""How long an opt-out should take at most."""


@dataclass(frozen=True)
class OptOut:
    """When somebody left, and when the CRM knew."""

    occurred_at: datetime
    written_at: datetime


@dataclass(frozen=True)
class ReplacementTimes:
    """When a list's rows were frozen, and when it was proven to hold them."""

    frozen_at: datetime
    proven_at: datetime


@dataclass(frozen=True)
class Delays:
    """The spread of some delays."""

    count: int
    median: timedelta
    p95: timedelta
    longest: timedelta

    @classmethod
    def summarize(cls, delays: Sequence[timedelta]) -> "Delays | None":
        """None where there are none. Percentiles are of the nearest rank."""
        ordered = sorted(delays)
        if not ordered:
            return None

        def rank(share: float) -> timedelta:
            return ordered[max(0, ceil(share * len(ordered)) - 1)]

        return cls(len(ordered), rank(0.5), rank(0.95), ordered[-1])


def delays_to_crm(opt_outs: Sequence[OptOut]) -> list[timedelta]:
    """From each opt-out to its entry in the CRM."""
    return [one.written_at - one.occurred_at for one in opt_outs]


def delays_to_removal(
    opt_outs: Sequence[OptOut], proofs: Mapping[str, Sequence[ReplacementTimes]], now: datetime
) -> list[timedelta]:
    """From each opt-out to the moment when every list had been replaced by rows selected after the CRM knew.

    One that some list still waits for counts up to now: it has taken at least so long.

    Args:
        opt_outs: what is measured.
        proofs: of each list of the mandator.
        now: the end of what is still going on.
    """

    def absent_at(one: OptOut) -> datetime:
        firsts = (
            min((proof.proven_at for proof in of_list if proof.frozen_at >= one.written_at), default=now)
            for of_list in proofs.values()
        )
        return max(firsts, default=one.written_at)

    return [absent_at(one) - one.occurred_at for one in opt_outs]
