"""Reads the vendor's feedback rows, whose columns are agreed between vendor and customer and documented nowhere."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from campaign_sync.domain.address import InvalidAddressError, former_recipient_id, normalize_address, usable_address
from campaign_sync.domain.text import normalize_text
from campaign_sync.domain.time_pattern import precision
from campaign_sync.errors import CampaignSyncError

EARLIEST_EVENT = datetime(2000, 1, 1, tzinfo=UTC)
"""A time before it isn't one of an event: the layout points at some other number."""

WINDOW_TOLERANCE = timedelta(days=2)
"""How far an event may lie after the end of its window; more, and its time can't be right. A date counts as the end of
its day, in whatever time zone."""

_A_SECOND = timedelta(seconds=1)

LARGEST_ID = 2**63 - 1
"""The largest number that an id of the vendor's can be."""

_MOST_DIGITS = 30
"""More than any id has; of very long ones Python refuses to make a number."""

_BYTE_ORDER_MARK = "\ufeff"

_USUAL_NAMES = ("mail", "recipient", "empfänger", "time", "zeit", "date", "datum", "created", "categor", "kategorie")
"""What the name of a column usually has in it, small."""

TECHNICAL_COLUMNS = ("opt_in_id", "entity_type", "entity_id")
"""Technical fields of a recipient list that can come back with a response, as names of `Layout` and `FeedbackRow`."""

Column = int | str
Row = Sequence[str | None]


@dataclass(frozen=True)
class Layout:
    """Where a reader's rows hold what we need.

    Columns are positions from 0, or names where the rows have a header. `time` is None where a reader gives none,
    `category`, `mailing` and `link` where they aren't wanted. `opt_in_id`, `entity_type` and `entity_id` are list
    fields that the vendor may add to the rows by agreement; a row, or a whole file, may lack them. `header` None means
    that a header row is recognized by itself. `time_format` is `epoch_ms`, `iso` or a `strptime` pattern; times
    without a zone are in `zone`.
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
        """The columns that are wanted, by what they hold."""
        return self.required_columns | self.technical_columns

    @property
    def required_columns(self) -> dict[str, Column]:
        """Those that every row must have."""
        names = ("recipient", "time", "category", "mailing", "link")
        return {name: column for name in names if (column := getattr(self, name)) is not None}

    @property
    def technical_columns(self) -> dict[str, Column]:
        """Those with technical fields of the recipient list; rows may lack them."""
        return {name: column for name in TECHNICAL_COLUMNS if (column := getattr(self, name)) is not None}


class LayoutError(CampaignSyncError, ValueError):
    """Nothing that a reader gave fits its layout, so the layout must be another one."""


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One parsed row: the recipient id as a normalized address, when it happened (UTC), and what else the row says.

    The technical fields are None where the row has nothing in them; whether the CRM knows what they name is another
    question.
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
class ParsedRows:
    """The rows of one file: those understood, each once, and the positions (from 0) of those that weren't."""

    rows: tuple[FeedbackRow, ...]
    unparsed: tuple[int, ...]
    header_problem: str | None = None
    """Why columns that are named weren't found for some of the rows; None where they were. Nobody's data."""
    has_columns: bool = False
    """Whether a header row has every column that is named. So a file without rows shows that the layout fits."""
    without_address: Mapping[int, tuple[str, datetime]] = field(default_factory=dict)
    """Of the unparsed, those that fit but for a recipient id that is no address: the id and the time, by position."""


