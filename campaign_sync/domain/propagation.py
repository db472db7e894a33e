"""Propagation of opt-outs: the time until the CRM knows of them and no list has the person any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

GOAL = timedelta(hours=24)
"""The longest time that an opt-out should take."""


@dataclass(frozen=True)
class OptOut:
    """When a person opted out, and when that was written to the CRM."""

    occurred_at: datetime
    written_at: datetime


@dataclass(frozen=True)
class ReplacementTimes:
    """When the rows of a list were frozen, and when the list was proven to hold them."""

    frozen_at: datetime
    proven_at: datetime


@dataclass(frozen=True)
class Delays:
    """The distribution of delays."""

    count: int
    median: timedelta
    p95: timedelta
    longest: timedelta

    @classmethod
    def summarize(cls, delays: Sequence[timedelta]) -> "Delays | None":
        """Return the distribution; None without delays. Percentiles are by the nearest rank."""
        ordered = sorted(delays)
        if not ordered:
            return None

        def rank(share: float) -> timedelta:
            return ordered[max(0, ceil(share * len(ordered)) - 1)]

        return cls(len(ordered), rank(0.5), rank(0.95), ordered[-1])


def delays_to_crm(opt_outs: Sequence[OptOut]) -> list[timedelta]:
    """Return the delay from each opt-out to its entry in the CRM."""
    return [opt_out.written_at - opt_out.occurred_at for opt_out in opt_outs]


def delays_to_removal(
    opt_outs: Sequence[OptOut], proofs: Mapping[str, Sequence[ReplacementTimes]], now: datetime
) -> list[timedelta]:
    """Return the delay from each opt-out until all lists were replaced by rows selected after the CRM knew of it.

    An opt-out that isn't in effect for all lists yet counts up to now.

    Args:
        opt_outs: the opt-outs.
        proofs: the replacements of each list of the mandator, by list.
        now: the current time.
    """

    def removed_at(opt_out: OptOut) -> datetime:
        firsts = (
            min((proof.proven_at for proof in of_list if proof.frozen_at >= opt_out.written_at), default=now)
            for of_list in proofs.values()
        )
        return max(firsts, default=opt_out.written_at)

    return [removed_at(opt_out) - opt_out.occurred_at for opt_out in opt_outs]
