"""Both languages say everything, and each in its own way."""

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from campaign_sync import reports
from campaign_sync.config import Language
from campaign_sync.domain.feedback import READER_KINDS
from campaign_sync.domain.readiness import Readiness
from campaign_sync.domain.rejection import Reason
from campaign_sync.reports.daily_report import NOT_PICKED
from campaign_sync.reports.translations import GROUPS, REASONS, TEXTS, Words

ROOM = Path(reports.__file__).parent
BERLIN = ZoneInfo("Europe/Berlin")
GERMAN, ENGLISH = Words("de", BERLIN), Words("en", BERLIN)


def test_every_text_is_there_in_both_languages_with_the_same_parts() -> None:
    for key, texts in {**TEXTS, **REASONS}.items():
        assert set(texts) == set(get_args(Language)), key
        assert all(text.strip() for text in texts.values()), key
        parts = [{part for _, part, _, _ in Formatter().parse(text) if part} for text in texts.values()]
        assert parts[0] == parts[1], key


def test_every_text_that_is_asked_for_is_there() -> None:
    code = "".join((ROOM / name).read_text() for name in ("html_page.py", "page.html.j2"))
    asked = set(re.findall(r"words\(\s*\"([a-z_]+)\"", code))
    asked |= {f"status_{one.value}" for one in Readiness} | set(GROUPS)
    asked |= {f"{one.value}_{number}" for one in Readiness if one is not Readiness.READY for number in ("one", "many")}
    assert len(asked) > 60
    assert not asked - set(TEXTS)


def test_every_reason_and_every_reader_of_feedback_has_words() -> None:
    assert set(REASONS) == {*Reason, NOT_PICKED}
    assert {f"reader_{reader}" for reader in READER_KINDS} <= set(TEXTS)
    for language in (GERMAN, ENGLISH):
        assert len({language.reason(reason) for reason in REASONS}) == len(REASONS)
    assert GERMAN.reason("moved_to_mars") == "moved to mars"


def test_every_reason_belongs_to_one_group() -> None:
    assert Counter(reason for reasons in GROUPS.values() for reason in reasons) == Counter(list(Reason))


def test_numbers_days_and_moments_are_written_as_each_language_does() -> None:
    moment = datetime(2026, 3, 1, 23, 5, tzinfo=UTC)  # in Berlin that is the day after
    assert (GERMAN.number(1234567), ENGLISH.number(1234567)) == ("1.234.567", "1,234,567")
    assert (GERMAN.change(-1234), ENGLISH.change(1234), GERMAN.change(0)) == ("−1.234", "+1,234", "±0")
    assert GERMAN.long_day(date(2026, 3, 2)) == "Montag, 2. März 2026"
    assert ENGLISH.long_day(date(2026, 3, 2)) == "Monday, 2 March 2026"
    assert (GERMAN.short_day(date(2026, 3, 2)), ENGLISH.short_day(date(2026, 3, 2))) == ("2.3.", "2 Mar")
    assert (GERMAN.moment(moment), ENGLISH.moment(moment)) == (
        "2.3.2026, 00:05\u00a0Uhr",
        "2\u00a0Mar\u00a02026, 00:05",
    )
    assert GERMAN.since(moment, date(2026, 3, 2)) == "00:05\u00a0Uhr"


@pytest.mark.parametrize(
    ("span", "german", "english"),
    [
        (timedelta(seconds=1.2), "1 Sekunde", "1 second"),
        (timedelta(minutes=10), "10 Minuten", "10 minutes"),
        (timedelta(hours=1), "1 Stunde", "1 hour"),
        (timedelta(hours=2, minutes=30), "2,5 Stunden", "2.5 hours"),
        (timedelta(days=7, hours=12), "7,5 Tagen", "7.5 days"),
    ],
)
def test_spans_of_time_are_told_by_the_unit_that_says_most(span: timedelta, german: str, english: str) -> None:
    assert (GERMAN.span(span), ENGLISH.span(span)) == (german.replace(" ", "\u00a0"), english.replace(" ", "\u00a0"))
    assert GERMAN.lasting(span) == german.replace(" ", "\u00a0").replace("Tagen", "Tage")
