"""Rows that move while pages are read are all read."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.feedback.paging import read_window
from campaign_sync.optimizely.errors import TransientError

Row = list[str | None]


class Export:
    """The vendor's export of one window: rows in an order, in pages of at most 20, and more of them later."""

    def __init__(self, rows: int, arrivals: dict[int, int]) -> None:
        self.rows: list[Row] = [[f"row {number}"] for number in range(rows)]
        self.arrivals = arrivals
        """The position at which three more rows appear, by the number of the call that they precede."""
        self.calls = 0

    def page(self, start: int, size: int) -> list[Row]:
        if self.calls in self.arrivals:
            at = self.arrivals[self.calls] % (len(self.rows) + 1)
            self.rows[at:at] = [[f"late {self.calls}.{number}"] for number in range(3)]
        self.calls += 1
        return self.rows[start : start + min(size, 20)]


def ignore(_: int) -> None:
    pass


@given(st.integers(0, 90), st.dictionaries(st.integers(0, 30), st.integers(0, 99), max_size=4))
def test_all_rows_at_the_end_of_reading_are_read_once(rows: int, arrivals: dict[int, int]) -> None:
    export = Export(rows, arrivals)

    rows_read = read_window(export.page, ignore)

    assert sorted(map(str, rows_read)) == sorted(map(str, export.rows))


def test_rows_of_a_window_come_in_their_order_and_are_counted_on_the_way() -> None:
    export, counts = Export(45, {}), list[int]()

    assert list(read_window(export.page, counts.append)) == export.rows
    assert counts == [20, 30, 40, 45]


def test_a_short_page_is_not_taken_for_the_last_one() -> None:
    assert len(read_window(Export(20, {}).page, ignore)) == 20


def test_rows_seen_once_are_kept_though_they_are_gone_when_everything_is_read_again() -> None:
    before: list[Row] = [[f"row {number}"] for number in range(30)]
    after = before[5:]
    calls: list[int] = []

    def page(start: int, _: int) -> list[Row]:
        calls.append(start)
        return (before if len(calls) == 1 else after)[start : start + 20]

    assert sorted(map(str, read_window(page, ignore))) == sorted(map(str, before))


def test_rows_that_move_at_every_try_are_an_error_that_may_pass() -> None:
    def moving() -> Callable[[int, int], list[Row]]:
        calls: list[int] = []

        def page(start: int, _: int) -> list[Row]:
            calls.append(start)
            return [[f"{len(calls)}.{number}"] for number in range(20)]

        return page

    with pytest.raises(TransientError, match="changed while they were read"):
        read_window(moving(), ignore)
