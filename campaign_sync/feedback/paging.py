"""Reading of a window page by page, complete although the vendor's rows may move meanwhile."""

from collections.abc import Callable
from itertools import chain

from campaign_sync.optimizely.errors import TransientError
from campaign_sync.optimizely.services import MAX_ROWS
from campaign_sync.storage.csv_rows import CsvRows

Row = list[str | None]

ANCHOR = 10
"""The number of rows of the previous page that are read again with each page: if they differ, rows have moved."""

_TRIES = 5


def read_window(read_page: Callable[[int, int], list[Row]], on_rows: Callable[[int], None]) -> CsvRows:
    """Return all rows of a window.

    An export file of the vendor that comes late inserts its rows between those that were read already and moves the
    others, so that a row would be missed. Therefore each page begins with the last rows of the previous one. Where
    these differ everything is read again, and rows that were seen once are kept.

    Args:
        read_page: returns rows, given the first position (from 0) and the largest number of rows.
        on_rows: receives the number of rows so far.

    Raises:
        TransientError: the rows moved at every try.
    """
    seen: list[CsvRows] = []
    for _ in range(_TRIES):
        rows, complete = _read_once(read_page, on_rows)
        if complete:
            if seen:
                present = set(map(tuple, rows))
                rows.add(dict.fromkeys(row for row in map(tuple, chain(*seen)) if row not in present))
            return rows
        seen.append(rows)
    raise TransientError(
        "the vendor's export files changed while they were read, again and again. Import the feedback later",
        outcome_unknown=False,
    )


def _read_once(read_page: Callable[[int, int], list[Row]], on_rows: Callable[[int], None]) -> tuple[CsvRows, bool]:
    """Return the rows, and whether none of them moved."""
    rows, anchor = CsvRows(), list[Row]()
    while True:
        page = read_page(len(rows) - len(anchor), MAX_ROWS)
        if page[: len(anchor)] != anchor:
            rows.add(page)
            return rows, False
        new = page[len(anchor) :]
        if not new:  # a short page may be the server's own limit; only one without news is the end
            return rows, True
        rows.add(new)
        anchor = page[-ANCHOR:]
        on_rows(len(rows))
