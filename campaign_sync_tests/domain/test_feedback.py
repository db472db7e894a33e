"""Raw reader rows become feedback, and none of them gets lost."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.feedback import FeedbackRow, Layout, LayoutError, parse_feedback

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON_MS = "1795521600000"
cells = st.none() | st.text() | st.sampled_from(["anna@example.org", "Bo@example.com", NOON_MS, "0", "9" * 30, "-1"])
raw_rows = st.lists(st.lists(cells, max_size=4), max_size=8)
layouts = st.builds(
    Layout,
    recipient=st.integers(0, 3),
    time=st.integers(0, 3),
    header=st.booleans(),
    time_format=st.sampled_from(["epoch_ms", "iso", "%d.%m.%Y"]),
    zone=st.sampled_from([UTC, ZoneInfo("Europe/Berlin")]),
)


def test_a_row_is_read_by_default_as_recipient_and_epoch_milliseconds() -> None:
    parsed = parse_feedback([[" Anna@Example.ORG", NOON_MS, "and more"]], Layout())
    assert parsed.rows == (FeedbackRow("anna@example.org", NOON),)
    assert parsed.misfits == ()


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("iso", "2026-11-24T13:00:00"),
        ("iso", "2026-11-24T12:00:00+00:00"),
        ("%d.%m.%Y %H:%M", "24.11.2026 13:00"),
        ("%d.%m.%Y %H:%M %z", "24.11.2026 07:00 -0500"),
    ],
)
def test_times_without_a_zone_are_in_the_layouts_zone(time_format: str, text: str) -> None:
    layout = Layout(time_format=time_format, zone=ZoneInfo("Europe/Berlin"))
    assert parse_feedback([["anna@example.org", text]], layout).rows[0].occurred_at == NOON


def test_columns_can_be_named_where_the_rows_begin_with_a_header() -> None:
    layout = Layout(recipient="Empfänger", time="Zeit", header=True)
    parsed = parse_feedback([["Zeit ", "Empfänger"], [NOON_MS, "anna@example.org"], [NOON_MS, "?"]], layout)
    assert parsed.rows == (FeedbackRow("anna@example.org", NOON),)
    assert parsed.misfits == (2,)


def test_a_named_column_that_is_missing_is_an_error_that_names_the_others() -> None:
    with pytest.raises(LayoutError, match="no column 'id'; it has recipient, time"):
        parse_feedback([["recipient", "time"]], Layout(recipient="id", header=True))


def test_named_columns_without_a_header_are_an_error_once_there_are_rows() -> None:
    layout = Layout(recipient="id")
    assert parse_feedback([], layout).rows == ()
    with pytest.raises(LayoutError, match="no header row"):
        parse_feedback([["anna@example.org", NOON_MS]], layout)


def test_a_repeated_row_counts_once_and_a_second_event_counts_again() -> None:
    rows = [["anna@example.org", NOON_MS], ["ANNA@example.org", NOON_MS], ["anna@example.org", "0"]]
    assert len(parse_feedback(rows, Layout()).rows) == 2


@given(raw_rows, layouts)
def test_every_row_is_either_understood_or_named(rows: list[list[str | None]], layout: Layout) -> None:
    parsed = parse_feedback(rows, layout)
    first = 1 if layout.header and rows else 0
    understood = set(range(first, len(rows))) - set(parsed.misfits)
    assert set(parsed.misfits) <= set(range(first, len(rows)))
    without_header = Layout(layout.recipient, layout.time, False, layout.time_format, layout.zone)
    alone = [parse_feedback([rows[position]], without_header).rows for position in sorted(understood)]
    assert all(len(found) == 1 for found in alone)
    assert tuple(dict.fromkeys(found[0] for found in alone)) == parsed.rows
    assert all(row.occurred_at.tzinfo is UTC for row in parsed.rows)


@given(raw_rows)
def test_reading_the_same_rows_twice_adds_nothing(rows: list[list[str | None]]) -> None:
    assert set(parse_feedback(rows + rows, Layout()).rows) == set(parse_feedback(rows, Layout()).rows)
