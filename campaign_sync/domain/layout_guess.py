"""Detection of the layout of a reader's rows, which isn't documented."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.event_time import EPOCH_SECONDS, SWAPPED_FORMATS, TIME_FORMATS, parse_event_time
from campaign_sync.domain.feedback_rows import TECHNICAL_COLUMNS, cell_texts

Rows = Sequence[Sequence[str | None]]

_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_MAILING_ID = re.compile(r"[0-9]{6,}")
_FILLING = re.compile(r"[\s_-]+")
_CATEGORIES = frozenset({"hardbounce", "softbounce", "autoresponder", "unknown"})
_MAILING_NAMES = frozenset({"mailing", "mailingid"})
_TECHNICAL_NAMES = {name: {name.replace("_", "")} for name in TECHNICAL_COLUMNS}
_RECORD_ID = re.compile(r"(?=.*[0-9])[A-Za-z0-9_{}.:-]{1,64}")


@dataclass(frozen=True)
class LayoutGuess:
    """The probable columns of a reader's rows; None if no column fits.

    Columns are names if the rows begin with a header of different names, else positions from 0.
    """

    recipient: int | str | None
    time: int | str | None
    category: int | str | None
    mailing: int | str | None
    header: bool
    time_format: str | None
    """`epoch_ms`, `iso` or a `strptime` pattern."""
    warnings: tuple[str, ...]
    """What should be verified, in sentences without personal data."""
    opt_in_id: int | str | None = None
    entity_type: int | str | None = None
    entity_id: int | str | None = None

    def position(self, column: int | str | None, rows: Rows) -> int | None:
        """Return the position of a column of this guess in the `rows` that it was made from."""
        return cell_texts(rows[0]).index(column) if isinstance(column, str) else column


def guess_layout(rows: Rows, opt_in_ids: Collection[str] = ()) -> LayoutGuess:
    """Guess the columns of a reader's rows. The majority of a column's cells decides.

    `opt_in_ids` of the mandator's lists identify the column of opt-ins, whatever its name is.
    """
    if not rows:
        return LayoutGuess(None, None, None, None, False, None, ("there are no rows",))
    width = max(map(len, rows))
    table = [cell_texts(row) + [""] * (width - len(row)) for row in rows]
    header = _has_header(table)
    names = table[0] if header else []
    body = [row for row in table if row != names]
    warnings = _header_warnings(table, names)
    columns = [[row[position] for row in body] for position in range(width)]

    recipient = _recipient_column(columns, warnings)
    mailing = _mailing_column(columns, names)
    category = next((position for position, column in enumerate(columns) if _mostly(is_category, column)), None)
    technical = _technical_fields(columns, names, opt_in_ids)
    time, time_format = _time_column(columns, {recipient, mailing, *technical.values()}, warnings)
    if "entity_type" in technical and "entity_id" not in technical:
        taken = {recipient, mailing, category, time, *technical.values()}
        technical |= _record_ids(columns, technical["entity_type"], taken, warnings)
    _warn_of_unparsed_rows(body, recipient, time, time_format, warnings)

    named = header and all(names) and len(set(names)) == width

    def column(position: int | None) -> int | str | None:
        return names[position] if named and position is not None else position

    return LayoutGuess(
        column(recipient),
        column(time),
        column(category),
        column(mailing),
        header,
        time_format,
        tuple(warnings),
        **{name: column(position) for name, position in technical.items()},
    )


def is_category(cell: str) -> bool:
    """Return whether a cell is a category of responses of the vendor, in any spelling."""
    return _FILLING.sub("", cell).casefold() in _CATEGORIES


def is_entity_type(cell: str) -> bool:
    """Return whether a cell is a kind of CRM record, in any case."""
    return cell.casefold() in list(EntityType)


def opt_in_matcher(opt_in_ids: Collection[str]) -> Callable[[str], bool]:
    """Return a function that says whether a cell is one of these opt-ins, in any case."""
    known = set(map(normalize_word, opt_in_ids))
    return lambda cell: normalize_word(cell) in known


def _technical_fields(columns: list[list[str]], names: list[str], opt_in_ids: Collection[str]) -> dict[str, int]:
    """Return the positions of technical fields, by the columns' names or else by their values."""
    positions = {
        field: position
        for position, name in enumerate(names)
        for field, spellings in _TECHNICAL_NAMES.items()
        if _FILLING.sub("", name).casefold() in spellings
    }
    for field, fits in (("opt_in_id", opt_in_matcher(opt_in_ids)), ("entity_type", is_entity_type)):
        fitting = (position for position, column in enumerate(columns) if _mostly(fits, column))
        if field not in positions and (position := next(fitting, None)) is not None:
            positions[field] = position
    return positions


def _record_ids(
    columns: list[list[str]], entity_type: int, taken: Collection[int | None], warnings: list[str]
) -> dict[str, int]:
    """Return the position of record ids, which look like any number and are next to the kinds of records."""
    for position in (entity_type + 1, entity_type - 1):
        free = 0 <= position < len(columns) and position not in taken
        if free and _mostly(_RECORD_ID.fullmatch, columns[position]):
            warnings.append(f"column {position} was taken for entity_id, being beside the entity types; compare it")
            return {"entity_id": position}
    return {}


def _is_time(cell: str) -> bool:
    return any(parse_event_time(cell, time_format) for time_format in (*TIME_FORMATS, EPOCH_SECONDS))


