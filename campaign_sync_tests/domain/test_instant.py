"""Times in the forms that CRMs write."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.instant import LATEST, parse_instant
from campaign_sync.domain.instant_columns import as_datetimes, parse_instants

NINE = datetime(2026, 6, 1, 9, tzinfo=UTC)
ZONES = st.sampled_from([None, UTC, *(timezone(timedelta(minutes=offset)) for offset in (-330, 60, 120, 845))])
MOMENTS = st.datetimes(timezones=ZONES)
FORMS = st.sampled_from(
    [
        lambda at: at.isoformat(),
        lambda at: at.isoformat(" "),
        lambda at: at.isoformat(" ", "minutes"),
        lambda at: at.isoformat("T", "milliseconds").replace("+00:00", "Z"),
        lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
        lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f%z}",
        lambda at: f" {at:%Y-%m-%d %H:%M:%S} +01:00",
        lambda at: f"{at:%Y-%m-%d}",
        lambda at: f"{at:%d.%m.%Y %H:%M}",
    ]
)
WRITTEN = st.tuples(FORMS, MOMENTS).map(lambda pair: pair[0](pair[1]))
ODD = st.sampled_from(
    [
        *(None, "", "infinity", "-infinity", "10000-01-01 00:00:00+00", "2026-02-30 00:00:00", "0000-01-01 00:00:00"),
        *(b"x", 1772366400, 1.5, "yesterday", "9999-12-31 23:59:59", "0044-03-15 00:00:00+00 BC"),
        "2026-03-01 12:00:00.1234567",
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01 09:00:00",
        "2026-06-01T09:00:00",
        "2026-06-01T09:00:00Z",
        "2026-06-01t09:00z",
        "2026-06-01 11:00:00+02",
        "2026-06-01T11:00:00.000+0200",
        "2026-06-01 11:00:00 +02:00",
        " 2026-06-01 09:00:00.000000 ",
        "2026-06-01 09:53:28+00:53:28",
    ],
)
def test_all_forms_of_iso_8601_are_parsed(text: str) -> None:
    assert parse_instant(text) == NINE


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "",
            "2026-06-01",
            "20260601",
            "2026-W23-1T09:00",
            "01.06.2026 09:00",
            "2026-06-31 09:00",
            "noon",
            1,
            1.5,
        ),
        *(b"2026-06-01 09:00:00", "-infinity", "2026-06-01 09:00:00 UTC+2", NINE.date()),
    ],
)
def test_other_values_are_no_times(value: object) -> None:
    assert parse_instant(value) is None


@pytest.mark.parametrize("text", ["infinity", "9999-12-31 23:59:59", "9999-12-31T23:59:59-05:00", "12026-01-01 00:00"])
def test_times_out_of_range_count_as_the_latest(text: str) -> None:
    assert parse_instant(text) == LATEST


def test_times_are_compared_regardless_of_their_text() -> None:
    assert list(np.argsort(parse_instants(["2026-06-01 18:00:00", "2026-06-01T09:00:00"]))) == [1, 0]


@given(st.lists(st.none() | WRITTEN) | st.lists(ODD | WRITTEN) | st.lists(st.none() | MOMENTS))
def test_many_times_are_parsed_like_single_ones(values: list[object]) -> None:
    assert as_datetimes(parse_instants(values)) == [parse_instant(value) for value in values]


@given(FORMS, st.lists(MOMENTS, min_size=1))
def test_many_times_of_one_format_are_parsed_like_single_ones(form: object, moments: list[datetime]) -> None:
    texts = [form(at) for at in moments]  # type: ignore[operator]
    assert as_datetimes(parse_instants(texts)) == [parse_instant(text) for text in texts]
