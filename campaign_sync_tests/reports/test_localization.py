"""Both languages have every text, and write numbers and dates by their own conventions."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po

from campaign_sync import reports
from campaign_sync.domain.feedback import READER_KINDS
from campaign_sync.domain.message import SOURCE_LANGUAGE, Language
from campaign_sync.domain.readiness import Readiness
from campaign_sync.domain.rejection import Reason
from campaign_sync.orchestration.assets import recipient_list, selection, suppression_state
from campaign_sync.orchestration.assets.snapshot import CHECK_DESCRIPTIONS
from campaign_sync.orchestration.check_names import FEEDBACK_AGE
from campaign_sync.reports.check_findings import CHECK_TITLES
from campaign_sync.reports.daily_report import NOT_PICKED
from campaign_sync.reports.headline import STATUS_MESSAGES
from campaign_sync.reports.list_cards import STATUS_TEXTS
from campaign_sync.reports.localization import LOCALES, Localizer
from campaign_sync.reports.opt_out_figures import READER_TITLES
from campaign_sync.reports.reason_figures import REASON_GROUPS, REASON_TITLES, reason_title

PACKAGE = Path(reports.__file__).parent
BERLIN = ZoneInfo("Europe/Berlin")
GERMAN, ENGLISH = Localizer("de", BERLIN), Localizer("en", BERLIN)
TRANSLATED = sorted(set(get_args(Language)) - {SOURCE_LANGUAGE})


def messages_in_sources() -> Catalog:
    """Return the messages that code and template of reports use."""
    keywords = {**DEFAULT_KEYWORDS, "gettext_noop": None, "PluralMessage": (1, 2)}
    methods = [("**.py", "python"), ("**.j2", "jinja2.ext:babel_extract")]
    catalog = Catalog()
    for file, line, message, _, context in extract_from_dir(PACKAGE, methods, keywords=keywords):
        catalog.add(message, locations=[(file, line)], context=context)
    return catalog


def translations(language: str) -> Catalog:
    with (PACKAGE / "locales" / language / "LC_MESSAGES" / "reports.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def keys(catalog: Catalog) -> set[tuple[str | None, str | tuple[str, ...]]]:
    return {
        (message.context, message.id if isinstance(message.id, str) else tuple(message.id))
        for message in catalog
        if message.id
    }


def forms(text: str | Sequence[str] | None) -> list[str]:
    """Return singular and plural, or the only form."""
    return [text] if isinstance(text, str) else list(text or [])


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_has_a_translation_and_no_translation_is_unused(language: str) -> None:
    used = keys(messages_in_sources())
    assert len(used) > 100
    assert used == keys(translations(language))


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_placeholders_of_its_text(language: str) -> None:
    def differs(message: Message) -> bool:
        pairs = zip(forms(message.id), forms(message.string), strict=True)
        return any(not german.strip() or placeholders(english) != placeholders(german) for english, german in pairs)

    assert [message.id for message in translations(language) if message.id and differs(message)] == []


def test_every_language_of_the_settings_has_a_locale() -> None:
    assert set(LOCALES) == set(get_args(Language))


def test_every_status_reason_and_reader_has_a_text() -> None:
    assert set(STATUS_MESSAGES) == set(STATUS_TEXTS) == set(Readiness)
    assert set(REASON_TITLES) == {*Reason, NOT_PICKED}
    assert set(READER_TITLES) == set(READER_KINDS)
    assert set(CHECK_TITLES) == {
        *(name for module in (selection, suppression_state, recipient_list) for name in module.CHECKS),
        *CHECK_DESCRIPTIONS,
    } - {FEEDBACK_AGE}
    for localizer in (GERMAN, ENGLISH):
        assert len({reason_title(reason, localizer) for reason in REASON_TITLES}) == len(REASON_TITLES)


def test_a_reason_of_a_newer_version_is_shown_by_its_name() -> None:
    assert reason_title("moved_to_mars", GERMAN) == "moved to mars"


def test_every_reason_belongs_to_one_group() -> None:
    assert Counter(reason for group in REASON_GROUPS for reason in group.reasons) == Counter(list(Reason))


def test_numbers_dates_and_times_follow_the_conventions_of_the_language() -> None:
    moment = datetime(2026, 3, 1, 23, 5, tzinfo=UTC)  # the next day in Berlin
    day = date(2026, 3, 2)
    assert (GERMAN.number(1234567), ENGLISH.number(1234567), GERMAN.number(None)) == ("1.234.567", "1,234,567", "–")
    changes = (GERMAN.signed_number(-1234), ENGLISH.signed_number(1234), GERMAN.signed_number(0))
    assert changes == ("−1.234", "+1,234", "±0")
    assert (GERMAN.full_date(day), ENGLISH.full_date(day)) == ("Montag, 2. März 2026", "Monday, 2 March 2026")
    assert (GERMAN.short_date(day), ENGLISH.short_date(day)) == ("2.3.", "2 Mar")
    assert GERMAN.date_time(moment) == "02.03.2026, 00:05\u00a0Uhr"
    assert ENGLISH.date_time(moment) == "2\u00a0Mar\u00a02026, 00:05"
    assert GERMAN.time_or_date_time(moment, day) == "00:05\u00a0Uhr"
    assert GERMAN.time_or_date_time(moment, date(2026, 3, 3)) == GERMAN.date_time(moment)


def test_names_are_joined_by_the_word_of_the_language() -> None:
    assert (GERMAN.join(["A"]), GERMAN.join(["A", "B", "C"])) == ("A", "A, B und C")
    assert ENGLISH.join(["A", "B", "C"]) == "A, B and C"


@pytest.mark.parametrize(
    ("span", "german", "english"),
    [
        (timedelta(seconds=0.4), "0,4 Sekunden", "0.4 seconds"),
        (timedelta(seconds=1.2), "1 Sekunde", "1 second"),
        (timedelta(minutes=10), "10 Minuten", "10 minutes"),
        (timedelta(hours=1, minutes=2), "1 Stunde", "1 hour"),
        (timedelta(hours=2, minutes=30), "2,5 Stunden", "2.5 hours"),
        (timedelta(days=7, hours=12), "7,5 Tage", "7.5 days"),
    ],
)
def test_a_duration_is_shown_in_its_largest_useful_unit(span: timedelta, german: str, english: str) -> None:
    durations = (GERMAN.duration(span), ENGLISH.duration(span))
    assert durations == (german.replace(" ", "\u00a0"), english.replace(" ", "\u00a0"))
