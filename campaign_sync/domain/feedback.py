"""What the vendor tells us about people who can't or don't want to be written to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from campaign_sync.domain.address import InvalidAddressError, normalize_address


class FeedbackKind(StrEnum):
    """The two streams that must be in the CRM before anybody is selected."""

    BOUNCES = "bounces"
    UNSUBSCRIBES = "unsubscribes"


class BounceKind(StrEnum):
    """How final a bounce is."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True)
class Bounce:
    """An address that doesn't take mail. It belongs to the address, in every mandator."""

    address: str
    occurred_at: datetime
    mandator: str
    source: str
    kind: BounceKind = BounceKind.HARD


@dataclass(frozen=True)
class Unsubscribe:
    """Somebody left. It belongs to the consents of one mandator.

    `dated` tells whether `occurred_at` is when they left, or only when somebody saw that they had: then it says nothing
    new about those whom the vendor has reported before.
    """

    address: str
    occurred_at: datetime
    mandator: str
    source: str
    dated: bool = True


@dataclass(frozen=True)
class Layout:
    """Where a closed-loop reader's rows hold what we need; agreed between vendor and customer.

    `recipient` and `time` are column positions from 0, or column names where the rows begin with a header.
    `time_format` is `epoch_ms`, `iso` or a `strptime` pattern; times without a zone are in `zone`.
    """

    recipient: int | str = 0
    time: int | str = 1
    header: bool = False
    time_format: str = "epoch_ms"
    zone: tzinfo = UTC


class LayoutError(ValueError):
    """A reader's rows don't have the columns that the layout names."""


@dataclass(frozen=True)
class FeedbackRow:
    """One parsed row: the recipient id as a normalized address, and when it happened (UTC)."""

    address: str
    occurred_at: datetime


@dataclass(frozen=True)
class Parsed:
    """The rows of one window: those understood, and the positions (from 0) of those that weren't."""

    rows: tuple[FeedbackRow, ...]
    misfits: tuple[int, ...]


def parse_feedback(rows: Sequence[Sequence[str | None]], layout: Layout) -> Parsed:
    """Read raw reader rows by their layout. Rows that don't fit are named, never dropped; repeated rows count once.

    Raises:
        LayoutError: the layout names a column by header, and the header row lacks it.
    """
    body, offset = rows, 0
    recipient, time = layout.recipient, layout.time
    if layout.header and rows:
        header = [(name or "").strip() for name in rows[0]]
        recipient, time = (_position(header, column) for column in (recipient, time))
        body, offset = rows[1:], 1
    if isinstance(recipient, str) or isinstance(time, str):
        if rows:
            raise LayoutError("columns are named, but the layout says that there is no header row")
        return Parsed((), ())
    parse_time = _time_parser(layout)
    parsed: dict[FeedbackRow, None] = {}
    misfits = []
    for position, row in enumerate(body, start=offset):
        try:
            parsed[FeedbackRow(normalize_address(row[recipient] or ""), parse_time((row[time] or "").strip()))] = None
        except (IndexError, InvalidAddressError, ValueError, OverflowError, OSError):
            misfits.append(position)
    return Parsed(tuple(parsed), tuple(misfits))


def _position(header: list[str], column: int | str) -> int:
    if isinstance(column, int):
        return column
    if column not in header:
        raise LayoutError(f"the header row has no column {column!r}; it has {', '.join(header)}")
    return header.index(column)


def _time_parser(layout: Layout) -> Callable[[str], datetime]:
    if layout.time_format == "epoch_ms":
        return lambda text: datetime.fromtimestamp(int(text) / 1000, UTC)

    def zoned(moment: datetime) -> datetime:
        return (moment if moment.tzinfo else moment.replace(tzinfo=layout.zone)).astimezone(UTC)

    if layout.time_format == "iso":
        return lambda text: zoned(datetime.fromisoformat(text))
    return lambda text: zoned(datetime.strptime(text, layout.time_format))  # noqa: DTZ007 - zoned() adds the zone
