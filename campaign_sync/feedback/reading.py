"""From kept rows to what they mean: bounces of addresses, unsubscribes of consents."""

from collections import Counter
from dataclasses import dataclass, field

from campaign_sync.configuration import MandatorSettings
from campaign_sync.domain.feedback import Bounce, FeedbackKind, RawRow, Unsubscribe, bounce_kind
from campaign_sync.domain.layout import FeedbackRow, LayoutError, parse_feedback
from campaign_sync.state.feedback import BOUNCE_SOURCE, UNSUBSCRIBE_SOURCE, FeedbackImport
from campaign_sync.state.frames import Frames
from campaign_sync.state.store import State


@dataclass
class Pending:
    """Everything fetched that the CRM hasn't wholly taken."""

    bounces: list[Bounce] = field(default_factory=list)
    unsubscribes: list[Unsubscribe] = field(default_factory=list)
    mailings: dict[RawRow, int] = field(default_factory=dict)
    """Of unsubscribes whose row says so, which mailing they are about."""
    ignored: int = 0
    """Replies that are no bounces."""
    misfits: dict[str, int] = field(default_factory=dict)
    """Import id: how many of its rows don't fit the layout."""
    misfits_by_reader: Counter[str] = field(default_factory=Counter)
    """The same for each reader."""


def read_pending(state: State, frames: Frames, mandator: str, settings: MandatorSettings) -> Pending:
    """Read what is pending by the layouts as they are configured now.

    Rows of a reader that isn't configured any more can't be read either: they are kept, and counted as misfits.

    Raises:
        LayoutError: nothing of a reader fits its layout, so the layout must be wrong, and nobody knows who left.
        FrameError: a kept file is gone.
    """
    pending = Pending()
    understood: Counter[str] = Counter()
    for fetched in state.feedback.pending(mandator):
        reader = settings.feedback.reader(fetched.reader)
        if reader is None:
            misfits = fetched.rows
        else:
            raw = frames.read_rows(fetched.file, fetched.digest)
            try:
                parsed = parse_feedback(raw, reader.layout(settings.zone), fetched.until)
            except LayoutError as error:
                raise LayoutError(f"{_place(mandator, fetched.reader)}: {error}") from None
            misfits = len(parsed.misfits)
            understood[fetched.reader] += len(parsed.rows)
            for row in parsed.rows:
                _take(pending, fetched, row, dated=reader.time is not None)
        pending.misfits[fetched.id] = misfits
        pending.misfits_by_reader[fetched.reader] += misfits
    for name, misfits in pending.misfits_by_reader.items():
        if misfits and not understood[name] and settings.feedback.reader(name):
            raise LayoutError(
                f"none of the {misfits} fetched rows fits {_place(mandator, name)}; set its columns and time_format as "
                f"agreed with the vendor, `campaign-sync feedback sample {mandator}` helps. The rows are kept and will "
                "be read again"
            )
    return pending


def _take(pending: Pending, fetched: FeedbackImport, row: FeedbackRow, *, dated: bool) -> None:
    raw = RawRow(fetched.id, row.position)
    if fetched.kind is FeedbackKind.UNSUBSCRIBES:
        left = Unsubscribe(row.address, row.occurred_at, fetched.mandator, UNSUBSCRIBE_SOURCE, raw=raw)
        pending.unsubscribes.append(left)
        if row.mailing_id is not None:
            pending.mailings[raw] = row.mailing_id
        return
    kind = bounce_kind(fetched.reader, row.category)
    if kind is None:
        pending.ignored += 1
        return
    pending.bounces.append(Bounce(row.address, row.occurred_at, fetched.mandator, BOUNCE_SOURCE, kind, dated, raw))


def _place(mandator: str, reader: str) -> str:
    return f"mandators.{mandator}.feedback.readers.{reader}"
