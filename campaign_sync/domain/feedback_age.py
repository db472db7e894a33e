"""How old the vendor's feedback in the CRM may become before somebody has to act."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WARN_AFTER = timedelta(hours=24)

SHORTEST_LIFETIME, LONGEST_LIFETIME = timedelta(days=14), timedelta(days=30)
"""How long the vendor keeps feedback, as agreed with the customer (vendor documentation of ClosedLoopWebservice)."""

USUAL_SILENCE = timedelta(days=3)
"""So long nobody leaves or bounces now and then, over a weekend say."""

_ALARM_SHARE = 4
"""A quarter of the time that the vendor keeps feedback: then three quarters are left to mend it."""


class Freshness(StrEnum):
    """What an age calls for."""

    FRESH = "fresh"
    WARNING = "warning"
    BLOCKING = "blocking"
    """No list of the mandator is replaced any more."""
    ALARM = "alarm"
    """If nobody acts, unsubscribes are lost for good."""


@dataclass(frozen=True)
class FreshnessStatus:
    """What an age calls for, and a sentence that says so. The age is None where feedback was never imported."""

    freshness: Freshness
    message: str
    age: timedelta | None


@dataclass(frozen=True)
class AgeLimits:
    """When feedback is too old to replace a list, and how long the vendor keeps it."""

    max_age: timedelta
    lifetime: timedelta
    by_files: bool = False
    """Whether feedback is delivered as files, which count by what is new in them."""

    @property
    def alarm_after(self) -> timedelta:
        """From which age on unsubscribes are about to be lost."""
        return self.lifetime / _ALARM_SHARE

    def assess(self, mandator: str, until: datetime | None, now: datetime, missing: str = "") -> FreshnessStatus:
        """What the age calls for.

        Args:
            mandator: whose feedback it is.
            until: up to when the CRM has all of it; None if some was never imported, which `missing` names then.
            now: by the same clock.
            missing: the readers that were never imported.
        """
        if until is None and self.by_files:
            message = f"no delivered file of {missing} of {mandator} told of anything yet, so no list is replaced; "
            return FreshnessStatus(Freshness.BLOCKING, message + _remedy(mandator) + _OF_FILES, None)
        if until is None:
            message = f"{missing} of {mandator} were never imported, so no list is replaced; {_remedy(mandator)}"
            return FreshnessStatus(Freshness.BLOCKING, message, None)
        age = now - until
        freshness = self._freshness(age)
        message = f"the CRM has {mandator}'s feedback up to {format_duration(age)} ago"
        if freshness is Freshness.ALARM:
            message = (
                f"ALARM: {message}; the vendor keeps it for {format_duration(self.lifetime)}, so from "
                f"{until + self.lifetime:%Y-%m-%d} on unsubscribes are lost for good. No list is replaced; "
                f"{_remedy(mandator)} today"
            )
        elif freshness is Freshness.BLOCKING:
            message += f", more than feedback.max_age {format_duration(self.max_age)}; {_remedy(mandator)}"
        elif freshness is Freshness.WARNING:
            message += f", and should have it daily; {_remedy(mandator)}"
        if self.by_files and freshness is not Freshness.FRESH:
            message += _OF_FILES
        return FreshnessStatus(freshness, message, age)

    def _freshness(self, age: timedelta) -> Freshness:
        if age > self.alarm_after:
            return Freshness.ALARM
        if age > self.max_age:
            return Freshness.BLOCKING
        return Freshness.WARNING if age > WARN_AFTER else Freshness.FRESH


_OF_FILES = (
    ". Delivered files count by what is new in them: one that was only touched, that repeats an earlier one, that "
    "tells of nothing newer or can't be read shows nothing; if such files come, have the vendor look at its export job"
)


def _remedy(mandator: str) -> str:
    return f"materialize {mandator}'s bounces, unsubscribes and suppression_state"


def delivery_complete_until(newest: datetime | None, earlier: datetime | None) -> datetime | None:
    """Up to when a delivered file shows that feedback is complete; None where it tells of nothing new.

    Args:
        newest: when the newest event in it happened.
        earlier: when the newest event of all other deliveries happened.
    """
    if newest is None or (earlier is not None and newest <= earlier):
        return None
    return newest + USUAL_SILENCE


def is_silence_suspicious(silence: timedelta, earlier: list[timedelta]) -> bool:
    """Whether a reader has returned nothing for longer than one is used to: three days, and twice its longest pause."""
    return silence > max([USUAL_SILENCE, *(2 * pause for pause in earlier)])


def format_duration(span: timedelta) -> str:
    """Minutes up to two hours, hours up to three days, then days."""
    hours = span.total_seconds() / 3600
    if hours < 2:
        return f"{hours * 60:.0f} min" if hours * 60 >= 1 else "less than a minute"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"
