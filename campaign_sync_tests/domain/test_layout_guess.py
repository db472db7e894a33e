"""Detection of layouts, and samples of rows without personal data."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.event_time import TIME_FORMATS
from campaign_sync.domain.feedback_rows import FeedbackRow, Layout, parse_rows
from campaign_sync.domain.layout_guess import LayoutGuess, guess_layout
from campaign_sync.domain.pseudonym import Pseudonyms
from campaign_sync.domain.sample_rows import pseudonymize_rows

Row = list[str | None]

PSEUDONYMS = Pseudonyms(b"0123456789abcdef")
LATEST = datetime(2026, 12, 31, tzinfo=UTC)
BEGIN = datetime(2026, 10, 20, 8, 15, 30, tzinfo=UTC)
NAMES = {"recipient": "Empfänger", "time": "Zeitpunkt", "category": "Art", "mailing": "Mailing-ID", "name": "Nachname",
         "opt_in_id": "Opt-In-ID", "entity_type": "Satzart"}  # fmt: skip
OPT_INS = ("Newsletter-Nord", "products")
PUBLIC = ("time", "category", "mailing", "opt_in_id", "entity_type")
SHOWN = re.compile(r"|p_[0-9a-f]{12}|text \(\d+ characters?\)|number \(\d+ digits?\)")

addresses = st.from_regex(r"[QXZ]{4,8}[0-9]{0,4}@[qxz]{4,8}\.(example|test)", fullmatch=True)
moments = st.timedeltas(timedelta(0), timedelta(days=30)).map(lambda passed: BEGIN + passed)
words = st.sampled_from(["hardbounce", "SoftBounce", "hard_bounce", "Soft Bounce", "AUTORESPONDER", "unknown"])
mailing_ids = st.integers(10**5, 10**12).map(str)
names = st.text("QXZÄÖÜ", min_size=4, max_size=9)
numbers = st.integers(10**3, 10**10 - 1).map(lambda number: f"77{number}")


def written(moment: datetime, time_format: str) -> str:
    if time_format == "epoch_ms":
        return str(int(moment.timestamp() * 1000))
    return moment.isoformat(" ", "seconds") if time_format == "iso" else moment.strftime(time_format)


def as_read(moment: datetime, time_format: str) -> datetime:
    kept = "second" if "%S" in time_format or time_format == "iso" else "minute" if "%M" in time_format else "day"
    if time_format == "epoch_ms":
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    cut = {"second": {}, "minute": {"second": 59}, "day": {"second": 59, "minute": 59, "hour": 23}}[kept]
    return moment.replace(microsecond=0, **cut)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Export:
    """Rows, with the values that they were generated from."""

    rows: list[Row]
    order: list[str]
    header: bool
    time_format: str
    people: list[tuple[str, datetime]]
    secrets: frozenset[str]

    def column(self, kind: str) -> int | str | None:
        if kind not in self.order or (kind == "mailing" and not self.header):
            return None
        return NAMES[kind] if self.header else self.order.index(kind)


@st.composite
def exports(draw: st.DrawFn) -> Export:
    time_format = draw(st.sampled_from(TIME_FORMATS))
    header = draw(st.booleans())
    kinds = ["category", "mailing", "name", "number", "opt_in_id", "entity_type"]
    extra = draw(st.lists(st.sampled_from(kinds), unique=True))
    order = draw(st.permutations(["recipient", "time", *extra]))
    people = draw(st.lists(st.tuples(addresses, moments), min_size=2, max_size=8))
    people.append((draw(addresses), BEGIN.replace(day=25)))  # a day that can't be a month
    of_extra = {"category": words, "mailing": mailing_ids, "name": names, "number": numbers}
    of_extra |= {"opt_in_id": st.sampled_from(["newsletter-nord ", "PRODUCTS"])}
    of_extra |= {"entity_type": st.sampled_from(["contact", "Lead", "ACCOUNT"])}
    rows: list[Row] = []
    secrets = set()
    for address, moment in people:
        cells: dict[str, str | None] = {kind: draw(of_extra[kind]) for kind in extra}
        secrets |= {cells[kind] or "" for kind in ("name", "number") if kind in extra} | {address, address.lower()}
        if rows and extra:  # every column has a value in some row
            cells[draw(st.sampled_from(extra))] = draw(st.sampled_from([None, ""])) if draw(st.booleans()) else "?"
        cells |= {"recipient": address, "time": written(moment, time_format)}
        rows.append([cells[kind] for kind in order])
    for number in range(draw(st.integers(0, 2))):  # rows with empty cells and without a person
        rows.insert(1 + number, [None if kind in ("recipient", "time") else "" for kind in order])
    if header:
        rows.insert(0, [NAMES.get(kind, "Kundennummer") for kind in order])
    return Export(rows, order, header, time_format, people, frozenset(secrets))


def is_recognized(export: Export, kind: str) -> bool:
    """Return whether a column can be detected, by its name or by most of its cells."""
    return (export.header and kind == "opt_in_id") or mostly_filled(export, kind)


def mostly_filled(export: Export, kind: str) -> bool:
    position = export.order.index(kind)
    cells = [row[position] for row in export.rows[export.header :]]
    return 2 * sum(cell == "?" for cell in cells) < sum(bool(cell) for cell in cells)


@given(exports())
def test_every_supported_layout_is_detected_from_its_rows(export: Export) -> None:
    guess = guess_layout(export.rows, OPT_INS)

    assert (guess.recipient, guess.time) == (export.column("recipient"), export.column("time"))
    assert (guess.header, guess.time_format) == (export.header, export.time_format)
    for kind in ("category", "mailing", "opt_in_id", "entity_type"):
        column = getattr(guess, kind)
        assert column == (export.column(kind) if kind in export.order and is_recognized(export, kind) else None)


@given(exports())
def test_the_guessed_layout_parses_all_rows(export: Export) -> None:
    guess = guess_layout(export.rows)

    assert guess.recipient is not None
    assert guess.time is not None
    assert guess.time_format is not None
    layout = Layout(
        recipient=guess.recipient, time=guess.time, header=guess.header, time_format=guess.time_format, zone=UTC
    )
    expected = {FeedbackRow(address.lower(), as_read(at, export.time_format)) for address, at in export.people}
    assert set(parse_rows(export.rows, layout, LATEST).rows) == expected


@given(exports())
def test_no_personal_data_is_shown(export: Export) -> None:
    shown = pseudonymize_rows(export.rows, guess_layout(export.rows, OPT_INS), PSEUDONYMS, OPT_INS)

    tokens = {PSEUDONYMS.of(address.lower()) for address, _ in export.people} | {""}
    pieces = {secret[start : start + 4] for secret in export.secrets for start in range(len(secret) - 3)}
    for row, raw in zip(shown[export.header :], export.rows[export.header :], strict=True):
        for kind, cell, behind in zip(export.order, row, raw, strict=True):
            assert SHOWN.fullmatch(cell) or (cell == (behind or "").strip() and kind in PUBLIC)
            assert cell in tokens if kind == "recipient" else kind in PUBLIC or not [p for p in pieces if p in cell]


@given(st.lists(st.lists(st.none() | st.text() | addresses | numbers, max_size=4), max_size=6))
def test_for_any_rows_a_guess_is_made_and_no_address_is_shown(rows: list[Row]) -> None:
    guess = guess_layout(rows)
    text = " ".join(cell for row in pseudonymize_rows(rows, guess, PSEUDONYMS) for cell in row)

    assert "@" not in text
    assert guess.time_format is None or guess.time is not None


def of(*cells: str | None) -> LayoutGuess:
    """Return the guess for rows with an address and one of these cells."""
    return guess_layout([[f"person{number}@example.org", cell] for number, cell in enumerate(cells)])


def test_the_vendors_default_rows_cause_no_warning() -> None:
    guess = of("1795521600000", "1795521600001")
    assert guess == LayoutGuess(0, 1, None, None, False, "epoch_ms", ())


@pytest.mark.parametrize(
    ("cells", "time_format"),
    [
        (["2026-11-24 13:00:00", "2026-11-24T12:00:00+00:00", "2026-11-24T12:00:00.123Z"], "iso"),
        (["24.11.2026 13:00:00", " 1.2.2026 3:04:05 "], "%d.%m.%Y %H:%M:%S"),
        (["24.11.2026 13:00"], "%d.%m.%Y %H:%M"),
        (["01.02.2026"], "%d.%m.%Y"),
        (["11/24/2026 13:00:00", "01/02/2026 13:00:00"], "%m/%d/%Y %H:%M:%S"),
        (["24/11/2026", "01/02/2026"], "%d/%m/%Y"),
    ],
)
def test_usual_ways_to_write_a_time_are_recognized(cells: list[str], time_format: str) -> None:
    guess = of(*cells)
    assert (guess.time, guess.time_format, guess.warnings) == (1, time_format, ())


@pytest.mark.parametrize(
    ("cells", "doubt"),
    [
        (["01/02/2026", "03/04/2026"], "whether day or month comes first; time_format is %d/%m/%Y or %m/%d/%Y"),
        (["01/13/2026", "13/01/2026", "14/01/2026"], "some dates in column 1 have the day first, others the month"),
        (["1795521600", "1795521601"], "seconds since 1970, which can't be read; have the vendor write milliseconds"),
    ],
)
def test_ambiguous_times_get_a_warning_and_no_format(cells: list[str], doubt: str) -> None:
    guess = of(*cells)
    assert (guess.time, guess.time_format) == (1, None)
    assert doubt in "; ".join(guess.warnings)


@pytest.mark.parametrize("cells", [["24.12.1969", "1.5.1980"], ["100000000011", "100000000012"], ["Köln", None], []])
def test_birthdays_and_ids_are_no_times(cells: list[str | None]) -> None:
    guess = of(*cells)
    assert (guess.time, guess.time_format) == (None, None)
    assert {"no column looks like a time", "there are no rows"} & set(guess.warnings)


def test_rows_without_addresses_cause_a_warning() -> None:
    guess = guess_layout([["4711", "2026-11-24"], ["4712", "2026-11-24"]])
    assert guess.recipient is None
    assert "no column looks like addresses" in guess.warnings


def test_a_header_with_repeated_names_gives_positions_and_a_warning() -> None:
    guess = guess_layout([["id", "id"], ["anna@example.org", "2026-11-24"], ["bo@example.org", "2026-11-25"]])
    assert (guess.header, guess.recipient, guess.time) == (True, 0, 1)
    assert "columns are given by position" in "; ".join(guess.warnings)


def test_a_repeated_header_causes_a_warning_and_is_no_row() -> None:
    guess = guess_layout([["id", "time"], ["anna@example.org", "2026-11-24"], ["id", "time"]])
    assert (guess.header, guess.recipient, guess.time_format) == (True, "id", "iso")
    assert ["comes again further down" in doubt for doubt in guess.warnings] == [True]


@pytest.mark.parametrize("first", [["an@na@example.org", "?"], ["Groß", "24.11.2026"], [None, None], ["", "Köln"]])
def test_a_first_row_that_could_be_personal_data_is_no_header(first: Row) -> None:
    rows: list[Row] = [first, ["anna@example.org", "24.11.2026"], ["bo@example.org", "24.11.2026"]]
    guess = guess_layout(rows)
    assert (guess.header, guess.recipient, guess.time) == (False, 0, 1)
    assert guess.warnings == ("1 of 3 rows lack an address in column 0 or a time in column 1",)
    assert not {"an@na@example.org", "Groß", "Köln"} & set(pseudonymize_rows(rows, guess, PSEUDONYMS)[0])


def test_for_a_single_row_it_is_unknown_whether_it_is_a_header() -> None:
    assert "one row doesn't show" in guess_layout([["id", "time"]]).warnings[0]


def test_mailings_are_detected_only_by_name() -> None:
    rows: list[Row] = [["anna@example.org", "2026-11-24", "123456789012"], ["bo@example.org", "2026-11-24", "123456"]]
    assert guess_layout(rows).mailing is None
    for name in ("mailing", "MailingId", "mailing_id", "Mailing-ID"):
        assert guess_layout([["id", "time", name], *rows]).mailing == name
    assert guess_layout([["id", "time", "customer"], *rows]).mailing is None


def test_the_column_with_the_most_different_addresses_is_the_recipient() -> None:
    guess = guess_layout([["news@example.org", f"person{number}@example.org", "2026-11-24"] for number in range(3)])
    assert guess.recipient == 1
    assert guess.warnings == ("columns 0 and 1 hold addresses; column 1 was taken, having the most different ones",)


def test_of_two_columns_with_times_the_one_with_less_spread_is_taken() -> None:
    rows: list[Row] = [
        ["01.05.2003", "anna@example.org", "24.11.2026 12:00"],
        ["9.9.2012", "bo@example.org", "25.11.2026 13:00"],
    ]
    guess = guess_layout(rows)
    assert (guess.time, guess.time_format) == (2, "%d.%m.%Y %H:%M")
    assert guess.warnings == ("columns 0 and 2 hold times; column 2 was taken, compare it with the others",)
    assert pseudonymize_rows(rows, guess, PSEUDONYMS)[1] == [
        "text (8 characters)",
        PSEUDONYMS.of("bo@example.org"),
        "25.11.2026 13:00",
    ]


def test_a_number_that_could_be_a_time_is_shown_by_its_length_beside_real_times() -> None:
    rows = [
        ["1795521600123", "anna@example.org", "24.11.2026 12:00", "1"],
        ["1795521600456", "Anna@EXAMPLE.org", "24.11.2026 13:00", " "],
    ]
    guess = guess_layout(rows)
    assert guess.time == 2
    anna = PSEUDONYMS.of("anna@example.org")
    assert pseudonymize_rows(rows, guess, PSEUDONYMS) == [
        ["number (13 digits)", anna, "24.11.2026 12:00", "number (1 digit)"],
        ["number (13 digits)", anna, "24.11.2026 13:00", ""],
    ]


def test_seconds_are_shown_by_their_length_for_they_could_be_a_customer_number() -> None:
    rows = [["anna@example.org", "1795521600"]]
    assert pseudonymize_rows(rows, guess_layout(rows), PSEUDONYMS)[0][1] == "number (10 digits)"


TECHNICAL: list[Row] = [
    ["anna@example.org", "2026-11-24", "newsletter-nord", "contact", "C10"],
    ["bo@example.org", "2026-11-24", " PRODUCTS", "Lead", "L-7"],
    ["cem@example.org", "2026-11-25", "", "", None],
]


def test_technical_fields_are_detected_by_their_values_without_names() -> None:
    guess = guess_layout(TECHNICAL, OPT_INS)
    assert (guess.opt_in_id, guess.entity_type, guess.entity_id) == (2, 3, 4)
    assert guess.warnings == ("column 4 was taken for entity_id, being beside the entity types; compare it",)
    shown = pseudonymize_rows(TECHNICAL, guess, PSEUDONYMS, OPT_INS)
    assert [row[2:] for row in shown] == [
        ["newsletter-nord", "contact", "text (3 characters)"],
        ["PRODUCTS", "Lead", "text (3 characters)"],
        ["", "", ""],
    ]


def test_technical_fields_are_detected_by_their_names_with_any_values() -> None:
    names: Row = ["mail", "at", "OPT_IN_ID", "entity-type", "Entity ID"]
    guess = guess_layout([names, *([*row[:2], "17", "", "?"] for row in TECHNICAL)])
    assert (guess.opt_in_id, guess.entity_type, guess.entity_id) == tuple(names[2:])
    assert guess.warnings == ()


def test_a_name_next_to_the_kind_of_a_record_is_no_id() -> None:
    rows: list[Row] = [[*row[:2], "contact", "Groß"] for row in TECHNICAL]
    assert (guess_layout(rows).entity_type, guess_layout(rows).entity_id) == (2, None)
