"""Which `strptime` patterns read a time back as it was written; the others would be accepted, and read otherwise."""

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
"""The directives that can be read, and what each is."""

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
"""What a machine that speaks English writes for the first of the samples."""

_SAMPLES = (
    datetime(2026, 11, 24, 16, 30, 59, 120000, tzinfo=UTC),
    datetime(2027, 1, 2, 0, 5, 7, tzinfo=UTC),
    datetime(2028, 2, 29, 12, 0, 0, 999999, tzinfo=UTC),
    datetime(2026, 10, 31, 23, 59, 8, 1, tzinfo=UTC),
)
"""An afternoon, midnight, noon and a leap day: times that are read otherwise by one mistaken pattern or another."""


def directives(pattern: str) -> list[str]:
    """The letters behind the percent signs, in order; an empty one for a percent sign at the end."""
    return _DIRECTIVE.findall(pattern)


def precision(pattern: str) -> timedelta:
    """The shortest time that a pattern tells apart: a second, a minute, an hour or a day."""
    found = directives(pattern)
    if "S" in found:
        return timedelta(seconds=1)
    if "M" in found:
        return timedelta(minutes=1)
    return timedelta(hours=1) if {"H", "I"}.intersection(found) else timedelta(days=1)


def pattern_problem(pattern: str) -> str | None:
    """Why a pattern doesn't read back what it wrote, and what to do; None where it does."""
    found = directives(pattern)
    for letter in found:
        if letter in _REFUSED:
            return _REFUSED[letter]
        if letter not in _PARTS:
            return "it has a directive that is none of a date or a time: write it like %d.%m.%Y %H:%M:%S"
    parts = [_PARTS[letter] for letter in found if letter != "%"]
    repeated = sorted({part for part in parts if parts.count(part) > 1})
    if repeated:
        return f"the {repeated[0]} is in it twice, and only one of them counts: leave the other out"
    if "j" in found and {"m", "b", "B", "d"}.intersection(found):
        return "%j is the month and the day already: leave the others out, or leave %j out"
    missing = _missing_from_date(found)
    if missing:
        return f"the date lacks its {missing}: a whole date is needed, like %d.%m.%Y"
    for letter, needed, sentence in _NEEDS:
        if letter in found and not set(needed).intersection(found):
            return sentence
    foreign = [letter for letter in found if letter in _NAMES and _SAMPLES[0].strftime(f"%{letter}") != _NAMES[letter]]
    if foreign:
        return f"%{foreign[0]} stands for names in English, and this process speaks another language: set LC_TIME=C"
    return None if all(_reads_back(pattern, found, sample) for sample in _SAMPLES) else _NOT_THE_SAME


_NOT_THE_SAME = "what it writes is read back as another time: separate its parts, like %d.%m.%Y %H:%M:%S"


def _missing_from_date(found: Collection[str]) -> str | None:
    wanted = {"year": "Yy", "month": "mbBj", "day": "dj"}
    return next((part for part, letters in wanted.items() if not set(letters).intersection(found)), None)


def _reads_back(pattern: str, found: Collection[str], sample: datetime) -> bool:
    try:
        read = datetime.strptime(sample.strftime(pattern), pattern)  # noqa: DTZ007 - compared with its zone, if any
    except (ValueError, re.error):
        return False
    return read == _as_far_as_told(sample, found)


def _as_far_as_told(moment: datetime, found: Collection[str]) -> datetime:
    """The moment without what the pattern doesn't tell."""
    hour = moment.hour if {"H", "I"}.intersection(found) else 0
    return moment.replace(
        hour=hour,
        minute=moment.minute if "M" in found else 0,
        second=moment.second if "S" in found else 0,
        microsecond=moment.microsecond if "f" in found else 0,
        tzinfo=moment.tzinfo if "z" in found else None,
    )
