"""When a list is late: something to be told even though nothing runs and nothing fails."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Deadline:
    """How new a list's proof must be, and when."""

    max_age: timedelta
    """How old the newest proof may be whenever it matters."""
    times: tuple[datetime, ...] | None = None
    """The moments at which it matters, up to now, the earliest first; None where it matters all the time."""
    earliest_proofs: tuple[datetime, ...] | None = None
    """For each of these moments the earliest proof that counts; `max_age` says so where None."""


def missed_deadline(deadline: Deadline, proven_at: datetime | None, now: datetime) -> datetime | None:
    """Since when a list is late.

    Args:
        deadline: the rule; its `times` must reach back to the proof.
        proven_at: when a replace of the list was last proven; None for never.
        now: the moment that is asked about.

    Returns:
        The first deadline that was missed since then. None where none was, and for a list that was never proven: it
        has nothing to be late against, and the runs that don't get it there fail on their own.
    """
    if proven_at is None:
        return None
    if deadline.times is not None and deadline.earliest_proofs is not None:
        known = zip(deadline.times, deadline.earliest_proofs, strict=True)
        return next((time for time, begin in known if proven_at < begin and proven_at < time <= now), None)
    outlived = proven_at + deadline.max_age
    if deadline.times is None:
        return outlived if outlived <= now else None
    return next((time for time in deadline.times if outlived < time <= now), None)
