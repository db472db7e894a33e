"""What a list at the vendor holds, read page by page: digests of all rows, and the rows that weren't expected."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.row_digests import CELL_SEPARATOR, KnownRows, RowDigests, digests_of
from campaign_sync.optimizely.array_decoder import JoinedRows, ParsedRows
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.parallel import in_parallel
from campaign_sync.replacement.read_columns import ReadColumns

READ_BACK_ROWS = 5000
"""Rows per page when a list is read back; the vendor names no limit for it."""


@dataclass(frozen=True)
class ListContents:
    """What a list holds: the digest of every row, and whole only those that weren't expected."""

    digests: RowDigests
    """By the snapshot columns that were read back."""
    others: pd.DataFrame
    """The rows whose digests aren't among those expected; columns those that were read back."""

    def __len__(self) -> int:
        return len(self.digests)


def read_back(
    columns: ReadColumns,
    vendor: Optimizely,
    count: int,
    expected: RowDigests,
    on_page: Callable[[int], None],
    page_rows: int,
) -> ListContents:
    """Read all that the list holds now.

    The last page reaches beyond `count`, so that rows too many show.

    Args:
        columns: what to read of every recipient.
        vendor: the mandator's API session.
        count: how many recipients the list is said to hold.
        expected: digests of the rows that should be in it, by `columns.snapshot_columns`.
        on_page: called with each page's number of rows.
        page_rows: how many rows to ask for at once.
    """
    known = KnownRows(expected)
    parallel_calls = columns.settings.optimizely.parallel_calls

    def page(start: int) -> _Sieve:
        return _read(columns, vendor, known, start, page_rows)

    pages: dict[int, _Sieve] = {}
    for start, sieve in in_parallel(vendor, parallel_calls, page, range(0, count + 1, page_rows)):
        pages[start] = sieve
        on_page(sieve.rows)
    sieves = [pages[start] for start in sorted(pages)]
    digests = [chunk for sieve in sieves for chunk in sieve.digests]
    others = [text for sieve in sieves for text in sieve.others]
    width = len(columns.snapshot_columns)
    cells = [(text.decode().split(CELL_SEPARATOR) + [""] * width)[:width] for text in others]
    return ListContents(
        np.concatenate([digests_of([]), *digests]), pd.DataFrame(cells, columns=columns.snapshot_columns, dtype="str")
    )


def count_unexpected_rows(columns: ReadColumns, vendor: Optimizely, expected: RowDigests, start: int, rows: int) -> int:
    """Return how many of `rows` rows of the list, from row `start` on, aren't among those with these digests."""
    return len(_read(columns, vendor, KnownRows(expected), start, rows).others)


def _read(columns: ReadColumns, vendor: Optimizely, known: KnownRows, start: int, rows: int) -> "_Sieve":
    list_id = columns.settings.recipient_list_id
    return vendor.recipients.read(
        list_id, columns.attributes, columns.order, start, rows, lambda: _Sieve(known, columns)
    )


class _Sieve:
    """Receives a page's rows, and keeps whole those that aren't expected.

    A row is expected also if the vendor only spells its id or address otherwise than they were sent, for example the
    domain with umlauts: it is the same mailbox by the rule that made the id.
    """

    def __init__(self, expected: KnownRows, columns: ReadColumns) -> None:
        self.rows = 0
        self.digests: list[RowDigests] = []
        self.others: list[bytes] = []
        self._expected = expected
        names = columns.snapshot_columns
        self._keys = [names.index(key) for key in (RECIPIENT_ID, ADDRESS) if key in names]

    def append(self, rows: JoinedRows | ParsedRows) -> None:
        """Receive the next rows."""
        texts = rows.texts()
        digests = digests_of(texts).copy()
        others = np.flatnonzero(~self._expected.contains(digests))
        if self._keys:
            respelled = digests_of(self._respelled(texts[position]) for position in others)
            same = self._expected.contains(respelled)
            digests[others[same]] = respelled[same]
            others = others[~same]
        self.digests.append(digests)
        self.others += [texts[position] for position in others]
        self.rows += len(texts)

    def _respelled(self, text: bytes) -> bytes:
        """Return a row's text with its id and address as they would have been sent."""
        cells = text.decode().split(CELL_SEPARATOR)
        for key in self._keys:
            if key < len(cells):
                cells[key] = usable_address(cells[key]) or cells[key]
        return CELL_SEPARATOR.join(cells).encode()
