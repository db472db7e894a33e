"""What a daily report says. Counts, moments and digests; nothing in here names or stands for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.domain.propagation import Delays
from campaign_sync.domain.readiness import Readiness

NOT_PICKED = "not_picked"
"""Why somebody left whom the ledger doesn't have: marketing list or report stopped naming them."""


@dataclass(frozen=True)
class Day:
    """One list on one day of the mandator's calendar. Counts are of the day's last proof, None where there was none."""

    day: date
    people: int | None = None
    dropped: int | None = None
    """Taken out by the last look before sending."""
    refused: int | None = None
    """Turned away by the vendor."""
    swept: int | None = None
    """Taken out by the vendor after sending."""
    incomplete_for: timedelta | None = None
    """From clearing the list to its proof."""
    broke_off: bool = False
    """Whether a replace cleared the list on that day and came to no proof."""


@dataclass(frozen=True)
class ReportedProof:
    """The newest proof of a list."""

    proven_at: datetime
    frozen_at: datetime
    equal: int
    snapshot_id: str
    digest: str
    """SHA-256 of the file of the snapshot."""
    incomplete_for: timedelta | None


@dataclass(frozen=True)
class Movement:
    """What became of a list from the last proof of an earlier day to the newest one."""

    since: datetime
    joined: int
    left: Mapping[str, int]
    """How many left, by reason."""
    uncertain: int
    """Of how many people it can't be told whether they were in the list; they count as turned away."""


@dataclass(frozen=True, kw_only=True)
class ListReport:
    """One recipient list."""

    name: str
    """Its key in the configuration."""
    called: str
    """How people call it; two may be called the same."""
    status: Readiness
    since: datetime | None
    """Since when that is so; of a list that wasn't replaced, as of when it is."""
    drift: ListDrift | None
    """What was found of it since its newest proof; None where there is none."""
    people: int | None
    """How many the newest proof has counted."""
    before: int | None
    """How many the last proof of an earlier day had counted."""
    before_at: datetime | None
    proof: ReportedProof | None
    days: tuple[Day, ...]
    """The last 30 days, oldest first, one by one."""
    movement: Movement | None
    """None where there is nothing to compare, or a snapshot is gone."""
    kept_out: Mapping[str, int] | None
    """Whoever was picked and isn't in the list by its newest proof, by reason; None where nobody can tell any more."""
    newly_kept_out: Mapping[date, Mapping[str, int]]
    """Whoever was turned away for the first time, by day and reason; not those of the list's first day."""
    refused_now: Mapping[int, int]
    """How many the vendor turned away in the newest proven replace, by its code."""
    refused_lately: Mapping[int, int]
    """The same of all proven replaces of these days."""

    @property
    def ready(self) -> bool:
        """Whether it may be written to today."""
        return self.status is Readiness.READY


@dataclass(frozen=True)
class FeedbackReader:
    """How old what the CRM has of a reader is; None where it was never imported."""

    reader: str
    age: timedelta | None


@dataclass(frozen=True)
class FeedbackLimits:
    """From which age on feedback is worth a warning, stops replaces, and is about to be lost."""

    warns: timedelta
    stops: timedelta
    alarms: timedelta


@dataclass(frozen=True)
class OptOuts:
    """How long opt-outs of these days took."""

    to_crm: Delays
    to_absence: Delays
    waits: Mapping[timedelta | None, int]
    """How many were out of every list within so long, and not within the shorter ones; None for all others."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one report says of one mandator."""

    called: str
    day: date
    made_at: datetime
    zone: ZoneInfo
    lists: tuple[ListReport, ...]
    readers: tuple[FeedbackReader, ...]
    limits: FeedbackLimits
    opt_outs: OptOuts | None
    """None where nobody has left."""

    @property
    def ready(self) -> bool:
        """Whether every list may be written to today."""
        return all(one.ready for one in self.lists)
