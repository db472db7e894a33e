"""Parsing of the vendor's feedback rows. Vendor and customer agree on the columns, which aren't documented."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from campaign_sync.domain.address import InvalidAddressError, former_recipient_id, normalize_address, usable_address
from campaign_sync.domain.text import normalize_text
from campaign_sync.domain.time_pattern import precision
from campaign_sync.errors import CampaignSyncError

EARLIEST_EVENT = datetime(2000, 1, 1, tzinfo=UTC)
"""The earliest possible time of an event; an earlier one is another number that the layout mistakes for a time."""

WINDOW_TOLERANCE = timedelta(days=2)
"""How far an event may lie after the end of its window. This covers dates, which count as the end of their day, in any
time zone."""

_A_SECOND = timedelta(seconds=1)

LARGEST_ID = 2**63 - 1
"""The largest id that the vendor can assign."""

_MOST_DIGITS = 30
"""More digits than any id has. Python refuses to parse very long numbers."""

_BYTE_ORDER_MARK = "\ufeff"

_REMEMBERED_ADDRESSES = 10_000
"""The same people appear in many rows."""

_USUAL_NAMES = ("mail", "recipient", "empfänger", "time", "zeit", "date", "datum", "created", "categor", "kategorie")
"""Parts of usual column names, in lower case."""

TECHNICAL_COLUMNS = ("opt_in_id", "entity_type", "entity_id")
"""Technical fields of a recipient list that feedback rows can contain, as attributes of `Layout` and `FeedbackRow`."""

Column = int | str
Row = Sequence[str | None]


@dataclass(frozen=True)
class Layout:
    """The columns of a reader's rows.

    Columns are positions from 0, or names if the rows have a header. `time` is None if the reader returns no times,
    `category`, `mailing` and `link` if they aren't needed. `opt_in_id`, `entity_type` and `entity_id` are list fields
    that the vendor may add by agreement; single rows or whole files may lack them. With `header` None, a header row is
    recognized automatically. `time_format` is `epoch_ms`, `iso` or a `strptime` pattern; times without a zone are in
    `zone`.
    """

    recipient: Column = 0
    time: Column | None = 1
    category: Column | None = None
    mailing: Column | None = None
    link: Column | None = None
    header: bool | None = None
    time_format: str = "epoch_ms"
    zone: tzinfo = UTC
    opt_in_id: Column | None = None
    entity_type: Column | None = None
    entity_id: Column | None = None

    @property
    def columns(self) -> dict[str, Column]:
        """All columns, by attribute."""
        return self.required_columns | self.technical_columns

    @property
    def required_columns(self) -> dict[str, Column]:
        """The columns that every row must have, by attribute."""
        names = ("recipient", "time", "category", "mailing", "link")
        return {name: column for name in names if (column := getattr(self, name)) is not None}

    @property
    def technical_columns(self) -> dict[str, Column]:
        """The columns with technical fields, which rows may lack, by attribute."""
        return {name: column for name in TECHNICAL_COLUMNS if (column := getattr(self, name)) is not None}


class LayoutError(CampaignSyncError, ValueError):
    """No row of a reader fits its layout, so the layout is wrong."""


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """A parsed row: the recipient id as a normalized address, the time of the event (UTC), and further columns.

    Technical fields are None if they are empty. The CRM may not know the opt-in or record that they name.
    """

    address: str
    occurred_at: datetime
    category: str | None = None
    mailing_id: int | None = None
    link: str | None = None
    opt_in_id: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    position: int = field(default=0, compare=False)


@dataclass(frozen=True)
class ParsedFeedback:
    """The parsed rows of a file without repetitions, and the positions (from 0) of the rows that couldn't be parsed."""

    rows: tuple[FeedbackRow, ...]
    unparsed: tuple[int, ...]
    header_problem: str | None = None
    """Why named columns weren't found for a part of the rows; None if they were. It has no personal data."""
    has_columns: bool = False
    """Whether a header row has all named columns. So even a file without rows shows that the layout fits."""
    without_address: Mapping[int, tuple[str, datetime]] = field(default_factory=dict)
    """Recipient id and time, by position, of the unparsed rows whose only flaw is an id that is no address."""


def parse_rows(rows: Iterable[Row], layout: Layout, until: datetime) -> ParsedFeedback:
    """Parse raw rows by their layout. Rows that don't fit are returned by position; repeated rows count once.

    With named columns, rows fit only below a header row with these names.

    Args:
        rows: the vendor's rows; iterated once. A file can consist of several export files, each with its own header.
        layout: the columns of the rows.
        until: the end of the window, which no event is after. It is the time of all events if the layout has no times.
    """
    headers = _Headers(layout)
    read_time, address_of = _time_reader(layout, until), lru_cache(_REMEMBERED_ADDRESSES)(_address)
    places, parse = None, None
    parsed: dict[FeedbackRow, None] = {}
    unparsed = []
    without_address: dict[int, tuple[str, datetime]] = {}
    for position, row in enumerate(rows):
        if headers.accept(row):
            continue
        if headers.places is not places:
            places = headers.places
            parse = _RowParser(places, read_time, address_of) if places else None
        if parse is None:
            unparsed.append(position)
            continue
        try:
            parsed.setdefault(parse.parse(row, position))
        except _NoAddressError as error:
            unparsed.append(position)
            without_address[position] = (error.recipient_id, error.occurred_at)
        except (IndexError, InvalidAddressError, ValueError, OverflowError, OSError):
            unparsed.append(position)
    return ParsedFeedback(tuple(parsed), tuple(unparsed), headers.header_problem, headers.complete, without_address)


