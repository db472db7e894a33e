"""Guesses from a reader's rows how they are laid out, for nobody documents it."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.event_time import EPOCH_SECONDS, SWAPPED_FORMATS, TIME_FORMATS, parse_event_time
from campaign_sync.domain.layout import TECHNICAL_COLUMNS, cell_texts

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
    """Where a reader's rows probably hold what we need; None for what no column looks like.

    Columns are names where the rows begin with a header of different names, else positions from 0.
    """

    recipient: int | str | None
    time: int | str | None
    category: int | str | None
    mailing: int | str | None
    header: bool
    time_format: str | None
    """`epoch_ms`, `iso` or a `strptime` pattern."""
    warnings: tuple[str, ...]
    """What somebody should look at, in sentences without anybody's data."""
    opt_in_id: int | str | None = None
    entity_type: int | str | None = None
    entity_id: int | str | None = None

    def position(self, column: int | str | None, rows: Rows) -> int | None:
        """Where in `rows`, the ones that were guessed at, a column of this guess stands."""
        return cell_texts(rows[0]).index(column) if isinstance(column, str) else column


def guess_layout(rows: Rows, opt_in_ids: Collection[str] = ()) -> LayoutGuess:
    """What the columns of a reader's rows look like. Cells that don't fit are outvoted by the others.

    By `opt_in_ids`, those of the mandator's lists, a column of opt-ins is recognized whatever it is called.
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

    recipient = _recipient(columns, warnings)
    mailing = _mailing(columns, names)
    category = next((position for position, column in enumerate(columns) if _mostly(is_category, column)), None)
    technical = _technical(columns, names, opt_in_ids)
    time, time_format = _time(columns, {recipient, mailing, *technical.values()}, warnings)
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
    """Whether the cell is the vendor's word for the kind of a response, in any spelling."""
    return _FILLING.sub("", cell).casefold() in _CATEGORIES


def is_entity_type(cell: str) -> bool:
    """Whether the cell names a kind of CRM record, in any case."""
    return cell.casefold() in list(EntityType)


def opt_in_matcher(opt_in_ids: Collection[str]) -> Callable[[str], bool]:
    """Tells whether a cell is one of these opt-ins, in any case."""
    known = set(map(normalize_word, opt_in_ids))
    return lambda cell: normalize_word(cell) in known


def _technical(columns: list[list[str]], names: list[str], opt_in_ids: Collection[str]) -> dict[str, int]:
    """Where technical fields of the list are, by their names, or else by what only they hold."""
    found = {
        field: position
        for position, name in enumerate(names)
        for field, spellings in _TECHNICAL_NAMES.items()
        if _FILLING.sub("", name).casefold() in spellings
    }
    for field, fits in (("opt_in_id", opt_in_matcher(opt_in_ids)), ("entity_type", is_entity_type)):
        fitting = (position for position, column in enumerate(columns) if _mostly(fits, column))
        if field not in found and (position := next(fitting, None)) is not None:
            found[field] = position
    return found


def _record_ids(
    columns: list[list[str]], entity_type: int, taken: Collection[int | None], warnings: list[str]
) -> dict[str, int]:
    """Ids look like any other number; those of records come right beside their kind."""
    for position in (entity_type + 1, entity_type - 1):
        free = 0 <= position < len(columns) and position not in taken
        if free and _mostly(_RECORD_ID.fullmatch, columns[position]):
            warnings.append(f"column {position} was taken for entity_id, being beside the entity types; compare it")
            return {"entity_id": position}
    return {}


def _is_time(cell: str) -> bool:
    return any(parse_event_time(cell, time_format) for time_format in (*TIME_FORMATS, EPOCH_SECONDS))


def _is_value(cell: str) -> bool:
    """Whether this can't be the name of a column. With an @ it can be a person, though not a good address."""
    return "@" in cell or bool(_NUMBER.fullmatch(cell)) or is_category(cell) or _is_time(cell)


