"""Whether a list still holds what its proof found in it, as far as anybody has looked since."""

from dataclasses import dataclass, replace
from datetime import datetime

TOLERATED_PEOPLE = 2
"""So many people who are gone, or were changed by hand, are no reason to wake anybody up."""

MISSING_SHARE = 0.001
"""Nor is this part of a list, as people who were erased at the vendor by hand."""

CHANGED_SHARE = 0.01
"""Nor this part of it whose values are others: people may edit their profile at the vendor."""


@dataclass(frozen=True)
class ReadBack:
    """A list as it was read back in full, after its proof. Counts are of people."""

    proven: int
    """How many the proof found."""
    in_list: int
    missing: int
    """Of those who were proven to be in it, how many are gone though nothing explains it."""
    departed: int
    """Of those who were proven to be in it, how many are gone because they left, bounced or were blocked."""
    changed: int
    """How many are there with other values than were sent."""
    unexpected: int
    """How many are there who were never sent: who signed up at the vendor."""

    @property
    def drifted(self) -> bool:
        """Whether it isn't any more what was proven, beyond what a healthy list may show."""
        missing = (
            self.missing > max(TOLERATED_PEOPLE, MISSING_SHARE * self.proven) or 0 < self.proven <= 2 * self.missing
        )
        return missing or self.changed > max(TOLERATED_PEOPLE, CHANGED_SHARE * self.proven)

    def __str__(self) -> str:
        counts = {
            "are missing": self.missing,
            "have other values": self.changed,
            "have left since": self.departed,
            "were added at the vendor": self.unexpected,
        }
        found = [f"{people:,} {what}" for what, people in counts.items() if people]
        told = f"{self.in_list:,} people are in it where {self.proven:,} were proven"
        return f"{told}: {', '.join(found)}" if found else told


def needs_full_read_back(proven: int, last: ReadBack | None, in_list: int, unexpected: int) -> bool:
    """Whether the count of a list and one of its pages ask for reading it back in full.

    Args:
        proven: how many the proof found.
        last: the last full read-back since the proof, whose differences are known.
        in_list: how many are in the list now.
        unexpected: how many rows of a page aren't among those that were sent.
    """
    known = last or ReadBack(proven, proven, 0, 0, 0, 0)
    known_differences = known.unexpected + known.changed + max(in_list - known.in_list, 0)
    return known.drifted or in_list < known.in_list or unexpected > known_differences


@dataclass(frozen=True)
class ListDrift:
    """What is known of a list since its proof."""

    mandator: str
    list: str
    replace_id: str
    """The replace whose proof it is."""
    checked_at: datetime | None = None
    """When it was looked at last; None for never."""
    in_list: int | None = None
    """How many were in it then."""
    read_back: ReadBack | None = None
    """The last full read-back; None where there was no reason for one."""
    drifted_since: datetime | None = None
    """When it was first found not to be what was proven; None while it is."""
    not_checked_since: datetime | None = None
    """Since when it can't be looked at; None where it could be the last time."""
    not_checked_because: str | None = None

    def after_check(self, in_list: int, read_back: ReadBack | None, now: datetime) -> "ListDrift":
        """After a look at the list. `read_back` is None where there was no reason for a full one."""
        read_back = read_back or self.read_back
        since = (self.drifted_since or now) if read_back and read_back.drifted else None
        return replace(
            self,
            checked_at=now,
            in_list=in_list,
            read_back=read_back,
            drifted_since=since,
            not_checked_since=None,
            not_checked_because=None,
        )

    def after_failed_check(self, because: str, now: datetime) -> "ListDrift":
        """After somebody tried to look at the list, and couldn't. That says nothing about the list."""
        return replace(self, not_checked_since=self.not_checked_since or now, not_checked_because=because)