class _NoAddressError(CampaignSyncError):
    """The recipient id of a row is no address, and neither is any other cell of it."""

    def __init__(self, recipient_id: str, occurred_at: datetime) -> None:
        super().__init__()
        self.recipient_id, self.occurred_at = recipient_id, occurred_at


class _RowParser:
    """Parses the rows below a header.

    Args:
        places: the position of each column.
        read_time: returns the time in a text.
        address_of: returns the recipient id in a text.
    """

    def __init__(
        self,
        places: Mapping[str, int],
        read_time: Callable[[str], datetime],
        address_of: Callable[[str], str | None],
    ) -> None:
        self._recipient, self._read_time, self._address_of = places["recipient"], read_time, address_of
        self._time, self._category, self._mailing, self._link = map(places.get, ("time", "category", "mailing", "link"))
        self._technical = {name: places[name] for name in TECHNICAL_COLUMNS if name in places}

    def parse(self, row: Row, position: int) -> FeedbackRow:
        """Return what a row says. Raise ValueError or IndexError for one that doesn't fit."""
        recipient, occurred_at, category, mailing, link = (
            None if place is None else _text(row[place])
            for place in (self._recipient, self._time, self._category, self._mailing, self._link)
        )
        moment, address = self._read_time(occurred_at or ""), self._address_of(recipient or "")
        if address is None and recipient and not any(map(usable_address, cell_texts(row))):
            raise _NoAddressError(recipient, moment)
        technical = {
            name: normalize_text(row[place] or "") or None
            for name, place in self._technical.items()
            if place < len(row)
        }
        return FeedbackRow(
            address or normalize_address(recipient or ""),
            moment,
            category,
            _number(mailing),
            link,
            **technical,
            position=position,
        )


def _address(recipient: str) -> str | None:
    return usable_address(recipient) or former_recipient_id(recipient)


def _number(text: str | None) -> int | None:
    """Return the id of a mailing. An unsubscribe without one applies to every list."""
    return int(text) if text and len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() else None


def column_names(rows: Iterable[Row], layout: Layout) -> list[str | None]:
    """Return the names of the columns of these rows, from their header, else from the layout; None if unknown."""
    first = next(iter(rows), None)
    if first is not None and _Headers(layout).accept(first):
        return [name or None for name in cell_texts(first)]
    if first is None and any(isinstance(column, str) for column in layout.columns.values()):
        return [str(column) for column in layout.columns.values()]
    places = {column: name for name, column in layout.columns.items() if isinstance(column, int)}
    return [places.get(position) for position in range(max(places, default=-1) + 1)]


def read_positions(rows: Iterable[Row], layout: Layout) -> frozenset[int]:
    """Return the positions of all columns that are read in any of the rows; none where no header row fits."""
    headers = _Headers(layout)
    positions = set((headers.places or {}).values())
    for row in rows:
        if headers.accept(row):
            positions |= set((headers.places or {}).values())
    return frozenset(positions)


