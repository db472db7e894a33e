"""Accepted patterns read back the time that they wrote, to their precision."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.time_pattern import pattern_problem, precision

letters = st.lists(st.sampled_from([*"YymbBdjHIpMSfzaA%ZcxXUWwGuVTRDsFe", ""]), min_size=1, max_size=9)
between = st.sampled_from(["", " ", ".", "-", ":", "T", "1"])
patterns = st.builds(lambda parts, gap: gap.join(f"%{part}" for part in parts), letters, between)
moments = st.integers(1_000_000_000_000_000, 2_900_000_000_000_000).map(
    lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)


@pytest.mark.parametrize(
    "pattern",
    [
        *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%m/%d/%y %I:%M:%S %p", "%Y%m%d%H%M%S", "%Y-%jT%H"),
        *("%a, %d %b %Y %H:%M:%S %z", "%Y-%m-%d %H:%M:%S.%f", "100%% %d.%m.%Y"),
    ],
)
def test_usual_patterns_are_accepted(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("%d.%m.%Y %H:%M:%S %Z", "use %z for offsets, or leave it out and set timezone"),
        ("%d.%m.%Y %I:%M:%S", "add %p, or use %H"),
        ("%d.%m.%Y %H:%M:%S %p", "use %I"),
        ("%d.%m.%Y %M:%S", "add %H"),
        ("%d.%m.%Y %H %S", "add %M"),
        ("%d.%m.%Y %H:%M %f", "add %S"),
        ("%d.%m.%Y %z", "leave it out"),
        ("%c", "write its parts out"),
        ("%x %X", "write its parts out"),
        ("%Y-%j %d", "leave %j out"),
        ("%d.%m.%Y %y", "the year is in it twice"),
        ("%d.%m.%Y %d", "the day is in it twice"),
        ("%d.%m. %H:%M", "the date lacks its year"),
        ("%m/%Y", "the date lacks its day"),
        ("%d %Y", "the date lacks its month"),
        ("%H:%M:%S", "the date lacks its year"),
        ("%G-W%V-%u", "none of a date or a time"),
        ("%d.%m.%Y %s", "none of a date or a time"),
        ("%d.%m.%Y %", "none of a date or a time"),
    ],
)
def test_a_pattern_that_reads_back_another_time_is_refused_with_a_remedy(pattern: str, remedy: str) -> None:
    assert remedy in (pattern_problem(pattern) or "accepted")


def test_names_of_months_are_refused_in_another_locale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("campaign_sync.domain.time_pattern._NAMES", {"b": "nov."})
    assert "LC_TIME" in (pattern_problem("%d %b %Y") or "accepted")


@given(patterns, moments)
def test_accepted_patterns_read_back_every_time_to_their_precision(pattern: str, moment: datetime) -> None:
    if pattern_problem(pattern) is None:
        read = datetime.strptime(moment.strftime(pattern), pattern)  # noqa: DTZ007 - the pattern says
        lost = moment.replace(tzinfo=None) - read.replace(tzinfo=None)
        assert timedelta(0) <= lost < precision(pattern)
