"""Parsing of raw rows, all of which are parsed or reported."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.feedback_rows import (
    EARLIEST_EVENT,
    WINDOW_TOLERANCE,
    FeedbackRow,
    Layout,
    column_names,
    parse_rows,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON_MS = "1795521600000"
UNTIL = NOON + timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
cells = st.none() | st.text() | st.sampled_from(["anna@example.org", "Bo@example.com", NOON_MS, "0", "9" * 30, "-1"])
raw_rows = st.lists(st.lists(cells, max_size=4), max_size=8)
layouts = st.builds(
    Layout,
    recipient=st.integers(0, 3),
    time=st.none() | st.integers(0, 3),
    category=st.none() | st.integers(0, 3),
    opt_in_id=st.none() | st.integers(0, 5) | st.just("opt-in-id"),
    entity_id=st.none() | st.integers(0, 5),
    header=st.booleans(),
    time_format=st.sampled_from(["epoch_ms", "iso", "%d.%m.%Y"]),
    zone=st.sampled_from([UTC, BERLIN]),
)


def test_a_row_is_read_by_default_as_recipient_and_epoch_milliseconds() -> None:
    parsed = parse_rows([[" Anna@Example.ORG", NOON_MS, "and more"]], Layout(), UNTIL)
    assert parsed.rows == (FeedbackRow("anna@example.org", NOON),)
    assert parsed.unparsed == ()


def test_category_and_mailing_are_read_where_the_layout_names_them() -> None:
    layout = Layout(category=2, mailing=3)
    rows = [["anna@example.org", NOON_MS, " hardbounce", "70001"], ["bo@example.org", NOON_MS, "softbounce", ""]]
    parsed = parse_rows(rows, layout, UNTIL)
    assert parsed.rows == (
        FeedbackRow("anna@example.org", NOON, "hardbounce", 70001),
        FeedbackRow("bo@example.org", NOON, "softbounce"),
    )
    assert [row.position for row in parsed.rows] == [0, 1]


def test_the_link_of_a_click_is_read_where_the_layout_names_it() -> None:
    rows = [["anna@example.org", "70001", NOON_MS, " https://example.org/?a=b "]]
    parsed = parse_rows(rows, Layout(mailing=1, time=2, link=3), UNTIL)
    assert parsed.rows == (FeedbackRow("anna@example.org", NOON, mailing_id=70001, link="https://example.org/?a=b"),)


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("iso", "2026-11-24T13:00:00"),
        ("iso", "2026-11-24T12:00:00+00:00"),
        ("%d.%m.%Y %H:%M:%S", "24.11.2026 13:00:00"),
        ("%d.%m.%Y %H:%M:%S %z", "24.11.2026 07:00:00 -0500"),
    ],
)
def test_times_without_a_zone_are_in_the_layouts_zone(time_format: str, text: str) -> None:
    layout = Layout(time_format=time_format, zone=BERLIN)
    assert parse_rows([["anna@example.org", text]], layout, UNTIL).rows[0].occurred_at == NOON


def test_in_the_hour_that_the_clock_shows_twice_the_later_moment_counts() -> None:
    layout = Layout(time_format="iso", zone=BERLIN)
    parsed = parse_rows([["anna@example.org", "2026-10-25T02:30:00"]], layout, UNTIL)
    assert parsed.rows[0].occurred_at == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time_format", "text", "latest"),
    [
        ("%d.%m.%Y", "24.11.2026", "2026-11-24T23:59:59"),
        ("%d.%m.%Y %H:%M", "24.11.2026 12:30", "2026-11-24T12:30:59"),
        ("%d.%m.%Y %H:%M:%S", "24.11.2026 12:30:05", "2026-11-24T12:30:05"),
        ("iso", "2026-11-24", "2026-11-24T23:59:59"),
        ("iso", "2026-11-24T12:30", "2026-11-24T12:30:59"),
        ("iso", "2026-11-24T12:30+00:00", "2026-11-24T12:30:59"),
        ("iso", "2026-11-24 12:30:05.5Z", "2026-11-24T12:30:05.500000"),
    ],
)
def test_a_time_without_hours_or_seconds_is_the_last_possible_moment(time_format: str, text: str, latest: str) -> None:
    (row,) = parse_rows([["anna@example.org", text]], Layout(time_format=time_format), UNTIL).rows
    assert row.occurred_at == datetime.fromisoformat(latest).replace(tzinfo=UTC)


def test_technical_fields_are_read_if_present_and_optional() -> None:
    layout = Layout(opt_in_id=2, entity_type=4, entity_id="id")
    rows: list[Sequence[str | None]] = [
        ["mail", "time", "opt-in-id", "id", "kind"],
        ["anna@example.org", NOON_MS, " news\u00a0", "C-1", "Contact"],
        ["bo@example.org", NOON_MS, "", None, " "],
        ["cem@example.org", NOON_MS],
    ]
    parsed = parse_rows(rows, layout, UNTIL)
    assert parsed.rows == (
        FeedbackRow("anna@example.org", NOON, opt_in_id="news", entity_type="Contact", entity_id="C-1"),
        FeedbackRow("bo@example.org", NOON),
        FeedbackRow("cem@example.org", NOON),
    )
    assert parsed.unparsed == ()


def test_rows_of_the_same_person_and_time_with_different_opt_ins_are_different() -> None:
    rows = [["anna@example.org", NOON_MS, opt_in_id] for opt_in_id in ("news", "press", "news")]
    assert [row.opt_in_id for row in parse_rows(rows, Layout(opt_in_id=2), UNTIL).rows] == ["news", "press"]


def test_a_header_without_the_technical_fields_is_a_header() -> None:
    layout = Layout(recipient="mail", time="time", opt_in_id="opt-in-id")
    rows = [["time", "mail"], [NOON_MS, "anna@example.org"], ["mail", "opt-in-id", "time"]]
    rows += [["bo@example.org", "news", NOON_MS]]
    assert parse_rows(rows, layout, UNTIL).rows == (
        FeedbackRow("anna@example.org", NOON),
        FeedbackRow("bo@example.org", NOON, opt_in_id="news"),
    )


@pytest.mark.parametrize("mailing", ["n/a", "", None, "77.5"])
def test_an_unsubscribe_counts_even_if_its_mailing_is_unreadable(mailing: str | None) -> None:
    (row,) = parse_rows([["anna@example.org", NOON_MS, mailing]], Layout(mailing=2), UNTIL).rows
    assert row.mailing_id is None


def test_a_first_row_with_an_address_is_no_header_in_any_layout() -> None:
    rows = [["anna@example.org", NOON_MS], ["bo@example.org", NOON_MS]]
    assert len(parse_rows(rows, Layout(header=True), UNTIL).rows) == 2


@pytest.mark.parametrize("number", ["100000000011", "0", "-1", str(int(NOON_MS) + 4 * 86_400_000), ""])
def test_a_number_that_is_no_time_of_an_event_is_unparsed_and_no_old_unsubscribe(number: str) -> None:
    parsed = parse_rows([["anna@example.org", number]], Layout(), UNTIL)
    assert (parsed.rows, parsed.unparsed) == ((), (0,))


def test_without_times_the_end_of_the_window_counts() -> None:
    parsed = parse_rows([["anna@example.org"]], Layout(time=None), UNTIL)
    assert parsed.rows == (FeedbackRow("anna@example.org", UNTIL),)


def test_columns_can_be_named_if_the_rows_have_a_header() -> None:
    layout = Layout(recipient="Empfänger", time="Zeit")
    rows = [["Zeit ", "Empfänger"], [NOON_MS, "anna@example.org"], [NOON_MS, "?"]]
    parsed = parse_rows(rows, layout, UNTIL)
    assert parsed.rows == (FeedbackRow("anna@example.org", NOON),)
    assert parsed.unparsed == (2,)


def test_every_export_file_of_a_window_may_have_its_own_header_with_other_columns() -> None:
    layout = Layout(recipient="Empfänger", time="Zeit")
    rows = [
        ["Empfänger", "Zeit"],
        ["anna@example.org", NOON_MS],
        ["Nr", "Zeit", "Empfänger"],
        ["1", NOON_MS, "bo@example.org"],
    ]
    parsed = parse_rows(rows, layout, UNTIL)
    assert [row.address for row in parsed.rows] == ["anna@example.org", "bo@example.org"]
    assert parsed.unparsed == ()


@pytest.mark.parametrize("header", [True, None])
def test_a_header_is_recognized_and_skipped_wherever_it_is_repeated(header: bool | None) -> None:
    rows = [["recipient", "time"], ["anna@example.org", NOON_MS], ["recipient", "time"], ["bo@example.org", NOON_MS]]
    parsed = parse_rows(rows, Layout(header=header), UNTIL)
    assert [row.address for row in parsed.rows] == ["anna@example.org", "bo@example.org"]
    assert parsed.unparsed == ()


@pytest.mark.parametrize(
    "first",
    [["anna@example.org", ""], ["no address", NOON_MS], ["", ""], ["anna", "1", "x"], [], ["kunde", "unbekannt"]],
)
def test_a_broken_first_row_is_not_taken_for_a_header(first: list[str]) -> None:
    parsed = parse_rows([first, ["bo@example.org", NOON_MS]], Layout(), UNTIL)
    assert parsed.unparsed == (0,)


def test_rows_below_a_header_without_the_named_column_do_not_fit_and_its_columns_are_listed() -> None:
    parsed = parse_rows([["recipient", "time"], ["anna@example.org", NOON_MS]], Layout(recipient="id"), UNTIL)
    assert (parsed.rows, parsed.unparsed) == ((), (0, 1))
    assert parsed.header_problem == "the header row has no column 'id'; it has recipient, time"


@pytest.mark.parametrize("row", [["anna@example.org", NOON_MS], ["Meier", "Hans"]])
def test_rows_without_a_header_do_not_fit_named_columns_and_are_never_shown(row: list[str]) -> None:
    parsed = parse_rows([row, row], Layout(recipient="id"), UNTIL)
    assert (parsed.rows, parsed.unparsed, parsed.has_columns) == ((), (0, 1), False)
    assert parsed.header_problem
    assert "'id'" in parsed.header_problem
    assert row[0] not in parsed.header_problem


def test_a_file_without_a_header_does_not_affect_the_other_files() -> None:
    layout = Layout(recipient="Empfänger", time="Zeit")
    headerless = [["anna@example.org", NOON_MS]]
    right = [["Empfänger", "Zeit"], ["bo@example.org", NOON_MS]]
    other = [["Empfänger", "Datum"], ["cleo@example.org", NOON_MS]]
    parsed = parse_rows([*headerless, *right, *other, *right], layout, UNTIL)
    assert [row.address for row in parsed.rows] == ["bo@example.org"]
    assert parsed.unparsed == (0, 3, 4), "below another header the columns may be anywhere"


def test_a_row_of_words_is_no_header_and_hides_no_rows() -> None:
    rows = [["Empfänger", "Zeit"], ["mailer-daemon", "Timeout"], ["bo@example.org", NOON_MS]]
    parsed = parse_rows(rows, Layout(recipient="Empfänger", time="Zeit"), UNTIL)
    assert [row.address for row in parsed.rows] == ["bo@example.org"]
    assert parsed.unparsed == (1,)


@pytest.mark.parametrize(
    "header",
    [["EMPFÄNGER ", "zeit"], ["\ufeffEmpfänger", " Zeit\t"], ["Empfa\u0308nger", "Zeit"], ["empfänger", "ZEIT"]],
)
def test_case_blanks_marks_and_decomposed_letters_of_a_header_do_not_matter(header: list[str]) -> None:
    rows = [["\ufeffEmpfänger", "Zeit"], ["anna@example.org", NOON_MS], header, ["\ufeffbo@example.org", NOON_MS]]
    for body in (rows, rows[2:]):
        parsed = parse_rows(body, Layout(recipient="Empfänger", time="Zeit"), UNTIL)
        assert (parsed.unparsed, parsed.header_problem, parsed.has_columns) == ((), None, True)
        assert parsed.rows[-1].address == "bo@example.org"


def test_columns_that_differ_only_in_case_are_distinguished_by_exact_spelling() -> None:
    rows = [["zeit", "Empfänger", "Zeit"], ["0", "anna@example.org", NOON_MS]]
    assert parse_rows(rows, Layout(recipient="Empfänger", time="Zeit"), UNTIL).rows[0].occurred_at == NOON


@pytest.mark.parametrize("header", [["Zeit", "Empfänger", "Zeit"], ["zeit", "Empfänger", "ZEIT"]])
def test_a_repeated_column_in_the_header_is_not_guessed(header: list[str]) -> None:
    rows = [header, [NOON_MS, "anna@example.org", "0"]]
    parsed = parse_rows(rows, Layout(recipient="Empfänger", time="Zeit"), UNTIL)
    assert (parsed.rows, parsed.unparsed) == ((), (0, 1))
    assert "the column 'Zeit' more than once" in (parsed.header_problem or "")


@given(raw_rows, st.lists(st.integers(0, 8), max_size=3))
def test_with_named_columns_every_row_is_a_header_parsed_or_reported(
    rows: list[list[str | None]], places: list[int]
) -> None:
    header: list[str | None] = ["time", "recipient"]
    body = list(rows)
    for place in places:
        body.insert(place, header)
    parsed = parse_rows(body, Layout(recipient="recipient", time="time"), UNTIL)
    understood = {tuple(row) for position, row in enumerate(body) if position not in parsed.unparsed and row != header}
    assert len(parsed.rows) <= len(understood)
    assert all(position not in parsed.unparsed for position, row in enumerate(body) if row == header)
    assert parsed.has_columns == bool(places)


def test_a_repeated_row_counts_once_and_a_second_event_counts_again() -> None:
    later = str(int(NOON_MS) + 1)
    rows = [["anna@example.org", NOON_MS], ["ANNA@example.org", NOON_MS], ["anna@example.org", later]]
    assert len(parse_rows(rows, Layout(), UNTIL).rows) == 2


@pytest.mark.parametrize(
    ("layout", "rows", "names"),
    [
        (Layout(), [], ["recipient", "time"]),
        (Layout(time=2, mailing=1), [["a@example.org", "1", NOON_MS]], ["recipient", "mailing", "time"]),
        (Layout(time=3), [], ["recipient", None, None, "time"]),
        (Layout(), [["Empfänger", "Zeit"]], ["Empfänger", "Zeit"]),
        (Layout(recipient="Empfänger", time="Zeit"), [], ["Empfänger", "Zeit"]),
        (Layout(recipient="Empfänger", time="Zeit"), [["zeit", "Art", "empfänger"]], ["zeit", "Art", "empfänger"]),
        (Layout(recipient="Empfänger", time="Zeit"), [["a@example.org", NOON_MS]], []),
    ],
)
def test_column_names_come_from_the_header_else_from_the_layout(
    layout: Layout, rows: list[list[str]], names: list[str | None]
) -> None:
    assert column_names(rows, layout) == names


def test_a_number_too_long_for_a_mailing_id_is_ignored() -> None:
    (row,) = parse_rows([["anna@example.org", NOON_MS, "9" * 5_000]], Layout(mailing=2), UNTIL).rows
    assert row.mailing_id is None


@given(raw_rows, layouts)
def test_every_row_is_either_parsed_or_reported(rows: list[list[str | None]], layout: Layout) -> None:
    parsed = parse_rows(rows, layout, UNTIL)
    first = [(cell or "").strip() for cell in rows[0]] if layout.header and rows else None
    first = None if "@" in "".join(first or []) else first
    body = [position for position, row in enumerate(rows) if [(cell or "").strip() for cell in row] != first]
    understood = set(body) - set(parsed.unparsed)
    assert set(parsed.unparsed) <= set(body)
    singles = [
        parse_rows([rows[position]], replace(layout, header=False), UNTIL).rows for position in sorted(understood)
    ]
    assert all(len(single) == 1 for single in singles)
    assert tuple(dict.fromkeys(single[0] for single in singles)) == parsed.rows
    assert all(EARLIEST_EVENT <= row.occurred_at <= UNTIL + WINDOW_TOLERANCE for row in parsed.rows)


@given(raw_rows)
def test_parsing_the_same_rows_twice_adds_nothing(rows: list[list[str | None]]) -> None:
    layout = Layout(header=False)
    assert set(parse_rows(rows + rows, layout, UNTIL).rows) == set(parse_rows(rows, layout, UNTIL).rows)


@pytest.mark.parametrize("odd_id", ["4711", "C-000123", "Kundennummer 7", "name@localhost", "@example.org"])
def test_a_row_whose_only_flaw_is_an_id_that_is_no_address_is_reported_separately(odd_id: str) -> None:
    parsed = parse_rows([["anna@example.org", "1764000000000"], [odd_id, "1764000000000"]], Layout(), UNTIL_2026)

    assert [row.address for row in parsed.rows] == ["anna@example.org"]
    assert parsed.unparsed == (1,)
    assert {position: recipient_id for position, (recipient_id, _) in parsed.without_address.items()} == {1: odd_id}


@pytest.mark.parametrize(
    "row",
    [
        ["", "1764000000000"],
        ["4711", "yesterday"],
        ["1764000000000", "anna@example.org"],
        ["4711", "1764000000000", "anna@example.org"],
        ["4711"],
    ],
    ids=["no id", "no time", "columns swapped", "the address in another column", "no time column"],
)
def test_a_row_with_moved_columns_is_only_unparsed(row: list[str]) -> None:
    parsed = parse_rows([row], Layout(), UNTIL_2026)

    assert (parsed.rows, parsed.unparsed, dict(parsed.without_address)) == ((), (0,), {})


UNTIL_2026 = datetime(2026, 11, 26, tzinfo=UTC)
