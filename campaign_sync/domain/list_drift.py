"""Drift of lists: changes at the vendor after a list was proven."""

from dataclasses import dataclass, replace
from datetime import datetime

from campaign_sync.domain.message import Message, join_messages

TOLERATED_PEOPLE = 2
"""Up to this number of missing or changed people is no incident."""

MISSING_SHARE = 0.001
"""The same for this share of a list: people may be erased at the vendor by hand."""

CHANGED_SHARE = 0.01
"""The same for this share with changed values: people may edit their profile at the vendor."""


@dataclass(frozen=True)
class ReadBack:
    """The result of reading a list back in full after its proof. Counts are of people."""

    proven: int
    """Counted by the proof."""
    in_list: int
    missing: int
    """Proven to be in the list, and gone without an explanation."""
    departed: int
    """Proven to be in the list, and gone because they left, bounced or were blocked."""
    changed: int
    """In the list with other values than were sent."""
    unexpected: int
    """In the list and never sent: people who signed up at the vendor."""

    @property
    def drifted(self) -> bool:
        """Whether the list differs from its proof by more than is tolerated."""
        missing = (
            self.missing > max(TOLERATED_PEOPLE, MISSING_SHARE * self.proven) or 0 < self.proven <= 2 * self.missing
        )
        return missing or self.changed > max(TOLERATED_PEOPLE, CHANGED_SHARE * self.proven)

    @property
    def summary(self) -> Message:
        """What was read back, and how it differs from the proof."""
        differences = [
            difference
            for people, difference in (
                (self.missing, Message("{people:,} are missing", people=self.missing)),
                (self.changed, Message("{people:,} have other values", people=self.changed)),
                (self.departed, Message("{people:,} have left since", people=self.departed)),
                (self.unexpected, Message("{people:,} were added at the vendor", people=self.unexpected)),
            )
            if people
        ]
        summary = Message(
            "{people:,} people are in it where {proven:,} were proven", people=self.in_list, proven=self.proven
        )
        return join_messages(": ", [summary, join_messages(", ", differences)]) if differences else summary

    def __str__(self) -> str:
        return str(self.summary)


def needs_full_read_back(proven: int, last: ReadBack | None, in_list: int, unexpected: int) -> bool:
    """Return whether a list has to be read back in full, by its count and one of its pages.

    Args:
        proven: how many people the proof counted.
        last: the last full read-back since the proof, if any.
        in_list: how many people are in the list now.
        unexpected: how many rows of the page weren't sent.
    """
    known = last or ReadBack(proven, proven, 0, 0, 0, 0)
    known_differences = known.unexpected + known.changed + max(in_list - known.in_list, 0)
    return known.drifted or in_list < known.in_list or unexpected > known_differences


@dataclass(frozen=True)
class ListDrift:
    """The result of the drift checks of a list since its proof."""

    mandator: str
    list: str
    replace_id: str
    """The replacement that the list was proven by."""
    checked_at: datetime | None = None
    """When the list was last checked; None for never."""
    in_list: int | None = None
    """How many people were in the list at that time."""
    read_back: ReadBack | None = None
    """The last full read-back; None if none was needed."""
    drifted_since: datetime | None = None
    """When the drift was first seen; None while there is none."""
    not_checked_since: datetime | None = None
    """Since when the list can't be checked; None if the last check succeeded."""
    not_checked_because: str | None = None

    def after_check(self, in_list: int, read_back: ReadBack | None, now: datetime) -> "ListDrift":
        """Return the drift after a successful check. `read_back` is None if no full one was needed."""
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
        """Return the drift after a check that failed, which says nothing about the list."""
        return replace(self, not_checked_since=self.not_checked_since or now, not_checked_because=because)
