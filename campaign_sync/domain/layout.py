"""Reads the vendor's feedback rows, whose columns are agreed between vendor and customer and documented nowhere."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import chain

from campaign_sync.domain.address import InvalidAddressError, normalize_address, usable_address

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A time before it isn't one of an event: the layout points at some other number."""

TOLERANCE = timedelta(days=2)
"""How far an event may lie after the end of its window; more, and its time can't be right. A date counts as the end of
its day, in whatever time zone."""

_A_SECOND = timedelta(seconds=1)

_USUAL_NAMES = ("mail", "recipient", "empfänger", "time", "zeit", "date", "datum", "created", "categor", "kategorie")
"""What the name of a column usually has in it, small."""

Column = int | str
Row = Sequence[str | None]


@dataclass(frozen=True)
class Layout:
    """Where a reader's rows hold what we need.

    Columns are positions from 0, or names where the rows have a header. `time` is None where a reader gives none,
    `category`, `mailing` and `link` where they aren't wanted. `header` None means that a header row is recognized by
    itself. `time_format` is `epoch_ms`, `iso` or a `strptime` pattern; times without a zone are in `zone`.
    """

    recipient: Column = 0
    time: Column | None = 1
    category: Column | None = None
    mailing: Column | None = None
    link: Column | None = None
    header: bool | None = None
    time_format: str = "epoch_ms"
    zone: tzinfo = UTC

    @property
    def columns(self) -> dict[str, Column]:
        """The columns that are wanted, by what they hold."""
        wanted = {
            "recipient": self.recipient,
            "time": self.time,
            "category": self.category,
            "mailing": self.mailing,
            "link": self.link,
        }
        return {name: column for name, column in wanted.items() if column is not None}


class LayoutError(ValueError):
    """A reader's rows don't have the columns that the layout names."""


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One parsed row: the recipient id as a normalized address, when it happened (UTC), and what else the row says."""

    address: str
    occurred_at: datetime
    category: str | None = None
    mailing_id: int | None = None
    link: str | None = None
    position: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Parsed:
    """The rows of one file: those understood, each once, and the positions (from 0) of those that weren't."""

    rows: tuple[FeedbackRow, ...]
    misfits: tuple[int, ...]
    without_address: Mapping[int, tuple[str, datetime]] = field(default_factory=dict)
    """Of the misfits, those that fit but for a recipient id that is no address: the id and the time, by position."""


def parse_feedback(rows: Iterable[Row], layout: Layout, until: datetime) -> Parsed:
    """Read raw rows by their layout. Rows that don't fit are named, never dropped; repeated rows count once.

    Args:
        rows: as the vendor gave them; gone through once. A file can be several export files in a row, each with its own
            header.
        layout: where the columns are.
        until: the end of the window. It stands in for times that the reader doesn't give, and no event can be later.

    Raises:
        LayoutError: the layout names a column by header, and the rows don't begin with a header that has it.
    """
    places: dict[str, int] | None = _positions(layout)
    read_time = _time_reader(layout, until)
    parsed: dict[FeedbackRow, None] = {}
    misfits = []
    without_address: dict[int, tuple[str, datetime]] = {}
    for position, row, header in _with_headers(rows, layout):
        if header is not None:
            places = _positions(layout, header)
            continue
        if places is None:
            raise LayoutError("columns are named, but there is no header row; name them by position")
        try:
            parsed.setdefault(_understood(row, places, read_time, position))
        except _NoAddressError as error:
            misfits.append(position)
            without_address[position] = (error.recipient_id, error.occurred_at)
        except (IndexError, InvalidAddressError, ValueError, OverflowError, OSError):
            misfits.append(position)
    return Parsed(tuple(parsed), tuple(misfits), without_address)


class _NoAddressError(Exception):
    """A row fits, but its recipient id is no address, and nothing else in it is one."""

    def __init__(self, recipient_id: str, occurred_at: datetime) -> None:
        super().__init__()
        self.recipient_id, self.occurred_at = recipient_id, occurred_at


def _understood(
    row: Row, places: Mapping[str, int], read_time: Callable[[str], datetime], position: int
) -> FeedbackRow:
    cells = {name: (row[place] or "").strip() for name, place in places.items()}
    occurred_at = read_time(cells.get("time", ""))
    address = usable_address(cells["recipient"])
    if address is None and cells["recipient"] and not any(map(usable_address, texts(row))):
        raise _NoAddressError(cells["recipient"], occurred_at)
    return FeedbackRow(
        address or normalize_address(cells["recipient"]),
        occurred_at,
        cells.get("category"),
        _number(cells.get("mailing")),
        cells.get("link"),
        position,
    )


