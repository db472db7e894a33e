"""From kept rows to what they mean: bounces of addresses, unsubscribes of consents."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from campaign_sync.configuration import MandatorSettings, ReaderSettings
from campaign_sync.domain.feedback import Bounce, FeedbackKind, RawRow, Unsubscribe, bounce_kind
from campaign_sync.domain.layout import FeedbackRow, LayoutError, parse_feedback
from campaign_sync.state.feedback import BOUNCE_SOURCE, UNSUBSCRIBE_SOURCE, FeedbackImport, Rows
from campaign_sync.state.frames import Frames, LostFileError
from campaign_sync.state.store import State

SHOWN_FOR = timedelta(days=30)
"""How long rows whose recipient id is no address are counted; then somebody has seen them, or nobody will."""

MANY_ODD_IDS = 10
"""So many new ids that are no address, and no other row: then the layout takes some other column for the id."""


@dataclass
class Pending:
    """Everything fetched that the CRM hasn't wholly taken."""

    bounces: list[Bounce] = field(default_factory=list)
    unsubscribes: list[Unsubscribe] = field(default_factory=list)
    mailings: dict[RawRow, int] = field(default_factory=dict)
    """Of unsubscribes whose row says so, which mailing they are about."""
    ignored: int = 0
    """Replies that are no bounces."""
    read: dict[str, Rows] = field(default_factory=dict)
    """By import id, how many rows were understood, and how many don't fit."""
    misfits: Counter[str] = field(default_factory=Counter)
    """By reader, how many rows don't fit."""
    without_address: defaultdict[str, set[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(set))
    """By reader, the ids that are no address, of rows that fit otherwise, with their times; of the last `SHOWN_FOR`."""
    files_without_address: list[str] = field(default_factory=list)
    """The kept files that hold such rows of unsubscribes."""
    lost: Counter[str] = field(default_factory=Counter)
    """By reader, how many of these can't be read again, for their file is gone."""


def read_pending(state: State, frames: Frames, mandator: str, settings: MandatorSettings) -> Pending:
    """Read what is pending by the layouts as they are configured now.

    Rows of a reader that isn't configured any more can't be read either: they are kept, and counted as misfits.

    Raises:
        LayoutError: nothing new of a reader fits its layout, so the layout must be wrong, and nobody knows who left.
        FrameError: a kept file that the CRM hasn't seen yet can't be read.
    """
    pending = Pending()
    new: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for fetched in state.feedback.pending(mandator):
        rows = _read(pending, frames, mandator, settings, fetched)
        pending.read[fetched.id] = rows
        pending.misfits[fetched.reader] += rows.misfits
        if fetched.committed_at is None:
            odd = rows.without_address
            new[fetched.reader] += Counter(understood=rows.understood, misfits=rows.misfits, odd=odd)
    for name, count in new.items():
        unread = count["misfits"] or count["odd"] >= MANY_ODD_IDS
        if unread and not count["understood"] and settings.feedback.reader(name):
            unread_rows = count["misfits"] + count["odd"]
            raise LayoutError(
                f"none of the {unread_rows} fetched rows fits {_place(mandator, name)}; set its columns and "
                f"time_format as agreed with the vendor, `campaign-sync feedback sample {mandator}` helps. The rows "
                "are kept and will be read again"
            )
    return pending


def _read(pending: Pending, frames: Frames, mandator: str, settings: MandatorSettings, fetched: FeedbackImport) -> Rows:
    reader = settings.feedback.reader(fetched.reader)
    if reader is None:
        return Rows(0, fetched.rows)
    try:
        raw = frames.read_rows(fetched.file, fetched.digest)
    except LostFileError:
        if fetched.committed_at is None:
            raise
        pending.lost[fetched.reader] += fetched.misfit_rows or 0
        return Rows(fetched.understood_rows or 0, fetched.misfit_rows or 0)
    try:
        parsed = parse_feedback(raw, reader.layout(settings.zone), fetched.until)
    except LayoutError as error:
        raise LayoutError(f"{_place(mandator, fetched.reader)}: {error}") from None
    misfits = len(parsed.misfits) - len(parsed.without_address)
    shown = fetched.until > datetime.now(UTC) - SHOWN_FOR
    odd = len(parsed.without_address) if shown else 0
    if odd:
        pending.without_address[fetched.reader].update(parsed.without_address.values())
        if fetched.kind is FeedbackKind.UNSUBSCRIBES:
            pending.files_without_address.append(fetched.file)
    for row in parsed.rows:
        try:
            _take(pending, fetched, row, reader)
        except ValueError:
            misfits += 1
    return Rows(len(parsed.rows) + len(parsed.misfits) - misfits - odd, misfits, odd)


def _take(pending: Pending, fetched: FeedbackImport, row: FeedbackRow, reader: ReaderSettings) -> None:
    raw = RawRow(fetched.id, row.position)
    if fetched.kind is FeedbackKind.UNSUBSCRIBES:
        left = Unsubscribe(row.address, row.occurred_at, fetched.mandator, UNSUBSCRIBE_SOURCE, raw=raw)
        pending.unsubscribes.append(left)
        if row.mailing_id is not None:
            pending.mailings[raw] = row.mailing_id
        return
    kind = bounce_kind(fetched.reader, row.category, reader.no_bounces)
    if kind is None:
        pending.ignored += 1
        return
    dated = reader.time is not None
    pending.bounces.append(Bounce(row.address, row.occurred_at, fetched.mandator, BOUNCE_SOURCE, kind, dated, raw))


def _place(mandator: str, reader: str) -> str:
    return f"mandators.{mandator}.feedback.readers.{reader}"
