"""Rows kept as CSV text come back as they were added."""

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.storage.csv_rows import CsvRows

CELLS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\r\n",; \x00'))
PAGES = st.lists(st.lists(st.lists(CELLS, max_size=3), max_size=4), max_size=4)


@given(PAGES)
def test_rows_come_back_in_their_order_whatever_is_in_them(pages: list[list[list[str]]]) -> None:
    csv_text = CsvRows()
    for page in pages:
        csv_text.add(page)

    rows = [row for page in pages for row in page]
    assert list(csv_text) == rows
    assert len(csv_text) == len(rows)
    assert csv_text.width == max(map(len, rows), default=0)


def test_a_missing_value_comes_back_empty() -> None:
    assert list(CsvRows([["a", None], [None]])) == [["a", ""], [""]]


def test_a_row_costs_little_more_than_its_text() -> None:
    csv_text = CsvRows(["anna@example.org", "1790000000000"] for _ in range(10_000))

    assert sum(map(len, csv_text.pieces)) == 10_000 * len("anna@example.org,1790000000000\r\n")
