"""Reading all rows of a window that the vendor gives out page by page, though they may move meanwhile."""

from collections.abc import Callable
from itertools import chain

from campaign_sync.optimizely.errors import TransientError
from campaign_sync.optimizely.services import MAX_ROWS
from campaign_sync.storage.csv_rows import CsvRows

Row = list[str | None]

ANCHOR = 10
"""So many rows of the page before are read again with each page: if they are others, rows have moved."""

_TRIES = 5


def read_window(read_page: Callable[[int, int], list[Row]], on_rows: Callable[[int], None]) -> CsvRows:
    """Return all rows of a window.

    A file that comes late puts its rows between those that were read already, and moves the others on: a row would
    be missed. So each page begins with the last rows of the one before. Where these differ, everything is read anew;
    and whatever was seen once is kept.

    Args:
        read_page: gives rows from a position (from 0), at most so many.
        on_rows: told how many rows there are so far.

    Raises:
        TransientError: the rows never hold still.
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
    """Return the rows, and whether they held still."""
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