def parse_rows(rows: Iterable[Row], layout: Layout, until: datetime) -> ParsedRows:
    """Read raw rows by their layout. Rows that don't fit are named, never dropped; repeated rows count once.

    Where columns are named, rows that no header row with these names comes before don't fit.

    Args:
        rows: as the vendor gave them; gone through once. A file can be several export files in a row, each with its own
            header.
        layout: where the columns are.
        until: the end of the window. It stands in for times that the reader doesn't give, and no event can be later.
    """
    headers = _Headers(layout)
    read_time = _time_reader(layout, until)
    parsed: dict[FeedbackRow, None] = {}
    unparsed = []
    without_address: dict[int, tuple[str, datetime]] = {}
    for position, row in enumerate(rows):
        if headers.take(row):
            continue
        if headers.places is None:
            unparsed.append(position)
            continue
        try:
            parsed.setdefault(_understood(row, headers.places, read_time, position))
        except _NoAddressError as error:
            unparsed.append(position)
            without_address[position] = (error.recipient_id, error.occurred_at)
        except (IndexError, InvalidAddressError, ValueError, OverflowError, OSError):
            unparsed.append(position)
    return ParsedRows(tuple(parsed), tuple(unparsed), headers.header_problem, headers.complete, without_address)


class _NoAddressError(CampaignSyncError):
    """A row fits, but its recipient id is no address, and nothing else in it is one."""

    def __init__(self, recipient_id: str, occurred_at: datetime) -> None:
        super().__init__()
        self.recipient_id, self.occurred_at = recipient_id, occurred_at


def _understood(
    row: Row, places: Mapping[str, int], read_time: Callable[[str], datetime], position: int
) -> FeedbackRow:
    technical = {name: places[name] for name in TECHNICAL_COLUMNS if name in places}
    cells = {name: _text(row[place]) for name, place in places.items() if name not in technical}
    occurred_at = read_time(cells.get("time", ""))
    address = usable_address(cells["recipient"]) or former_recipient_id(cells["recipient"])
    if address is None and cells["recipient"] and not any(map(usable_address, cell_texts(row))):
        raise _NoAddressError(cells["recipient"], occurred_at)
    return FeedbackRow(
        address or normalize_address(cells["recipient"]),
        occurred_at,
        cells.get("category"),
        _number(cells.get("mailing")),
        cells.get("link"),
        **{name: normalize_text(row[place] or "") or None for name, place in technical.items() if place < len(row)},
        position=position,
    )


def _number(text: str | None) -> int | None:
    """A mailing's id. Without one an unsubscribe counts all the same, for every list."""
    return int(text) if text and len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() else None


def column_names(rows: Iterable[Row], layout: Layout) -> list[str | None]:
    """What the columns of these rows are called, as far as anybody knows: by their header, else by the layout."""
    first = next(iter(rows), None)
    if first is not None and _Headers(layout).take(first):
        return [name or None for name in cell_texts(first)]
    if first is None and any(isinstance(column, str) for column in layout.columns.values()):
        return [str(column) for column in layout.columns.values()]
    places = {column: name for name, column in layout.columns.items() if isinstance(column, int)}
    return [places.get(position) for position in range(max(places, default=-1) + 1)]


