"""Filters for tests: the table of truth row by row, written a second time, and strategies for conditions and texts."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import chain, product

from hypothesis import strategies as st

from campaign_sync.domain.filter import AllOf, AnyOf, Comparison, Condition, NotOf, Value
from campaign_sync.domain.text import NOT_UTF8

Row = dict[str, str | None]

FIELDS = ("city", "points")

TEXTS = (
    *(
        "Köln",
        "KÖLN ",
        "Ko\u0308ln",
        "koln",
        "Bonn",
        "Straße",
        "STRASSE",
        "Σίσυφος",
        "İzmir",
        "100%",
        "a_c",
        "abc",
        "a\\c",
    ),
    *("", " ", "\u00a0\t", "a\r\nb", "a\nb", "🚲", "O'Neil", 'say "hi"', "NULL", "true", "False"),
    *("7", "7.0", "007", "-3", "+12", "1.234,5", "1e3", "70000", "9", "7 "),
    *("2026-03-01", "2026-03-01T00:00:00+00:00", "2026-03-01 23:59:59Z", "2026-03-02T00:30:00+01:00", "2026-02-30"),
    *("2026-03-01T12:00", "9999-12-31", "0000-01-01", "infinity", f"M{NOT_UTF8}ller"),
)
"""Texts that databases hold."""

VALUES: tuple[Value, ...] = (
    *("köln", "KÖLN", "koln", "strasse", "straße", "σίσυφοσ", "true", "100%", "a\nb", "9", "7", "B", "o'neil", "🚲"),
    *(7, 7.0, -3, 9, 70000, 0.5),
    *("2026-03-01", "2026-03-01T12:00:00+00:00", "2026-03-02T00:00:00+01:00", "2026-02-28"),
)

PATTERNS = (
    *("%", "_", "k%", "%ln", "k_ln", "%ö%", "str%e", "a\\_c", "a_c", "100\\%", "%\\%", "a\\\\c", "%a%b%", "__", "%ss%"),
    *("%🚲", "köln", "_%_", "%a", "a%a", "%.%", "a[bc]c", "^a", "%i%"),
    *("Stra_e", "stra__e", "%ra_e", "_zmir", "__zmir", "%_s_%", "%ß_"),
)


def reference(condition: Condition, row: Row) -> bool | None:
    """Return whether a row fulfils a condition, None if that is unknown."""
    match condition:
        case AllOf(conditions):
            outcomes = [reference(inner, row) for inner in conditions]
            return False if False in outcomes else None if None in outcomes else True
        case AnyOf(conditions):
            outcomes = [reference(inner, row) for inner in conditions]
            return True if True in outcomes else None if None in outcomes else False
        case NotOf(inner):
            outcome = reference(inner, row)
            return None if outcome is None else not outcome
        case Comparison(field, "is null"):
            return not (row[field] or "").strip()
        case Comparison(field, operator, values):
            text = (row[field] or "").strip()
            if not text or NOT_UTF8 in text:
                return None
            if operator == "like":
                spelled = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
                forms = {tuple(_folded(text)), *(tuple(chain(*form)) for form in product(*map(_forms, spelled)))}
                patterns = {_folded(str(values[0])), "".join(map(_fold, unicodedata.normalize("NFC", str(values[0]))))}
                return any(_like(pattern, form) for pattern, form in product(patterns, forms))
            outcomes = [_compare(operator, text, value) for value in values]
            return True if True in outcomes else None if None in outcomes else False
    raise AssertionError(condition)


def _compare(operator: str, text: str, value: Value) -> bool | None:
    order = _order(text, value)
    return None if order is None else order == {"=": 0, "in": 0, "<": -1, ">": 1}[operator]


def _order(text: str, value: Value) -> int | None:
    """Return -1, 0 or 1 as a text is less than a value, equal or greater; None if they aren't comparable."""
    if not isinstance(value, str):
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text, re.ASCII):
            return None
        try:
            return int(Decimal(text).compare(Decimal(str(value))))
        except InvalidOperation:  # pragma: no cover - no such text is drawn
            return None
    wanted = _time(value)
    if wanted is None:
        left, right = _folded(text), _folded(value)
        return (left > right) - (left < right)
    time = _time(text)
    if time is None:
        return None
    if len(value) == len("2026-03-01"):  # the whole day
        return (time >= wanted + timedelta(days=1)) - (time < wanted)
    return (time > wanted) - (time < wanted)


def _time(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _folded(text: str) -> str:
    return _fold(text.strip().replace("\r\n", "\n").replace("\r", "\n"))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def _forms(character: str) -> set[tuple[str, ...]]:
    """Return a character as a single one without case, and as those that this turns it into."""
    folded = _fold(character)
    return {(folded,), tuple(folded)}


def _like(pattern: str, text: tuple[str, ...]) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(_like(pattern[1:], text[start:]) for start in range(len(text) + 1))
    if pattern[0] == "_":
        return bool(text) and _like(pattern[1:], text[1:])
    literal, rest = (pattern[1], pattern[2:]) if pattern[0] == "\\" else (pattern[0], pattern[1:])
    return text[:1] == (literal,) and _like(rest, text[1:])


def conditions(fields: tuple[str, ...] = FIELDS) -> st.SearchStrategy[Condition]:
    """Return conditions of all forms on these fields."""
    field, value = st.sampled_from(fields), st.sampled_from(VALUES)
    comparisons: st.SearchStrategy[Condition] = st.one_of(
        st.builds(lambda name: Comparison(name, "is null"), field),
        st.builds(lambda name, pattern: Comparison(name, "like", (pattern,)), field, st.sampled_from(PATTERNS)),
        st.builds(lambda name, values: Comparison(name, "in", tuple(values)), field, st.lists(value, min_size=1)),
        st.builds(
            lambda name, operator, wanted: Comparison(name, operator, (wanted,)),
            field,
            st.sampled_from(("=", "<", ">")),
            value,
        ),
    )
    return st.recursive(
        comparisons,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
            inner.map(NotOf),
        ),
        max_leaves=5,
    )


def rows(fields: tuple[str, ...] = FIELDS) -> st.SearchStrategy[list[Row]]:
    """Return rows with these fields, NULL among their values."""
    text = st.none() | st.sampled_from(TEXTS) | st.text(max_size=5)
    return st.lists(st.fixed_dictionaries(dict.fromkeys(fields, text)), max_size=8)