class _Headers:
    """Recognizes header rows, and keeps the positions of the columns of the rows below them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._named = {column for column in layout.required_columns.values() if isinstance(column, str)}
        self._technical = {column for column in layout.technical_columns.values() if isinstance(column, str)}
        self._first: list[str] | None = None
        self._first_is_header = False
        self.places = None if self._named else _positions(layout, {})
        """The position of each column; None if these come from a header row and none has fitted so far."""
        self.header_problem: str | None = None
        self.complete = False

    def accept(self, row: Row) -> bool:
        """Return whether this is a header row. If so, its columns apply from now on, or none if it lacks any."""
        if self._layout.header is False:
            return False
        return self._accept_names(row) if self._named else self._accept_by_position(row)

    def _accept_names(self, row: Row) -> bool:
        if any("@" in cell for cell in row if cell):  # a data row, as nearly all rows are
            self._report(f"there is no header row with {_quoted(self._named)} before its rows")
            return False
        names = cell_texts(row)
        positions, problem = _find(self._named, names)
        if problem is None:
            self.places, self.complete = self._positions(names, positions), True
            return True
        if positions and looks_like_a_header(row):
            self.places = None  # below another header the columns may be anywhere
        self._report(f"{problem}; it has {_shown(names)}")
        return False

    def _report(self, header_problem: str) -> None:
        if self.places is None:
            self.header_problem = self.header_problem or header_problem

    def _accept_by_position(self, row: Row) -> bool:
        """Return whether a row is a header if columns are positions: the first row may be one, and its repetitions."""
        if self._first is not None:
            return self._first_is_header and cell_texts(row) == self._first
        self._first = cells = cell_texts(row)
        # A row with an address in the recipient column is no header, whatever the layout says.
        is_header = looks_like_a_header(row) if self._layout.header is None else "@" not in "".join(cells)
        self._first_is_header = is_header or not self._technical.isdisjoint(cells)
        if self._first_is_header:
            self.places = self._positions(cells, {})
        return self._first_is_header

    def _positions(self, header: Sequence[str], required: Mapping[str, int]) -> dict[str, int]:
        """Return the position of each column: the required ones, and the technical fields that the header has once."""
        technical, _ = _find(self._technical, header)
        return _positions(self._layout, {**technical, **required})


def _find(named: Iterable[str], header: Sequence[str]) -> tuple[dict[str, int], str | None]:
    """Return the position of each name in a header row, and what is wrong with it. An exact spelling has precedence."""
    spelled_alike = [_spelling(name) for name in header]
    positions: dict[str, int] = {}
    missing: list[str] = []
    repeated: list[str] = []
    for name in named:
        exact = [position for position, cell in enumerate(header) if cell == name.strip()]
        alike = exact or [position for position, cell in enumerate(spelled_alike) if cell == _spelling(name)]
        if len(alike) == 1:
            positions[name] = alike[0]
        else:
            (repeated if alike else missing).append(name)
    if missing:
        return positions, f"the header row has no column {_quoted(missing)}"
    return positions, f"the header row has the column {_quoted(repeated)} more than once" if repeated else None


def _spelling(name: str) -> str:
    """Return a name regardless of case, blanks and decomposed letters."""
    return " ".join(unicodedata.normalize("NFC", name.casefold()).split())


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def looks_like_a_header(row: Row) -> bool:
    """Return whether a row has only short names, at least one of which is usual for columns of feedback."""
    cells = cell_texts(row)
    names = bool(cells) and all(cell and "@" not in cell and len(cell) <= 40 for cell in cells)
    if not names or any(cell[0].isdigit() or cell[0] == "-" for cell in cells):
        return False
    return any(word in cell.casefold() for cell in cells for word in _USUAL_NAMES)


def _shown(header: Sequence[str]) -> str:
    """Return the names of a header row, or the number of columns if it may be a data row with personal data."""
    return ", ".join(header) if looks_like_a_header(header) else f"{len(header)} columns and no known names"


def cell_texts(row: Row) -> list[str]:
    """Return the cells without surrounding blanks and byte order marks; missing values become empty."""
    return [_text(cell) for cell in row]


def _text(cell: str | None) -> str:
    text = (cell or "").strip()
    # In concatenated files, the mark of the second one is in the middle.
    return text.strip(_BYTE_ORDER_MARK).strip() if _BYTE_ORDER_MARK in text else text


def _positions(layout: Layout, by_name: Mapping[str, int]) -> dict[str, int]:
    """Return the position of each column; `by_name` has those of named columns. Technical fields may be missing."""
    return {
        name: by_name[column] if isinstance(column, str) else column
        for name, column in layout.columns.items()
        if isinstance(column, int) or name not in TECHNICAL_COLUMNS or column in by_name
    }


def _time_reader(layout: Layout, until: datetime) -> Callable[[str], datetime]:
    if layout.time is None:
        return lambda _: until
    parse = _time_parser(layout)

    def read(text: str) -> datetime:
        moment = parse(text)
        if not EARLIEST_EVENT <= moment <= until + WINDOW_TOLERANCE:
            raise ValueError("not the time of an event")
        return moment

    return read


def _time_parser(layout: Layout) -> Callable[[str], datetime]:
    if layout.time_format == "epoch_ms":
        return lambda text: datetime.fromtimestamp(int(text) / 1000, UTC)

    def latest(moment: datetime, shortest: timedelta) -> datetime:
        """Return the last moment that a text can mean, as a consent may have been given earlier on the same day."""
        moment += shortest - _A_SECOND
        if moment.tzinfo:
            return moment.astimezone(UTC)
        # In the hour that a clock shows twice, the later moment counts.
        local = moment.replace(tzinfo=layout.zone)
        return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))

    if layout.time_format == "iso":
        return lambda text: latest(datetime.fromisoformat(text), _iso_precision(text))
    shortest = precision(layout.time_format)
    return lambda text: latest(datetime.strptime(text, layout.time_format), shortest)  # noqa: DTZ007 - see latest()


def _iso_precision(text: str) -> timedelta:
    clock = re.split(r"[T ]", text, maxsplit=1)[1:]
    if not clock:
        return timedelta(days=1)
    digits = re.sub(r"(Z|[+-][0-9:]+)$", "", clock[0]).replace(":", "")
    return _A_SECOND if len(digits) > 4 else timedelta(minutes=1) if len(digits) > 2 else timedelta(hours=1)
