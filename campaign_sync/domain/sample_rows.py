"""Sample rows of a reader that show the kind of each value without personal data."""

from collections.abc import Collection

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.event_time import SWAPPED_FORMATS, parse_event_time
from campaign_sync.domain.feedback_rows import cell_texts
from campaign_sync.domain.layout_guess import LayoutGuess, Rows, is_category, is_entity_type, opt_in_matcher
from campaign_sync.domain.pseudonym import Pseudonyms


def pseudonymize_rows(
    rows: Rows, guess: LayoutGuess, pseudonyms: Pseudonyms, opt_in_ids: Collection[str] = ()
) -> list[list[str]]:
    """Return the cells with pseudonyms for addresses and lengths for all other texts and numbers.

    The header is unchanged, and so are times, categories, mailing ids, kinds of records and opt-ins of the mandator in
    the columns that the guess has for them.

    Args:
        rows: the rows that the guess was made from, or the first of them.
        guess: the columns of the rows.
        pseudonyms: for the addresses.
        opt_in_ids: of the mandator's lists.
    """
    if not rows:
        return []
    header = cell_texts(rows[0]) if guess.header else None
    time, category, mailing, entity_type, opt_in_id = (
        guess.position(column, rows)
        for column in (guess.time, guess.category, guess.mailing, guess.entity_type, guess.opt_in_id)
    )
    is_known_opt_in = opt_in_matcher(opt_in_ids)

    def shown(position: int, cell: str) -> str:
        public = (
            (position == time and _is_time(cell, guess.time_format))
            or (position == category and is_category(cell))
            or (position == mailing and _is_number(cell))
            or (position == entity_type and is_entity_type(cell))
            or (position == opt_in_id and is_known_opt_in(cell))
        )
        if public or not cell:
            return cell
        address = usable_address(cell)
        if address:
            return pseudonyms.of(address)
        return _length("number", "digit", cell) if _is_number(cell) else _length("text", "character", cell)

    cells = map(cell_texts, rows)
    return [row if row == header else [shown(position, cell) for position, cell in enumerate(row)] for row in cells]


def _is_time(cell: str, time_format: str | None) -> bool:
    """Return whether a cell is a time. Without a format only dates count: seconds since 1970 could be personal data."""
    return any(parse_event_time(cell, known) for known in ([time_format] if time_format else SWAPPED_FORMATS))


def _is_number(cell: str) -> bool:
    return cell.isascii() and cell.isdigit()


def _length(kind: str, unit: str, cell: str) -> str:
    return f"{kind} ({len(cell)} {unit}{'' if len(cell) == 1 else 's'})"
