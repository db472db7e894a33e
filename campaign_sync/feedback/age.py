"""How old a mandator's feedback in the CRM is, and which reader has fallen silent."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from campaign_sync.configuration import FeedbackSettings
from campaign_sync.domain.feedback_age import AgeLimits, Verdict, in_words, is_unusual_silence
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.faults import RefusedError, UnknownFaultError
from campaign_sync.optimizely.services import Reader
from campaign_sync.state.feedback import FeedbackJournal


def vendor_time(by_files: bool, vendor: Optimizely) -> datetime:
    """The clock that feedback is dated by: the vendor's, or of delivered files, whose times are real ones, our own."""
    return datetime.now(UTC) if by_files else vendor.closed_loop.current_time()


def judge_age(
    mandator: str, readers: Collection[str], limits: AgeLimits, journal: FeedbackJournal, now: datetime
) -> Verdict:
    """What the age of the oldest of these readers calls for."""
    until = journal.committed_until(mandator)
    missing = [reader for reader in readers if reader not in until]
    oldest = None if missing else min(until[reader] for reader in readers)
    return limits.judge(mandator, oldest, now, " and ".join(missing))


@dataclass(frozen=True)
class Silence:
    """A reader that has returned nothing for unusually long."""

    reader: str
    told: str
    suspicious: bool
    """Whether mailings went out meanwhile, or nobody could tell."""


def silent_readers(
    mandator: str, settings: FeedbackSettings, journal: FeedbackJournal, vendor: Optimizely, now: datetime
) -> list[Silence]:
    """Readers that have returned nothing for unusually long, each with what the vendor says of mailings since.

    Of delivered files nothing needs to be asked: a job that has stopped shows by the age of the newest file.
    """
    found = []
    for reader in settings.readers if settings.files is None else ():
        with_rows = journal.with_rows(mandator, reader)
        since = with_rows[-1].until if with_rows else journal.first_since(mandator, reader) or now
        pauses = [later.until - earlier.until for earlier, later in pairwise(with_rows)]
        if is_unusual_silence(now - since, pauses):
            found.append(_explained(reader, vendor, since, now))
    return found


def _explained(reader: str, vendor: Optimizely, since: datetime, now: datetime) -> Silence:
    told = f"{reader} has returned nothing for {in_words(now - since)}"
    try:
        mailings = vendor.closed_loop.read(Reader.MAILINGS, since, now, 0, 1)
    except (RefusedError, UnknownFaultError):
        return Silence(reader, f"{told}, and the vendor doesn't tell whether mailings went out", suspicious=True)
    if not mailings:
        return Silence(reader, f"{told}, and no mailing went out", suspicious=False)
    return Silence(reader, f"{told}, though mailings went out: ask the vendor whether its export job runs", True)
