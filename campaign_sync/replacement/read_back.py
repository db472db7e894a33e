"""What a list at the vendor holds, read page by page, of which little is kept."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.domain.row_digests import CELL_SEPARATOR, KnownRows, RowDigests, digests_of
from campaign_sync.optimizely.array_decoder import JoinedRows, ParsedRows
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.parallel import in_parallel
from campaign_sync.replacement.target import Target

READ_BACK_ROWS = 5000
"""JoinedRows per page when a list is read back; the vendor names no limit for it."""


@dataclass(frozen=True)
class ListContents:
    """What a list holds: the digest of every row, and whole only those that weren't expected."""

    digests: RowDigests
    """By the target's `read_columns`."""
    others: pd.DataFrame
    """The rows whose digests aren't among those expected; columns `read_columns`."""

    def __len__(self) -> int:
        return len(self.digests)


def read_back(
    target: Target,
    vendor: Optimizely,
    count: int,
    expected: RowDigests,
    on_page: Callable[[int], None],
    page_rows: int,
) -> ListContents:
    """What the list holds now; `count` recipients are expected, with these digests by `target.read_columns`.

    Pages are ordered by the entity id, so that they shift as little as can be. The last one reaches beyond `count`, so
    that rows too many show. `on_page` is told each page's rows.
    """
    known = KnownRows(expected)
    order = target.contract.technical[TechnicalField.ENTITY_ID]

    def page(start: int) -> _Sieve:
        return vendor.recipients.read(
            target.recipient_list_id, target.read_attributes, order, start, page_rows, lambda: _Sieve(known, target)
        )

    pages: dict[int, _Sieve] = {}
    for start, sieve in in_parallel(target, vendor, page, range(0, count + 1, page_rows)):
        pages[start] = sieve
        on_page(sieve.rows)
    sieves = [pages[start] for start in sorted(pages)]
    digests = [one for sieve in sieves for one in sieve.digests]
    others = [text for sieve in sieves for text in sieve.others]
    width = len(target.read_columns)
    cells = [(text.decode().split(CELL_SEPARATOR) + [""] * width)[:width] for text in others]
    return ListContents(
        np.concatenate([digests_of([]), *digests]), pd.DataFrame(cells, columns=target.read_columns, dtype="str")
    )


def strange_rows(target: Target, vendor: Optimizely, expected: RowDigests, start: int, rows: int) -> int:
    """How many of some rows of the list, from row `start` on, aren't among those with these digests."""
    known = KnownRows(expected)
    order = target.contract.technical[TechnicalField.ENTITY_ID]
    arguments = (target.recipient_list_id, target.read_attributes, order, start, rows)
    return len(vendor.recipients.read(*arguments, lambda: _Sieve(known, target)).others)


class _Sieve:
    """Takes a page's rows, and keeps whole those that aren't expected.

    A row is expected also if the vendor only spells its id or address otherwise than they were sent, for example the
    domain with umlauts: it is the same mailbox by the rule that made the id.
    """

    def __init__(self, expected: KnownRows, target: Target) -> None:
        self.rows = 0
        self.digests: list[RowDigests] = []
        self.others: list[bytes] = []
        self._expected = expected
        self._keys = [target.read_columns.index(key) for key in (RECIPIENT_ID, ADDRESS) if key in target.read_columns]

    def append(self, rows: JoinedRows | ParsedRows) -> None:
        """Take the next rows."""
        texts = rows.texts()
        digests = digests_of(texts).copy()
        others = np.flatnonzero(~self._expected.have(digests))
        if self._keys:
            respelled = digests_of(self._respelled(texts[position]) for position in others)
            same = self._expected.have(respelled)
            digests[others[same]] = respelled[same]
            others = others[~same]
        self.digests.append(digests)
        self.others += [texts[position] for position in others]
        self.rows += len(texts)

    def _respelled(self, text: bytes) -> bytes:
        """A row's text with its id and address as they would have been sent."""
        cells = text.decode().split(CELL_SEPARATOR)
        for key in self._keys:
            if key < len(cells):
                cells[key] = usable_address(cells[key]) or cells[key]
        return CELL_SEPARATOR.join(cells).encode()
