"""How old the vendor's feedback in the CRM may become before somebody has to act."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WARN_AFTER = timedelta(hours=24)

_ALARM_SHARE = 4
"""A quarter of the time that the vendor keeps feedback: then three quarters are left to mend it."""


class Alertness(StrEnum):
    """What an age calls for."""

    FRESH = "fresh"
    WARNING = "warning"
    BLOCKING = "blocking"
    """No list of the mandator is replaced any more."""
    ALARM = "alarm"
    """If nobody acts, unsubscribes are lost for good."""


@dataclass(frozen=True)
class AgeLimits:
    """When feedback is too old to replace a list, and how long the vendor keeps it."""

    max_age: timedelta
    lifetime: timedelta

    def judge(self, mandator: str, until: datetime | None, now: datetime, missing: str = "") -> tuple[Alertness, str]:
        """What the age calls for, and a sentence that says so.

        Args:
            mandator: whose feedback it is.
            until: up to when the CRM has all of it; None if some was never imported, which `missing` names then.
            now: by the same clock.
            missing: the readers that were never imported.
        """
        remedy = f"materialize {mandator}'s bounces, unsubscribes and suppression_state"
        if until is None:
            return Alertness.BLOCKING, f"{missing} of {mandator} were never imported, so no list is replaced; {remedy}"
        age = now - until
        told = f"the CRM has {mandator}'s feedback up to {in_words(age)} ago"
        if age > self.lifetime / _ALARM_SHARE:
            lost = until + self.lifetime
            return Alertness.ALARM, (
                f"ALARM: {told}; the vendor keeps it for {in_words(self.lifetime)}, so from {lost:%Y-%m-%d} on "
                f"unsubscribes are lost for good. No list is replaced; {remedy} today"
            )
        if age > self.max_age:
            return Alertness.BLOCKING, f"{told}, more than feedback.max_age {in_words(self.max_age)}; {remedy}"
        if age > WARN_AFTER:
            return Alertness.WARNING, f"{told}, and should have it daily; {remedy}"
        return Alertness.FRESH, told


def is_unusual_silence(silence: timedelta, earlier: list[timedelta]) -> bool:
    """Whether a reader has returned nothing for longer than one is used to: three days, and twice its longest pause."""
    return silence > max([timedelta(days=3), *(2 * pause for pause in earlier)])


def in_words(span: timedelta) -> str:
    """Hours up to three days, then days."""
    hours = span.total_seconds() / 3600
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"