class _Headers:
    """Tells header rows from the others, and knows where the columns of the rows below them are."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._named = {column for column in layout.required_columns.values() if isinstance(column, str)}
        self._technical = {column for column in layout.technical_columns.values() if isinstance(column, str)}
        self._first: list[str] | None = None
        self._first_is_header = False
        self.places = None if self._named else _positions(layout, {})
        """Where each wanted column is; None where that takes a header row, and none has come or fits."""
        self.header_problem: str | None = None
        self.complete = False

    def take(self, row: Row) -> bool:
        """Whether it is a header row. From then on its columns hold, or none where it lacks some."""
        if self._layout.header is False:
            return False
        return self._take_names(row) if self._named else self._takes_as_before(row)

    def _take_names(self, row: Row) -> bool:
        if any("@" in cell for cell in row if cell):  # somebody's row, and nearly every row is
            self._miss(f"there is no header row with {_quoted(self._named)} before its rows")
            return False
        names = cell_texts(row)
        found, problem = _find(self._named, names)
        if problem is None:
            self.places, self.complete = self._positions(names, found), True
            return True
        if found and looks_like_a_header(row):
            self.places = None  # below another header the columns may be anywhere
        self._miss(f"{problem}; it has {_shown(names)}")
        return False

    def _miss(self, header_problem: str) -> None:
        if self.places is None:
            self.header_problem = self.header_problem or header_problem

    def _takes_as_before(self, row: Row) -> bool:
        """Where columns are positions, a header is the first row, and whatever looks just like it further down."""
        cells = cell_texts(row)
        if self._first is None:
            self._first = cells
            # Whoever has an address in the recipient's column is no header, whatever the layout says.
            is_header = looks_like_a_header(row) if self._layout.header is None else "@" not in "".join(cells)
            self._first_is_header = is_header or not self._technical.isdisjoint(cells)
            if self._first_is_header:
                self.places = self._positions(cells, {})
        return self._first_is_header and cells == self._first

    def _positions(self, header: Sequence[str], found: Mapping[str, int]) -> dict[str, int]:
        """Where each wanted column is: the required ones, and those technical fields that the header has once."""
        technical, _ = _find(self._technical, header)
        return _positions(self._layout, {**technical, **found})


def _find(named: Iterable[str], header: Sequence[str]) -> tuple[dict[str, int], str | None]:
    """Where each name is in a header row, and what is wrong with it. Exact spelling comes before another case."""
    spelled_alike = [_spelling(name) for name in header]
    found: dict[str, int] = {}
    missing: list[str] = []
    repeated: list[str] = []
    for name in named:
        exact = [position for position, cell in enumerate(header) if cell == name.strip()]
        alike = exact or [position for position, cell in enumerate(spelled_alike) if cell == _spelling(name)]
        if len(alike) == 1:
            found[name] = alike[0]
        else:
            (repeated if alike else missing).append(name)
    if missing:
        return found, f"the header row has no column {_quoted(missing)}"
    return found, f"the header row has the column {_quoted(repeated)} more than once" if repeated else None


def _spelling(name: str) -> str:
    """The name without what clients write differently: case, blanks, decomposed letters."""
    return " ".join(unicodedata.normalize("NFC", name.casefold()).split())


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def looks_like_a_header(row: Row) -> bool:
    """Whether a row has nothing but short names, and among them one that columns of feedback usually have."""
    cells = cell_texts(row)
    names = bool(cells) and all(cell and "@" not in cell and len(cell) <= 40 for cell in cells)
    if not names or any(cell[0].isdigit() or cell[0] == "-" for cell in cells):
        return False
    return any(word in cell.casefold() for cell in cells for word in _USUAL_NAMES)


def _shown(header: Sequence[str]) -> str:
    """The names of a header row. Where there is none it is somebody's row, and nothing of it is shown."""
    return ", ".join(header) if looks_like_a_header(header) else f"{len(header)} columns and no names we know"


def cell_texts(row: Row) -> list[str]:
    """The cells without surrounding blanks and byte order marks, empty where there is no value."""
    return [_text(cell) for cell in row]


def _text(cell: str | None) -> str:
    text = (cell or "").strip()
    # Where files are joined, the mark of the second one comes to stand in the middle.
    return text.strip(_BYTE_ORDER_MARK).strip() if _BYTE_ORDER_MARK in text else text


def _positions(layout: Layout, found: Mapping[str, int]) -> dict[str, int]:
    """Where each wanted column is, `found` being the places of those that are named. Technical fields may lack."""
    return {
        name: found[column] if isinstance(column, str) else column
        for name, column in layout.columns.items()
        if isinstance(column, int) or name not in TECHNICAL_COLUMNS or column in found
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
        """The last moment that a text can mean: somebody may have consented just before they left, that very day."""
        moment += shortest - _A_SECOND
        if moment.tzinfo:
            return moment.astimezone(UTC)
        # In the hour that a clock shows twice, it is the later of the two.
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