def _number(text: str | None) -> int | None:
    """A mailing's id. Without one an unsubscribe counts all the same, for every list."""
    return int(text) if text and text.isascii() and text.isdigit() else None


def _with_headers(rows: Iterable[Row], layout: Layout) -> Iterator[tuple[int, Row, list[str] | None]]:
    """Every row with its position, and what its cells say where it is a header row."""
    rest = iter(rows)
    first = next(rest, None)
    if first is not None:
        header = _header_reader(first, layout)
        for position, row in enumerate(chain([first], rest)):
            yield position, row, header(row)


def _header_reader(first_row: Row, layout: Layout) -> Callable[[Row], list[str] | None]:
    """What tells the cells of a header row, and None for any other, judging by how the rows begin."""
    first = texts(first_row)
    named = {column for column in layout.columns.values() if isinstance(column, str)}
    if layout.header is False:
        return lambda _: None
    if named:
        if not named <= set(first):
            missing = ", ".join(repr(name) for name in sorted(named - set(first)))
            raise LayoutError(f"the header row has no column {missing}; it has {_shown(first)}")
        return lambda row: cells if named <= set(cells := texts(row)) else None
    # Whoever has an address in the recipient's column is no header, whatever the layout says.
    is_header = looks_like_a_header(first_row) if layout.header is None else "@" not in "".join(first)
    return (lambda row: first if texts(row) == first else None) if is_header else lambda _: None


def looks_like_a_header(row: Row) -> bool:
    """Whether a row has nothing but short names, and among them one that columns of feedback usually have."""
    cells = texts(row)
    names = bool(cells) and all(cell and "@" not in cell and len(cell) <= 40 for cell in cells)
    if not names or any(cell[0].isdigit() or cell[0] == "-" for cell in cells):
        return False
    return any(word in cell.casefold() for cell in cells for word in _USUAL_NAMES)


def _shown(header: Sequence[str]) -> str:
    """The names of a header row. Where there is none it is somebody's row, and nothing of it is shown."""
    return ", ".join(header) if looks_like_a_header(header) else f"{len(header)} columns and no names we know"


def texts(row: Row) -> list[str]:
    """The cells without surrounding blanks, empty where there is no value."""
    return [(cell or "").strip() for cell in row]


def _positions(layout: Layout, header: Sequence[str] = ()) -> dict[str, int] | None:
    """Where each wanted column is; None where that takes a header row."""
    if any(isinstance(column, str) and column not in header for column in layout.columns.values()):
        return None
    return {
        name: header.index(column) if isinstance(column, str) else column for name, column in layout.columns.items()
    }


def _time_reader(layout: Layout, until: datetime) -> Callable[[str], datetime]:
    if layout.time is None:
        return lambda _: until
    parse = _time_parser(layout)

    def read(text: str) -> datetime:
        moment = parse(text)
        if not EARLIEST <= moment <= until + TOLERANCE:
            raise ValueError("not the time of an event")
        return moment

    return read


def _time_parser(layout: Layout) -> Callable[[str], datetime]:
    if layout.time_format == "epoch_ms":
        return lambda text: datetime.fromtimestamp(int(text) / 1000, UTC)

    def latest(moment: datetime, precision: timedelta) -> datetime:
        """The last moment that a text can mean: somebody may have consented just before they left, that very day."""
        moment += precision - _A_SECOND
        if moment.tzinfo:
            return moment.astimezone(UTC)
        # In the hour that a clock shows twice, it is the later of the two.
        local = moment.replace(tzinfo=layout.zone)
        return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))

    if layout.time_format == "iso":
        return lambda text: latest(datetime.fromisoformat(text), _iso_precision(text))
    precision = _precision(layout.time_format)
    return lambda text: latest(datetime.strptime(text, layout.time_format), precision)  # noqa: DTZ007 - see latest()


def _precision(time_format: str) -> timedelta:
    """The shortest time that a strptime pattern tells apart."""
    if any(part in time_format for part in ("%S", "%T", "%X", "%c", "%s")):
        return _A_SECOND
    if any(part in time_format for part in ("%M", "%R")):
        return timedelta(minutes=1)
    return timedelta(hours=1) if any(part in time_format for part in ("%H", "%I")) else timedelta(days=1)


def _iso_precision(text: str) -> timedelta:
    clock = re.split(r"[T ]", text, maxsplit=1)[1:]
    if not clock:
        return timedelta(days=1)
    digits = re.sub(r"(Z|[+-][0-9:]+)$", "", clock[0]).replace(":", "")
    return _A_SECOND if len(digits) > 4 else timedelta(minutes=1) if len(digits) > 2 else timedelta(hours=1)
