"""How often consents change in a CRM, by which an unusual silence is recognized."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.message import Message, join_messages

LEAST_SILENCE: Final = timedelta(days=14)
"""A shorter time without a change is never unusual."""

TIMES_LONGEST: Final = 3
"""Nor is one that is shorter than this many times the longest one before."""

LEAST_DAYS: Final = 10
"""Nothing is unusual before changes came on this many days,"""

LEAST_WATCHED: Final = timedelta(weeks=8)
"""and the CRM was watched for this long."""


@dataclass(frozen=True)
class ConsentActivity:
    """The changes of the consents for one mandator's lists that didn't come from us."""

    since: datetime
    """Since when they are watched."""
    newest_at: datetime
    """When the newest happened, or was observed."""
    changes: int = 0
    """On how many days changes came since then."""
    longest_gap: timedelta = timedelta()
    """The longest time between two."""

    def silence(self, now: datetime) -> timedelta:
        """Return how long there has been no change."""
        return now - self.newest_at

    @property
    def usual(self) -> timedelta | None:
        """How long a silence may last; None while too little is known."""
        return max(LEAST_SILENCE, TIMES_LONGEST * self.longest_gap) if self.changes >= LEAST_DAYS else None

    def is_silent(self, now: datetime) -> bool:
        """Return whether there has been no change for unusually long."""
        long_enough = now - self.since >= LEAST_WATCHED
        return long_enough and self.usual is not None and self.silence(now) > self.usual


def note_change(before: ConsentActivity | None, newest: datetime | None, now: datetime) -> ConsentActivity:
    """Return the activity once the newest change is known; None means that there is none."""
    newest = min(newest, now) if newest else None
    if before is None:
        return ConsentActivity(now, newest or now)
    if newest is None or newest <= before.newest_at:
        return before
    gap = newest - before.newest_at
    is_new_day = newest.date() != before.newest_at.date()
    return replace(
        before, newest_at=newest, changes=before.changes + is_new_day, longest_gap=max(before.longest_gap, gap)
    )


def activity_text(activity: ConsentActivity, now: datetime) -> Message:
    """Return how long there has been no change, and how long there usually is none."""
    silence = Message(
        "the newest consent that changed in the CRM is {age} old", age=format_duration(activity.silence(now))
    )
    if activity.usual is None or now - activity.since < LEAST_WATCHED:
        usual = Message("how often consents change isn't known well enough yet")
    else:
        usual = Message(
            "the longest time between two changes was {duration}", duration=format_duration(activity.longest_gap)
        )
    return join_messages("; ", [silence, usual])
