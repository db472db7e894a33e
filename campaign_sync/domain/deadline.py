"""Deadlines of lists. A list can be late although no run has failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Deadline:
    """How recent the proof of a list must be, and at which times."""

    max_age: timedelta
    """How old the newest proof may be at a deadline."""
    times: tuple[datetime, ...] | None = None
    """The deadlines up to now, earliest first; None if the age is limited at all times."""
    earliest_proofs: tuple[datetime, ...] | None = None
    """The earliest time of a proof that meets each of these deadlines; given by `max_age` if None."""


def missed_deadline(deadline: Deadline, proven_at: datetime | None, now: datetime) -> datetime | None:
    """Return the first deadline that a list has missed since its last proof, which is since when it is late.

    Args:
        deadline: the rule; its `times` must include all since the proof.
        proven_at: when a replacement of the list was last proven; None for never.
        now: the current time.

    Returns:
        None if the list isn't late, or was never proven: runs that don't complete such a list fail by themselves.
    """
    if proven_at is None:
        return None
    if deadline.times is not None and deadline.earliest_proofs is not None:
        deadlines = zip(deadline.times, deadline.earliest_proofs, strict=True)
        return next((time for time, earliest in deadlines if proven_at < earliest and proven_at < time <= now), None)
    expires_at = proven_at + deadline.max_age
    if deadline.times is None:
        return expires_at if expires_at <= now else None
    return next((time for time in deadline.times if expires_at < time <= now), None)
