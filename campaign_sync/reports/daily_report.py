"""The content of a daily report: counts, times and digests. Nothing in it identifies a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.domain.message import SOURCE_LANGUAGE, Language
from campaign_sync.domain.propagation import Delays
from campaign_sync.domain.readiness import Attempt, CheckFinding, Readiness
from campaign_sync.replacement.scheduled_mailings import ScheduledMailing

NOT_PICKED = "not_picked"
"""The reason of people who left without being rejected: the marketing list or report no longer includes them."""


@dataclass(frozen=True)
class ListDay:
    """One list on one day in the mandator's time zone. Counts are of the day's last proof, None without a proof."""

    day: date
    people: int | None = None
    dropped: int | None = None
    """Removed by the last check of suppressions before filling."""
    refused: int | None = None
    """Rejected by the vendor."""
    swept: int | None = None
    """Removed by the vendor after filling."""
    incomplete_for: timedelta | None = None
    """From clearing the list to its proof."""
    interrupted: bool = False
    """Whether a replacement cleared the list on that day and never reached its proof."""


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
    data_of: datetime | None = None
    """The moment of the CRM's oldest data, where a copy or a delivery of it was read."""


@dataclass(frozen=True)
class Movement:
    """How a list changed from the last proof of an earlier day to the newest proof."""

    since: datetime
    joined: int
    left: Mapping[str, int]
    """How many left, by reason."""
    uncertain: int
    """How many people may have been in the list or not, by what is recorded; they count as rejected."""


@dataclass(frozen=True, kw_only=True)
class ListReport:
    """One recipient list."""

    name: str
    """Its key in the configuration."""
    display_name: str
    """Its title; two lists may have the same."""
    owners: tuple[str, ...]
    """Who to ask about it: addresses, and teams like `team:marketing`."""
    page: str | None
    """The URL of its page in Dagster's UI; None if the UI's isn't known."""
    status: Readiness
    since: datetime | None
    """Since when the status holds; of a list that wasn't replaced, the time of its last proof."""
    drift: ListDrift | None
    """What was counted and read since its newest proof; None if it wasn't checked since."""
    attempt: Attempt | None
    """The newest run that was to replace it; None if none is known."""
    refused_people: int | None
    """How many that run would have sent, if their number was why it was refused."""
    people: int | None
    """How many the newest proof counted."""
    before: int | None
    """How many the last proof of an earlier day counted."""
    before_at: datetime | None
    proof: ReportedProof | None
    days: tuple[ListDay, ...]
    """The last 30 days, oldest first, without gaps."""
    movement: Movement | None
    """None without an earlier proof, or if a snapshot can't be read any more."""
    kept_out: Mapping[str, int] | None
    """People who were selected and aren't in the list by its newest proof, by reason; None if no longer known."""
    newly_kept_out: Mapping[date, Mapping[str, int]]
    """People who were rejected for the first time, by day and reason; without those of the list's first day."""
    refused_now: Mapping[int, int]
    """How many the vendor rejected in the newest proven replacement, by its code."""
    refused_lately: Mapping[int, int]
    """The same for all proven replacements of these days."""

    @property
    def ready(self) -> bool:
        """Whether mailings may be sent to it today."""
        return self.status is Readiness.READY

    @property
    def findings(self) -> tuple[CheckFinding, ...]:
        """What checks of that run found: first those that failed, then those that warn."""
        return (*self.attempt.failed_checks, *self.attempt.warnings) if self.attempt else ()


@dataclass(frozen=True)
class ReaderAge:
    """The age of what the CRM has from a feedback reader; None if it was never imported."""

    reader: str
    age: timedelta | None


@dataclass(frozen=True)
class FeedbackAgeLimits:
    """The ages above which feedback causes a warning, blocks replacements, and is about to be lost."""

    warns: timedelta
    stops: timedelta
    alarms: timedelta


@dataclass(frozen=True)
class OptOuts:
    """How long opt-outs of these days took."""

    to_crm: Delays
    to_absence: Delays
    waits: Mapping[timedelta | None, int]
    """How many were out of every list within that time, and not within the shorter ones; None for all others."""


@dataclass(frozen=True)
class UnfinishedDay:
    """The newest planned day, of which lists aren't there yet. Lists that are incomplete aren't among them."""

    planned_for: datetime
    followed: tuple[str, ...]
    """Keys of the lists that follow without a person."""
    left: tuple[str, ...]
    """Keys of those that don't."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of one mandator."""

    display_name: str
    day: date
    made_at: datetime
    zone: ZoneInfo
    lists: tuple[ListReport, ...]
    readers: tuple[ReaderAge, ...]
    limits: FeedbackAgeLimits
    opt_outs: OptOuts | None
    """None without opt-outs."""
    check_language: Language = SOURCE_LANGUAGE
    """The language in which checks write what they find."""
    unfinished_day: UnfinishedDay | None = None
    mailings: tuple[ScheduledMailing, ...] | None = None
    """The mailings of the next days that use its lists, the next one first; None if they couldn't be read."""

    @property
    def period(self) -> int:
        """How many days it looks back."""
        return len(self.lists[0].days)

    @property
    def ready(self) -> bool:
        """Whether mailings may be sent to every list today."""
        return all(recipient_list.ready for recipient_list in self.lists)
