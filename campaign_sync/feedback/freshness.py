"""The age of a mandator's feedback in the CRM, and readers that have fallen silent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from campaign_sync.config import FeedbackSettings
from campaign_sync.domain.feedback_age import AgeLimits, FreshnessStatus, format_duration, is_silence_suspicious
from campaign_sync.domain.message import Message
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError
from campaign_sync.optimizely.services import ClosedLoopReader
from campaign_sync.storage.feedback_imports import FeedbackImport, FeedbackImports, RowCounts


def vendor_time(by_files: bool, vendor: Optimizely) -> datetime:
    """Return the clock that feedback is dated by: the vendor's, or our own for delivered files."""
    return datetime.now(UTC) if by_files else vendor.closed_loop.current_time()


def judge_age(
    mandator: str, readers: Collection[str], limits: AgeLimits, until: Mapping[str, datetime], now: datetime
) -> FreshnessStatus:
    """Return the status of the feedback by the age of the oldest of these readers.

    Args:
        mandator: whose feedback it is.
        readers: those that count.
        limits: when it is too old.
        until: up to which moment the feedback of each reader has reached the CRM.
        now: by the clock that feedback is dated by.
    """
    missing = [reader for reader in readers if reader not in until]
    oldest = None if missing else min(until[reader] for reader in readers)
    return limits.assess(mandator, oldest, now, " and ".join(missing))


@dataclass(frozen=True)
class ReaderFreshness:
    """How complete and how recent a reader's feedback is, as far as it has been fetched."""

    reader: str
    until: datetime | None
    """Up to when its rows show that they are complete; None where none ever showed it."""
    newest_event: datetime | None
    """The time of the newest event that it has ever reported; None without events, or where they have no times."""


def reader_freshness(
    mandator: str, reader: str, journal: FeedbackImports, read: Sequence[tuple[FeedbackImport, RowCounts]]
) -> ReaderFreshness:
    """Return the freshness of a reader by the imports that the CRM has taken and by those that are only parsed.

    Args:
        mandator: a key of the configuration.
        reader: one of its readers.
        journal: the imports that the CRM has taken.
        read: parsed imports of any reader, with their row counts.
    """
    mine = [(imported, rows) for imported, rows in read if imported.reader == reader]
    shown = [min(rows.fresh_until or imported.until, imported.imported_at) for imported, rows in mine if not rows.stale]
    events = [rows.newest_event for _, rows in mine if rows.newest_event]
    return ReaderFreshness(
        reader,
        max([*shown, *filter(None, [journal.committed_until(mandator).get(reader)])], default=None),
        max([*events, *journal.newest_events(mandator, reader).values()], default=None),
    )


@dataclass(frozen=True)
class SilentReader:
    """A reader that has returned nothing for unusually long."""

    reader: str
    message: str
    suspicious: bool
    """Whether mailings went out meanwhile, or that isn't known."""


def find_silent_readers(
    mandator: str, settings: FeedbackSettings, journal: FeedbackImports, vendor: Optimizely, now: datetime
) -> list[SilentReader]:
    """Return the readers that have returned nothing for unusually long, each with what is known of mailings since.

    Of delivered files the newest event counts, not the time of writing.
    """
    silent = []
    for reader in settings.readers:
        with_rows = journal.with_rows(mandator, reader)
        since = with_rows[-1].until if with_rows else journal.first_since(mandator, reader) or now
        pauses = [later.until - earlier.until for earlier, later in pairwise(with_rows)]
        if is_silence_suspicious(now - since, pauses):
            duration = format_duration(now - since)
            silence = (
                Message(
                    "{reader}: no delivered file has had a new event for {duration}", reader=reader, duration=duration
                )
                if settings.files
                else Message("{reader}: it has returned nothing for {duration}", reader=reader, duration=duration)
            )
            silent.append(_silent_reader(reader, silence, vendor, since, now))
    return silent


def _silent_reader(reader: str, silence: Message, vendor: Optimizely, since: datetime, now: datetime) -> SilentReader:
    try:
        mailings = vendor.closed_loop.read(ClosedLoopReader.MAILINGS, since, now, 0, 1)
    except (RefusedError, UnknownFaultError):
        unknown = Message("{silence}, and the vendor doesn't say whether mailings went out", silence=silence)
        return SilentReader(reader, unknown, suspicious=True)
    if not mailings:
        return SilentReader(reader, Message("{silence}, and no mailing went out", silence=silence), suspicious=False)
    message = Message(
        "{silence}, though mailings went out: ask the vendor whether its export job runs", silence=silence
    )
    return SilentReader(reader, message, suspicious=True)