def _mostly(fits: Callable[[str], object], column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell]
    return 2 * sum(bool(fits(cell)) for cell in filled) > len(filled)


def _has_header(table: list[list[str]]) -> bool:
    """Whether the first row has words where the others have values: in most of those columns, lest people be names."""
    first = table[0]
    if any(_is_value(cell) for cell in first):
        return False
    below = [row for row in table if row != first]
    valued = [name for name, *column in zip(first, *below, strict=True) if _mostly(_is_value, column)]
    return 2 * sum(map(bool, valued)) > len(valued)


def _header_warnings(table: list[list[str]], names: list[str]) -> list[str]:
    warnings = []
    if len(table) == 1 and not any(map(_is_value, table[0])):
        warnings.append("there is only one row, and one row doesn't tell whether it is a header")
    if names and (not all(names) or len(set(names)) < len(names)):
        warnings.append("the header's names aren't all filled in and different, so columns are given by position")
    if names and table.count(names) > 1:
        warnings.append("the header comes again further down, where it will be taken for a row that doesn't fit")
    return warnings


def _recipient(columns: list[list[str]], warnings: list[str]) -> int | None:
    """The column with the most people; there may be one with senders beside it."""
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


def _mailing(columns: list[list[str]], names: list[str]) -> int | None:
    """Only a name tells ids of mailings from other ids."""
    for position, name in enumerate(names):
        if _FILLING.sub("", name).casefold() in _MAILING_NAMES and _mostly(_MAILING_ID.fullmatch, columns[position]):
            return position
    return None


@dataclass(frozen=True)
class _Times:
    """A column that can be read as times in one format."""

    position: int
    time_format: str
    told: int
    spread: timedelta


def _time(columns: list[list[str]], taken: set[int | None], warnings: list[str]) -> tuple[int | None, str | None]:
    found = [
        times
        for position, column in enumerate(columns)
        if position not in taken and (times := _as_times(position, column))
    ]
    if not found:
        warnings.append("no column looks like a time")
        return None, None
    # What happened to mailings lies within days; birthdays, sign-ups and numbers that look like times are scattered.
    most = max(times.told for times in found)
    best = min(
        found,
        key=lambda times: (
            times.time_format == EPOCH_SECONDS,
            2 * times.told < most,
            times.spread.days,
            times.time_format == "epoch_ms",
            times.position,
        ),
    )
    rivals = [times.position for times in found if times.time_format != EPOCH_SECONDS]
    if len(rivals) > 1:
        warnings.append(f"{_columns(rivals)} hold times; column {best.position} was taken, compare it with the others")
    return best.position, _certain(best, columns[best.position], warnings)


def _as_times(position: int, column: list[str]) -> _Times | None:
    """The column in the format that tells most of its cells, if those are the majority."""
    filled = [cell for cell in column if cell]
    best = None
    for time_format in (*TIME_FORMATS, EPOCH_SECONDS):
        told = [found for cell in filled if (found := parse_event_time(cell, time_format))]
        if 2 * len(told) > len(filled) and (best is None or len(told) > best.told):
            best = _Times(position, time_format, len(told), max(told) - min(told))
    return best


def _certain(times: _Times, column: list[str], warnings: list[str]) -> str | None:
    """The column's format, unless the product can't read it or another one would give other days."""
    if times.time_format == EPOCH_SECONDS:
        warnings.append(
            f"column {times.position} looks like seconds since 1970, which can't be read; have the vendor write "
            "milliseconds"
        )
        return None
    other = SWAPPED_FORMATS.get(times.time_format)
    here, there = (
        {cell for cell in column if each and parse_event_time(cell, each)} for each in (times.time_format, other)
    )
    if other and there >= here:
        warnings.append(
            f"the dates in column {times.position} don't tell whether day or month comes first; time_format is "
            f"{times.time_format} or {other}"
        )
        return None
    if other and there - here:
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