def _is_value(cell: str) -> bool:
    """Return whether a cell can't be a column name. A cell with an @ may be an address, even an invalid one."""
    return "@" in cell or bool(_NUMBER.fullmatch(cell)) or is_category(cell) or _is_time(cell)


def _mostly(fits: Callable[[str], object], column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell]
    return 2 * sum(bool(fits(cell)) for cell in filled) > len(filled)


def _has_header(table: list[list[str]]) -> bool:
    """Return whether the first row has names in most of the columns whose other cells are values."""
    first = table[0]
    if any(_is_value(cell) for cell in first):
        return False
    below = [row for row in table if row != first]
    valued = [name for name, *column in zip(first, *below, strict=True) if _mostly(_is_value, column)]
    return 2 * sum(map(bool, valued)) > len(valued)


def _header_warnings(table: list[list[str]], names: list[str]) -> list[str]:
    warnings = []
    if len(table) == 1 and not any(map(_is_value, table[0])):
        warnings.append("there is only one row, and one row doesn't show whether it is a header")
    if names and (not all(names) or len(set(names)) < len(names)):
        warnings.append("the header's names aren't all filled in and different, so columns are given by position")
    if names and table.count(names) > 1:
        warnings.append("the header comes again further down, where it will be taken for a row that doesn't fit")
    return warnings


def _recipient_column(columns: list[list[str]], warnings: list[str]) -> int | None:
    """Return the column with the most different addresses; another one may contain senders."""
    people = {
        position: len({usable_address(cell) for cell in column})
        for position, column in enumerate(columns)
        if _mostly(usable_address, column)
    }
    if not people:
        warnings.append("no column looks like addresses")
        return None
    chosen = max(people, key=lambda position: people[position])
    if len(people) > 1:
        warnings.append(f"{_columns(people)} hold addresses; column {chosen} was taken, having the most different ones")
    return chosen


def _mailing_column(columns: list[list[str]], names: list[str]) -> int | None:
    """Return the column of mailing ids, which only its name distinguishes from other ids."""
    for position, name in enumerate(names):
        if _FILLING.sub("", name).casefold() in _MAILING_NAMES and _mostly(_MAILING_ID.fullmatch, columns[position]):
            return position
    return None


@dataclass(frozen=True)
class _Times:
    """A column whose cells are times of one format."""

    position: int
    time_format: str
    matches: int
    """How many cells are such times."""
    spread: timedelta


def _time_column(
    columns: list[list[str]], taken: set[int | None], warnings: list[str]
) -> tuple[int | None, str | None]:
    candidates = [
        times
        for position, column in enumerate(columns)
        if position not in taken and (times := _as_times(position, column))
    ]
    if not candidates:
        warnings.append("no column looks like a time")
        return None, None
    # Events of mailings are within days; birthdays, sign-ups and numbers similar to times are scattered.
    most = max(times.matches for times in candidates)
    best = min(
        candidates,
        key=lambda times: (
            times.time_format == EPOCH_SECONDS,
            2 * times.matches < most,
            times.spread.days,
            times.time_format == "epoch_ms",
            times.position,
        ),
    )
    rivals = [times.position for times in candidates if times.time_format != EPOCH_SECONDS]
    if len(rivals) > 1:
        warnings.append(f"{_columns(rivals)} hold times; column {best.position} was taken, compare it with the others")
    return best.position, _unambiguous_format(best, columns[best.position], warnings)


def _as_times(position: int, column: list[str]) -> _Times | None:
    """Return the column in the format that most of its cells have, if these are the majority."""
    filled = [cell for cell in column if cell]
    best = None
    for time_format in (*TIME_FORMATS, EPOCH_SECONDS):
        matches = [time for cell in filled if (time := parse_event_time(cell, time_format))]
        if 2 * len(matches) > len(filled) and (best is None or len(matches) > best.matches):
            best = _Times(position, time_format, len(matches), max(matches) - min(matches))
    return best


def _unambiguous_format(times: _Times, column: list[str], warnings: list[str]) -> str | None:
    """Return the column's format; None if the product can't read it, or another format would give other days."""
    if times.time_format == EPOCH_SECONDS:
        warnings.append(
            f"column {times.position} looks like seconds since 1970, which can't be read; have the vendor write "
            "milliseconds"
        )
        return None
    other = SWAPPED_FORMATS.get(times.time_format)
    if other is None:
        return times.time_format
    matching, swapped = (
        {cell for cell in column if parse_event_time(cell, time_format)} for time_format in (times.time_format, other)
    )
    if swapped >= matching:
        warnings.append(
            f"the dates in column {times.position} don't show whether day or month comes first; time_format is "
            f"{times.time_format} or {other}"
        )
        return None
    if swapped - matching:
        warnings.append(f"some dates in column {times.position} have the day first, others the month")
        return None
    return times.time_format


def _warn_of_unparsed_rows(
    body: list[list[str]], recipient: int | None, time: int | None, time_format: str | None, warnings: list[str]
) -> None:
    if recipient is None or time is None or time_format is None:
        return
    unparsed = sum(not (usable_address(row[recipient]) and parse_event_time(row[time], time_format)) for row in body)
    if unparsed:
        warnings.append(
            f"{unparsed} of {len(body)} rows lack an address in column {recipient} or a time in column {time}"
        )


def _columns(positions: Sequence[int] | dict[int, int]) -> str:
    *others, last = map(str, positions)
    return f"columns {', '.join(others)} and {last}"
