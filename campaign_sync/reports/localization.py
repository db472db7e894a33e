"""Texts, numbers, dates and durations of a report in German or English.

English texts are written where they are used. Their translations are in `locales/<language>/LC_MESSAGES/reports.po`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from gettext import NullTranslations
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from campaign_sync.domain.message import Language
from campaign_sync.localization.catalogs import load_catalog

LOCALES: Final[dict[Language, Locale]] = {"de": Locale("de"), "en": Locale("en", "GB")}
"""The conventions by which numbers and dates are written. Times have 24 hours in both."""

_SHORT_DATES: Final[dict[Language, str]] = {"de": "Md", "en": "MMMd"}
"""CLDR skeletons of dates that fit below a chart: 2.3. and 2 Mar, which can't be read as 3 February."""

UNKNOWN: Final = "–"

_NO_BREAK_SPACE = "\u00a0"


class PluralMessage(NamedTuple):
    """A text in singular and plural, for `Localizer.ngettext`; its translations are looked up later."""

    singular: str
    plural: str


def gettext_noop(message: str) -> str:
    """Return the text itself, and mark it as a message id whose translation is looked up later."""
    return message


@dataclass(frozen=True)
class Localizer:
    """One language, and the time zone in which times are shown."""

    language: Language
    zone: ZoneInfo

    def gettext(self, message: str, **values: object) -> str:
        """Return the translation of a text, with the values in place of `{…}`."""
        return self._catalog.gettext(message).format(**values)

    def ngettext(self, singular: str, plural: str, number: int, **values: object) -> str:
        """Return the translation for that number, which is also the value of `{count}`."""
        text = self._catalog.ngettext(singular, plural, number)
        return text.format(**{"count": self.number(number), **values})

    def pgettext(self, context: str, message: str, **values: object) -> str:
        """Return the translation of a text whose meaning depends on where it is used."""
        return self._catalog.pgettext(context, message).format(**values)

    def number(self, value: float | None) -> str:
        """Return 1.234,5 or 1,234.5; a dash for an unknown number."""
        return UNKNOWN if value is None else format_decimal(value, locale=self._locale)

    def signed_number(self, value: int) -> str:
        """Return a change: +1,234, −5 or ±0."""
        return format_decimal(value, "+#,##0;−#,##0", locale=self._locale) if value else "±0"

    def percent(self, share: float) -> str:
        """Return 41 % or 41%, with a decimal if it is less than one."""
        pattern = "#,##0%" if share >= 0.01 or not share else "#,##0.0%"
        shown = format_percent(share, pattern, locale=self._locale)
        return shown.replace("%", "\u00a0%") if self.language == "de" else shown

    def full_date(self, day: date) -> str:
        """Return Montag, 2. März 2026 or Monday, 2 March 2026."""
        return format_date(day, "full", self._locale)

    def long_date(self, day: date) -> str:
        """Return 2. März 2026 or 2 March 2026."""
        return format_date(day, "long", self._locale)

    def medium_date(self, day: date) -> str:
        """Return 02.03.2026 or 2 Mar 2026, without line breaks."""
        return _in_one_line(format_date(day, "medium", self._locale))

    def short_date(self, day: date) -> str:
        """Return 2.3. or 2 Mar."""
        return format_skeleton(_SHORT_DATES[self.language], day, locale=self._locale)

    def date_time(self, moment: datetime) -> str:
        """Return 02.03.2026, 00:05 Uhr or 2 Mar 2026, 00:05."""
        pattern = str(self._locale.datetime_formats["medium"])
        return pattern.format(self._time(moment), self.medium_date(moment.astimezone(self.zone)))

    def time_or_date_time(self, moment: datetime, today: date) -> str:
        """Return the time only if the moment is of today."""
        is_today = moment.astimezone(self.zone).date() == today
        return self._time(moment) if is_today else self.date_time(moment)

    def duration(self, span: timedelta) -> str:
        """Return 2,5 Stunden or 2.5 hours: one unit, at most one decimal, without line breaks."""
        seconds = span.total_seconds()
        if seconds < 90:
            return self._unit(seconds if seconds < 1 else round(seconds), "second")
        if span < timedelta(hours=1):
            return self._unit(seconds / 60, "minute")
        if span < timedelta(days=3):
            return self._unit(seconds / 3600, "hour")
        return self._unit(seconds / 86_400, "day")

    def short_hours(self, span: timedelta) -> str:
        """Return 36h."""
        return self._unit(span.total_seconds() / 3600, "hour", "narrow")

    def join(self, names: Sequence[str]) -> str:
        """Return A, B und C or A, B and C."""
        return format_list(names, locale=self._locale)

    def _time(self, moment: datetime) -> str:
        time = format_time(moment, "short", self.zone, self._locale)
        return self.pgettext("time of day", "{time}", time=time)

    def _unit(self, value: float, unit: str, length: Literal["narrow", "long"] = "long") -> str:
        # The plural form goes by what is shown: 1 hour, not 1 hours for 1.04.
        shown = round(value, 1)
        whole = int(shown) if shown == int(shown) else shown
        return _in_one_line(format_unit(whole, f"duration-{unit}", length, "#,##0.#", self._locale))

    @property
    def _locale(self) -> Locale:
        return LOCALES[self.language]

    @property
    def _catalog(self) -> NullTranslations:
        return load_catalog("campaign_sync.reports", "reports", self.language)


def _in_one_line(text: str) -> str:
    return text.replace(" ", _NO_BREAK_SPACE)
