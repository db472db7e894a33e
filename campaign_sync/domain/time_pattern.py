"""Validation of `strptime` patterns: a pattern must read back the time that it wrote."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_LETTERS = {
    "year": "Yy",
    "month": "mbB",
    "day": "d",
    "month and day": "j",
    "hour": "HI",
    "half of the day": "p",
    "minute": "M",
    "second": "S",
    "fraction": "f",
    "zone": "z",
    "weekday": "aA",
    "percent sign": "%",
}
_PARTS = {letter: part for part, letters in _LETTERS.items() for letter in letters}
"""The part of a time by directive, for all supported directives."""

_REFUSED = {
    "Z": "%Z is read and ignored, whatever zone it names: use %z for offsets, or leave it out and set timezone",
    "c": "%c is written otherwise on every machine: write its parts out, like %d.%m.%Y %H:%M:%S",
    "x": "%x is written otherwise on every machine: write its parts out, like %d.%m.%Y",
    "X": "%X is written otherwise on every machine: write its parts out, like %H:%M:%S",
}
_NEEDS = (
    ("I", "p", "%I is one hour of the night and one of the day: add %p, or use %H"),
    ("p", "I", "%p is ignored beside %H: use %I"),
    ("M", "HI", "%M without an hour is read as the first hour of the day: add %H"),
    ("S", "M", "%S without %M is read as the first minute of the hour: add %M"),
    ("f", "S", "%f without %S is read as the first second of the minute: add %S"),
    ("z", "HI", "%z without a time is an offset of nothing: leave it out, or add %H:%M"),
)
_NAMES = {"a": "Tue", "A": "Tuesday", "b": "Nov", "B": "November", "p": "PM"}
"""The English names in the first of the samples."""

_SAMPLES = (
    datetime(2026, 11, 24, 16, 30, 59, 120000, tzinfo=UTC),
    datetime(2027, 1, 2, 0, 5, 7, tzinfo=UTC),
    datetime(2028, 2, 29, 12, 0, 0, 999999, tzinfo=UTC),
    datetime(2026, 10, 31, 23, 59, 8, 1, tzinfo=UTC),
)
"""An afternoon, midnight, noon and a leap day: each is misread by some wrong patterns."""


def directives(pattern: str) -> list[str]:
    """Return the letters after the percent signs, in order; empty for a percent sign at the end."""
    return _DIRECTIVE.findall(pattern)


def precision(pattern: str) -> timedelta:
    """Return the resolution of a pattern: a second, a minute, an hour or a day."""
    letters = directives(pattern)
    if "S" in letters:
        return timedelta(seconds=1)
    if "M" in letters:
        return timedelta(minutes=1)
    return timedelta(hours=1) if {"H", "I"}.intersection(letters) else timedelta(days=1)


def pattern_problem(pattern: str) -> str | None:
    """Return why a pattern doesn't read back what it wrote, and what to do; None if it does."""
    letters = directives(pattern)
    for letter in letters:
        if letter in _REFUSED:
            return _REFUSED[letter]
        if letter not in _PARTS:
            return "it has a directive that is none of a date or a time: write it like %d.%m.%Y %H:%M:%S"
    parts = [_PARTS[letter] for letter in letters if letter != "%"]
    repeated = sorted({part for part in parts if parts.count(part) > 1})
    if repeated:
        return f"the {repeated[0]} is in it twice, and only one of them counts: leave the other out"
    if "j" in letters and {"m", "b", "B", "d"}.intersection(letters):
        return "%j is the month and the day already: leave the others out, or leave %j out"
    missing = _missing_from_date(letters)
    if missing:
        return f"the date lacks its {missing}: a whole date is needed, like %d.%m.%Y"
    for letter, needed, sentence in _NEEDS:
        if letter in letters and not set(needed).intersection(letters):
            return sentence
    names = [letter for letter in letters if letter in _NAMES]
    foreign = [letter for letter in names if _SAMPLES[0].strftime(f"%{letter}") != _NAMES[letter]]
    if foreign:
        return f"%{foreign[0]} is for names in English, and this process uses another language: set LC_TIME=C"
    return None if all(_reads_back(pattern, letters, sample) for sample in _SAMPLES) else _NOT_THE_SAME


_NOT_THE_SAME = "what it writes is read back as another time: separate its parts, like %d.%m.%Y %H:%M:%S"


def _missing_from_date(letters: Collection[str]) -> str | None:
    wanted = {"year": "Yy", "month": "mbBj", "day": "dj"}
    return next((part for part, directive in wanted.items() if not set(directive).intersection(letters)), None)


def _reads_back(pattern: str, letters: Collection[str], sample: datetime) -> bool:
    try:
        read = datetime.strptime(sample.strftime(pattern), pattern)  # noqa: DTZ007 - compared with its zone, if any
    except (ValueError, re.error):
        return False
    return read == _truncated(sample, letters)


def _truncated(moment: datetime, letters: Collection[str]) -> datetime:
    """Return the moment without the parts that the pattern lacks."""
    hour = moment.hour if {"H", "I"}.intersection(letters) else 0
    return moment.replace(
        hour=hour,
        minute=moment.minute if "M" in letters else 0,
        second=moment.second if "S" in letters else 0,
        microsecond=moment.microsecond if "f" in letters else 0,
        tzinfo=moment.tzinfo if "z" in letters else None,
    )
