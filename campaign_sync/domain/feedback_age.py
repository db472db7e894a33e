"""The age of the feedback in the CRM, and how old it may be."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from campaign_sync.domain.message import Message, day_text, join_messages

WARN_AFTER = timedelta(hours=24)

SHORTEST_LIFETIME, LONGEST_LIFETIME = timedelta(days=14), timedelta(days=30)
"""How long the vendor keeps feedback, as agreed with the customer (vendor documentation of ClosedLoopWebservice)."""

USUAL_SILENCE = timedelta(days=3)
"""A time without any unsubscribe or bounce that is still usual, for example a weekend."""

_ALARM_DIVISOR = 4
"""The alarm is raised after this fraction of the vendor's retention time, so three quarters remain for the repair."""


class Freshness(StrEnum):
    """How fresh feedback is, by its age."""

    FRESH = "fresh"
    WARNING = "warning"
    BLOCKING = "blocking"
    """No list of the mandator is replaced."""
    ALARM = "alarm"
    """Unsubscribes will be lost for good unless feedback is imported."""


@dataclass(frozen=True)
class FreshnessStatus:
    """The freshness of a mandator's feedback, with a message. The age is None if feedback was never imported."""

    freshness: Freshness
    message: str
    age: timedelta | None


@dataclass(frozen=True)
class AgeLimits:
    """The age from which feedback is too old to replace a list, and how long the vendor keeps it."""

    max_age: timedelta
    lifetime: timedelta
    by_files: bool = False
    """Whether feedback is delivered as files, which count by the newest event in them."""

    @property
    def alarm_after(self) -> timedelta:
        """The age from which on unsubscribes are about to be lost."""
        return self.lifetime / _ALARM_DIVISOR

    def assess(self, mandator: str, until: datetime | None, now: datetime, missing: str = "") -> FreshnessStatus:
        """Return the freshness of a mandator's feedback.

        Args:
            mandator: the mandator.
            until: the time up to which the CRM has all feedback; None if a reader was never imported.
            now: the current time by the same clock.
            missing: the names of the readers that were never imported.
        """
        if until is None:
            values = {"readers": missing, "mandator": mandator, "remedy": import_remedy(mandator)}
            message = (
                Message(
                    "no delivered file of {readers} of {mandator} had any event yet, so no list is replaced; {remedy}",
                    **values,
                )
                if self.by_files
                else Message("{readers} of {mandator} were never imported, so no list is replaced; {remedy}", **values)
            )
            return FreshnessStatus(Freshness.BLOCKING, self._with_files(message), None)
        age = now - until
        freshness = self._freshness(age)
        message = self._message(freshness, mandator, until, age)
        return FreshnessStatus(freshness, message if freshness is Freshness.FRESH else self._with_files(message), age)

    def _message(self, freshness: Freshness, mandator: str, until: datetime, age: timedelta) -> Message:
        known = Message(
            "the CRM has {mandator}'s feedback up to {age} ago", mandator=mandator, age=format_duration(age)
        )
        if freshness is Freshness.ALARM:
            return Message(
                "ALARM: {known}; the vendor keeps it for {lifetime}, so from {day} on unsubscribes are lost for good. "
                "No list is replaced; {remedy} today",
                known=known,
                lifetime=format_duration(self.lifetime),
                day=day_text(until + self.lifetime),
                remedy=import_remedy(mandator),
            )
        if freshness is Freshness.BLOCKING:
            return Message(
                "{known}, more than feedback.max_age {limit}; {remedy}",
                known=known,
                limit=format_duration(self.max_age),
                remedy=import_remedy(mandator),
            )
        if freshness is Freshness.WARNING:
            return Message("{known}, and should have it daily; {remedy}", known=known, remedy=import_remedy(mandator))
        return known

    def _with_files(self, message: Message) -> Message:
        return join_messages(". ", [message, _OF_FILES]) if self.by_files else message

    def _freshness(self, age: timedelta) -> Freshness:
        if age > self.alarm_after:
            return Freshness.ALARM
        if age > self.max_age:
            return Freshness.BLOCKING
        return Freshness.WARNING if age > WARN_AFTER else Freshness.FRESH


_OF_FILES = Message(
    "Delivered files count by what is new in them: one that was only touched, that repeats an earlier one, that "
    "has no newer event or can't be read shows nothing; if such files come, have the vendor check its export job"
)


def import_remedy(mandator: str) -> Message:
    """Return what brings the feedback of a mandator into the CRM."""
    return Message("materialize {mandator}'s bounces, unsubscribes and suppression_state", mandator=mandator)


def delivery_complete_until(newest: datetime | None, earlier: datetime | None) -> datetime | None:
    """Return the time up to which a delivered file proves that feedback is complete; None if it has no new event.

    Args:
        newest: the time of the newest event in the file.
        earlier: the time of the newest event in all other deliveries.
    """
    if newest is None or (earlier is not None and newest <= earlier):
        return None
    return newest + USUAL_SILENCE


def is_silence_suspicious(silence: timedelta, earlier_pauses: list[timedelta]) -> bool:
    """Return whether a reader has returned nothing for more than three days and more than twice its longest pause."""
    return silence > max([USUAL_SILENCE, *(2 * pause for pause in earlier_pauses)])


def format_duration(span: timedelta) -> Message:
    """Return a duration in minutes up to two hours, in hours up to three days, else in days."""
    hours = span.total_seconds() / 3600
    if hours < 2:
        return Message("{minutes:.0f} min", minutes=hours * 60) if hours * 60 >= 1 else Message("less than a minute")
    return Message("{hours:.1f} h", hours=hours) if hours < 72 else Message("{days:.1f} days", days=hours / 24)
